"""The planner: how long a run takes under each schedule, what limits it, and which schedule fits a budget.

speeds.py      what was measured: images/s of the step and of the loader, by resolution
estimate.py    hours, bottleneck, energy and cost of one schedule; pure arithmetic
fit.py         the schedule (lowest resolution, stage fractions, epochs) that fits a budget
report.py      the printed table and the drawing
"""

from dailymae_hf.plan.estimate import Conditions, Estimate, Machines, Prices, Run, StageEstimate, estimate_run
from dailymae_hf.plan.fit import FittedSchedule, fit_schedule
from dailymae_hf.plan.speeds import Throughput, parse_duration, read_throughput

__all__ = [
    "Conditions",
    "Estimate",
    "FittedSchedule",
    "Machines",
    "Prices",
    "Run",
    "StageEstimate",
    "Throughput",
    "estimate_run",
    "fit_schedule",
    "parse_duration",
    "read_throughput",
]
