"""dailymae_hf: pretrain a masked autoencoder in a day, with FFCV loading and Hugging Face checkpoints.

Names are imported when first used: `import dailymae_hf` needs neither ffcv, numba nor OpenCV.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "DailyMAEForPreTraining": "modeling",
    "mae_config": "modeling",
    "DailyMAETrainer": "trainer",
    "DailyMAETrainingArguments": "training_args",
    "ResolutionSchedule": "schedule",
    "PalindromeCallback": "callbacks",
    "OnlineProbeCallback": "callbacks",
    "ThroughputCallback": "callbacks",
    "ReconstructionCallback": "callbacks",
    "BetonLoader": "data",
    "write_beton": "data",
}

__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
