"""Side effects of training, one file each: schedule, probe, throughput, pictures, log file, progress bar."""

from .base import DailyMAECallback
from .log_file import LogFileCallback, append_log
from .online_probe import OnlineProbeCallback
from .palindrome import PalindromeCallback
from .plan import PlanCallback
from .progress import ReadableProgressCallback
from .reconstruction import ReconstructionCallback
from .throughput import ThroughputCallback

__all__ = [
    "DailyMAECallback",
    "LogFileCallback",
    "OnlineProbeCallback",
    "PalindromeCallback",
    "PlanCallback",
    "ReadableProgressCallback",
    "ReconstructionCallback",
    "ThroughputCallback",
    "append_log",
]
