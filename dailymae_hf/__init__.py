"""dailymae_hf: pretrain a masked autoencoder in a day, with FFCV loading and Hugging Face checkpoints.

Names are imported when first used: `import dailymae_hf` needs neither ffcv, numba nor OpenCV.
"""

from dailymae_hf._lazy import lazy_names

_HOME = {
    "DailyMAEForPreTraining": "model.modeling",
    "mae_config": "model.modeling",
    "DailyMAETrainer": "training.mae_trainer",
    "DailyMAETrainingArguments": "training.training_args",
    "ResolutionSchedule": "schedule",
    "PalindromeCallback": "training.callbacks",
    "OnlineProbeCallback": "training.callbacks",
    "ThroughputCallback": "training.callbacks",
    "ReconstructionCallback": "training.callbacks",
    "BetonLoader": "data",
    "write_beton": "data",
}

__all__ = list(_HOME)
__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, _HOME)
