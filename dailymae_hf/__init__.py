"""dailymae_hf: pretrain a masked autoencoder in a day, with FFCV loading and Hugging Face checkpoints.

Names are imported when first used: `import dailymae_hf` needs neither ffcv, numba nor OpenCV.
"""

from .lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOME)
