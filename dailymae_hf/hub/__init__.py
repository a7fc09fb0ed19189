"""The way to the Hub and back: cards, pictures, push, uploads, data sets, files fetched from there.

Names are imported when first used.
"""

from dailymae_hf._lazy import lazy_names

_HOME = {
    "fetch_betons": "fetch",
    "push_dataset": "dataset",
    "push_model": "push",
    "write_card": "card",
}

__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
