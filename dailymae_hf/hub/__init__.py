"""What leaves a run, and the way to the Hub and back: processor, card, pictures, push, files fetched from there.

Names are imported when first used: the trainer is built on some of them, and others on the trainer.
"""

from ..lazy import lazy_names

_HOME = {
    "BICUBIC": "processor",
    "fetched": "fetch",
    "image_processor": "processor",
    "keep_recipe": "run_folder",
    "push_dataset": "dataset",
    "push_model": "push",
    "release": "run_folder",
    "write_card": "card",
}

__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
