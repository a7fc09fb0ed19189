"""What watches a run while it trains: its figures, its ranks and launcher, and those who ask it to stop."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dailymae_hf.errors import CheckpointError, DivergenceError
from dailymae_hf.training.checkpoint_folders import newest_whole, step_of
from dailymae_hf.training.finite import WeightsCheck
from dailymae_hf.training.hf_compat import logging
from dailymae_hf.training.rank_watch import RankWatch, limit_collectives
from dailymae_hf.training.ranks import ending_together
from dailymae_hf.training.run_claim import RunClaim
from dailymae_hf.training.step_watch import NonFiniteStep, SpikeMeter, StepFigures, StepWatch
from dailymae_hf.training.stop_signals import Preempted, StopSignals

logger = logging.get_logger(__name__)

_QUICK = 10.0  # seconds that Ctrl-C may wait for a checkpoint
_WHAT_TO_TRY = "Try a lower learning rate, a longer warmup_epochs or max_grad_norm: 1"
_OR_REWIND = "or on_nan: rewind, which goes back to the last checkpoint and on with other samples"


class RunGuard:
    """Stops a run, or sends it back, before it loses what it has.

    Args:
        args: the run's arguments.
        checkpoints: its `Checkpoints`.

    Attributes:
        rewinds: `{"step": where a loss was not a number, "to": the checkpoint gone back to}`, oldest first.
        spikes: optimizer steps whose loss jumped, since the run was last begun or continued.
        accumulated_loss: mean over the ranks of the losses summed since the last log, as of the last look at all steps.
    """

    def __init__(self, args: Any, checkpoints: Any) -> None:
        self.args, self.checkpoints = args, checkpoints
        self.rewinds: list[dict[str, int]] = []
        self.spikes: list[int] = []
        self.stop_agreed = False
        self._signals = StopSignals(lambda: (checkpoints.seconds or 0.0) < _QUICK)
        self._watch: StepWatch | None = None
        self._meter = SpikeMeter()
        self._step = 0
        self._claim: RunClaim | None = None

    @contextmanager
    def on_duty(self, claim: RunClaim) -> Iterator[None]:
        """Listen for signals and watch ranks and launcher inside the block. Entered by every rank.

        Raises:
            RankError: another rank has ended; the message is that one's error.
        """
        limit_collectives(self.args.ddp_timeout)
        self._claim = claim
        ranks = RankWatch(silence=self.args.rank_timeout, launcher_gone=self._signals.request)
        with self._signals:
            ranks.start()
            try:
                with ending_together(self._asked_to_stop, lambda: f" at step {self._step} or soon after"):
                    yield
                    self.checkpoints.wait()
            finally:
                ranks.stop()
                with suppress(CheckpointError):  # what ended the run says more
                    self.checkpoints.wait()

    def _asked_to_stop(self) -> bool:
        return self._signals.requested is not None

    def begin(self, step: int, accumulated_loss: float) -> None:
        """Look at the steps after `step` from now on; a resumed run has summed up losses since its last log already."""
        self._watch = StepWatch(self.args.device, accumulated_loss)
        self._meter = SpikeMeter()
        self._step = step

    def after_step(self, step: int, accumulated_loss: torch.Tensor, grad_norm: Any, *, restarted: bool) -> None:
        """Take in what an optimizer step gave, and look at what earlier ones gave. Called on every rank, again and
        again for one step if need be.

        Raises:
            NonFiniteStep: a loss or a gradient was not a number; on every rank at the same step.
            CheckpointError: the checkpoint that was being finished could not be written.
        """
        if self._watch is None or step == self._step:
            return
        self._step = step
        self.checkpoints.look()
        norm = None if self.args.fp16 else grad_norm  # the loss scale makes it infinite now and then, and adapts
        stop = self._signals.requested is not None
        self._see(self._watch.record(step, accumulated_loss, norm, restarted=restarted, stop=stop))

    def require_numbers(self, step: int, model: torch.nn.Module) -> None:
        """Look at every step so far and at the weights, before they are scored. Called on every rank.

        Raises:
            NonFiniteStep: something was not a number.
        """
        with self.requiring_numbers(step, model):
            pass

    @contextmanager
    def requiring_numbers(self, step: int, model: torch.nn.Module) -> Iterator[None]:
        """Look at every step so far, and at the weights while they are written inside the block. Called on every rank.

        Raises:
            NonFiniteStep: something was not a number; for the weights after the block, which must undo what it wrote.
        """
        if self._watch is not None:
            self._see(self._watch.flush())
        weights = WeightsCheck(model)
        yield
        if not weights.all_finite():
            raise NonFiniteStep(step, "weights that are not numbers")

    def require_folder(self) -> None:
        """Raise RunLockError where another run has taken the output folder."""
        if self._claim is not None:
            self._claim.check()

    @property
    def accumulated_loss(self) -> float:
        return 0.0 if self._watch is None else self._watch.accumulated

    def _see(self, seen: list[StepFigures]) -> None:
        for figures in seen:
            self.stop_agreed |= figures.stop
            if not figures.is_finite:
                raise NonFiniteStep(figures.step, str(figures))
            mean = self._meter.spike(figures.loss)
            if mean is not None:
                self.spikes.append(figures.step)
                logger.warning("step %d: the loss jumps to %.4g from a mean of %.4g", figures.step, figures.loss, mean)

    def rewind(self, error: NonFiniteStep) -> Path:
        """The checkpoint to go back to. Called on every rank.

        Raises:
            DivergenceError: the run is to stop, has gone back often enough, or has no checkpoint yet.
        """
        self.checkpoints.wait()
        said, last = str(error), self._newest()
        where = f"the last finite checkpoint is {last}" if last else "there is no checkpoint yet"
        if self.args.on_nan != "rewind":
            raise DivergenceError(f"{said}; {where}. {_WHAT_TO_TRY}, {_OR_REWIND}")
        if len(self.rewinds) >= self.args.max_rewinds:
            raise DivergenceError(
                f"{said}, after going back {len(self.rewinds)} times (max_rewinds); {where}. {_WHAT_TO_TRY}"
            )
        if last is None:
            raise DivergenceError(f"{said}; {where}, so on_nan: rewind has nothing to go back to. {_WHAT_TO_TRY}")
        self.rewinds.append({"step": error.step, "to": step_of(last)})
        logger.warning("%s: going back to %s, and on with other samples", said, last)
        self.stop_agreed = False
        return last

    def _newest(self) -> Path | None:
        found: list[Any] = [newest_whole(self.checkpoints.folder)[0] if self.checkpoints.is_writer else None]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.broadcast_object_list(found, src=0)
        return None if found[0] is None else Path(found[0])

    def leave(self, step: int) -> None:
        """End a run that was asked to stop, its checkpoint written.

        Raises:
            KeyboardInterrupt: this rank was asked by Ctrl-C.
            Preempted: otherwise; the first rank's says what to do.
        """
        self.checkpoints.wait()
        reasons: list[Any] = [self._signals.requested]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            reasons *= dist.get_world_size()
            dist.all_gather_object(reasons, self._signals.requested)
        if self._signals.interrupted:
            raise KeyboardInterrupt
        reason = next(reason for reason in reasons if reason is not None)
        said = (
            f"stopped by {reason} at step {step}: {self.checkpoints.path(step)} is whole, and the same command with "
            "--resume_from_checkpoint auto continues from it"
        )
        raise Preempted(said if self.checkpoints.is_writer else "")
