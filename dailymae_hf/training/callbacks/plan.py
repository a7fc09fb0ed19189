"""Holds a run beside its plan: forecasts its end at every log, says early when it misses the budget, and why."""

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan.forecast import Forecast, Observed, Plan, forecast
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.hf_compat import logging
from dailymae_hf.training.stopwatch import process_seconds

logger = logging.get_logger(__name__)

STATE_NAME = "plan_progress.json"
_LOGS_BEFORE_WARNING = 3  # the first logs hold compiling and cold caches
_WORSE = 0.05  # of the limit: a later end by this much is worth another warning


class PlanCallback(DailyMAECallback):
    """Logs `forecast_seconds`, when the run will end counted from the start of its process, and warns when that is past
    the plan's budget: how late, and whether waiting for data or the step itself is slower than planned.

    The time of earlier parts of a resumed run counts as well; the time between them does not.

    Args:
        plan: what `dailymae plan --out` or a schedule fitted at start-up wrote.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.warnings: list[Forecast] = []
        self._observed: list[Observed] = []
        self._earlier = 0.0
        self._mark = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def from_file(cls, path: str | Path) -> "PlanCallback":
        """Raises RecipeError, naming the file, where it holds no plan."""
        try:
            return cls(Plan.from_json(json.loads(Path(path).read_text())["plan"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecipeError(f"plan: {path} holds no plan: {error}") from error

    @property
    def elapsed(self) -> float:
        """Seconds that the run has lasted, start-ups included."""
        return self._earlier + process_seconds()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._mark = self._now(state)

    def log_values(self) -> dict[str, float | int]:
        state = self.trainer.state
        now = self._now(state)
        epoch, clock, waited, paused = now
        begin, clock_before, waited_before, paused_before = self._mark
        if epoch <= begin:
            return {}
        seconds = clock - clock_before - (paused - paused_before)
        self._observed.append(Observed(begin, epoch, seconds, waited - waited_before))
        self._mark = now
        told = forecast(self.plan, self.elapsed, self._observed)
        if len(self._observed) > _LOGS_BEFORE_WARNING:
            self._warn(told)
        return {"forecast_seconds": round(told.end_seconds, 1)}

    def _warn(self, told: Forecast) -> None:
        worst = max((warning.end_seconds for warning in self.warnings), default=0.0)
        if told.late and told.end_seconds > worst + _WORSE * told.limit_seconds:
            self.warnings.append(told)
            if self.trainer.is_world_process_zero():
                logger.warning("the plan will be missed: %s", told.sentence())

    def _now(self, state: TrainerState) -> tuple[float, float, float, float]:
        watch = self.trainer.stopwatch
        return float(state.epoch or 0.0), time.perf_counter(), watch.waited, watch.paused

    def save_state(self, folder: Path) -> None:
        (folder / STATE_NAME).write_text(json.dumps({"elapsed": self.elapsed}) + "\n")

    def load_state(self, folder: Path) -> None:
        path = folder / STATE_NAME
        # A run that takes up a plan on resume has no earlier time to count.
        if path.is_file():
            self._earlier = json.loads(path.read_text())["elapsed"]
