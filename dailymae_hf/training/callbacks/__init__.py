"""Side effects of training, one file each: schedule, probe, throughput, pictures, log file, progress bar."""

from dailymae_hf.training.callbacks.base import DailyMAECallback, TrainerView
from dailymae_hf.training.callbacks.log_file import LogFileCallback
from dailymae_hf.training.callbacks.online_probe import OnlineProbeCallback
from dailymae_hf.training.callbacks.palindrome import PalindromeCallback
from dailymae_hf.training.callbacks.plan import PlanCallback
from dailymae_hf.training.callbacks.progress import ReadableProgressCallback
from dailymae_hf.training.callbacks.reconstruction import ReconstructionCallback
from dailymae_hf.training.callbacks.resolution import ResolutionCallback
from dailymae_hf.training.callbacks.throughput import ThroughputCallback

__all__ = [
    "DailyMAECallback",
    "LogFileCallback",
    "OnlineProbeCallback",
    "PalindromeCallback",
    "PlanCallback",
    "ReadableProgressCallback",
    "ReconstructionCallback",
    "ResolutionCallback",
    "ThroughputCallback",
    "TrainerView",
]
