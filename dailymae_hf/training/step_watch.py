"""Loss and gradient norm of every optimizer step, over all ranks, without a wait per step.

The figures of a step are summed over the ranks and copied to the host while later steps run, and looked at `DELAY`
steps later: the same steps on all ranks, which so agree on what they see. A request to stop travels with them.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

# Steps between a step and the look at it: by then its copy is done, and the device has the next steps to work on.
DELAY = {"cpu": 1, "cuda": 2}


@dataclass(frozen=True)
class StepFigures:
    """What all ranks had at one optimizer step: the mean of their losses, the gradient's norm (None: not watched)."""

    step: int
    loss: float
    grad_norm: float | None
    stop: bool

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and (self.grad_norm is None or math.isfinite(self.grad_norm))

    def __str__(self) -> str:
        return f"loss {self.loss:g}" + ("" if self.grad_norm is None else f", gradient norm {self.grad_norm:g}")


class NonFiniteStep(Exception):
    """The loss, the gradient or the weights of a step are not numbers. The trainer stops or goes back."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"step {step}: {what}")
        self.step = step


class StepWatch:
    """Takes each step's figures in and gives earlier steps' back.

    Args:
        device: of the run.
        accumulated: what was accumulated of the loss before the first step that it will see.

    Attributes:
        accumulated: the mean over the ranks of the accumulated loss, as it was after the step last looked at.
    """

    def __init__(self, device: torch.device, accumulated: float = 0.0) -> None:
        self._device = device
        self._ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        self._delay = DELAY.get(device.type, 0)
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pending: deque[_Pending] = deque()
        self._flags = [torch.full((), float(flag), device=device) for flag in (False, True)]
        self.accumulated = accumulated

    def record(
        self, step: int, accumulated_loss: torch.Tensor, grad_norm: Any, *, restarted: bool, stop: bool
    ) -> list[StepFigures]:
        """Take a step's figures in; returns those of the steps that are due, oldest first. Called on every rank.

        Args:
            step: optimizer steps done.
            accumulated_loss: scalar, this rank's losses summed since the accumulation last began.
            grad_norm: scalar of the step's gradient before clipping, a tensor or a float; None is not watched.
            restarted: the accumulation began with this step.
            stop: this rank was asked to stop.
        """
        if hasattr(grad_norm, "full_tensor"):  # sharded over the ranks
            grad_norm = grad_norm.full_tensor()
        loss = accumulated_loss.detach().float().reshape(())
        watched = grad_norm is not None
        norm = torch.as_tensor(grad_norm if watched else 0.0, dtype=torch.float32, device=self._device).reshape(())
        values = torch.stack([loss, norm.detach(), self._flags[stop]])
        work = dist.all_reduce(values, async_op=True) if self._ranks > 1 else None
        pending = _Pending(step, restarted, watched, values, work)
        if self._side is not None:
            pending.copy_to_host(self._side)
        self._pending.append(pending)
        return self._look(self._delay)

    def flush(self) -> list[StepFigures]:
        """Wait for all that was recorded and return it. Called on every rank, at the same step."""
        return self._look(0)

    def _look(self, kept: int) -> list[StepFigures]:
        due = []
        while len(self._pending) > kept:
            pending = self._pending.popleft()
            loss, norm, stop = pending.read()
            total = loss / self._ranks
            step_loss = total if pending.restarted else total - self.accumulated
            self.accumulated = total
            due.append(
                StepFigures(pending.step, step_loss, norm / self._ranks if pending.watched else None, bool(stop))
            )
        return due


@dataclass
class _Pending:
    """A step's figures on their way to the host."""

    step: int
    restarted: bool
    watched: bool
    values: torch.Tensor
    work: Any
    copied: Any = None

    def copy_to_host(self, side: Any) -> None:
        """Copy on a stream of its own: the step's must not wait for the sum over the ranks, nor the host for either."""
        side.wait_stream(torch.cuda.current_stream(self.values.device))
        with torch.cuda.stream(side):
            if self.work is not None:
                self.work.wait()
            on_device = self.values
            self.values = torch.empty(on_device.shape, dtype=on_device.dtype, pin_memory=True)
            self.values.copy_(on_device, non_blocking=True)
            on_device.record_stream(side)
            self.copied = torch.cuda.Event()
            self.copied.record(side)

    def read(self) -> list[float]:
        if self.copied is not None:
            self.copied.synchronize()
        elif self.work is not None:
            self.work.wait()
        return self.values.tolist()


class SpikeMeter:
    """Tells a loss that jumps from one that varies: more than `DEVIATIONS` standard deviations of the last `WINDOW`
    steps, and more than `FACTOR` times their mean, above that mean. A new resolution moves the loss by less.
    """

    WINDOW, WARMUP, DEVIATIONS, FACTOR = 100, 20, 6.0, 1.3

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=self.WINDOW)

    def spike(self, loss: float) -> float | None:
        """Take a step's loss in; the mean before it where it is a spike, else None."""
        values = self._last
        found = None
        if len(values) >= self.WARMUP:
            mean = sum(values) / len(values)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            if loss > max(mean + self.DEVIATIONS * deviation, self.FACTOR * mean):
                found = mean
        values.append(loss)
        return found
