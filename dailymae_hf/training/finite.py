"""Whether all weights of a run are numbers, over all ranks, found out while something else reads them as well."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.distributed as dist

_worker = ThreadPoolExecutor(1, thread_name_prefix="weights check")


class WeightsCheck:
    """Begins to look at the weights, which must not change before `all_finite` has been asked.

    On a GPU the look is queued on its stream; on a CPU it is a thread's, which costs a run that meanwhile writes a
    checkpoint nothing where a second core is free. Ranks look at once: what FSDP gathers to write a checkpoint it frees
    again, under the eyes of a thread that still reads it.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._weights = [_local(parameter) for parameter in model.parameters()]
        alone = not (dist.is_available() and dist.is_initialized())
        on_cpu = all(weight.device.type == "cpu" for weight in self._weights)
        self._sum: Future[torch.Tensor] | torch.Tensor = (
            _worker.submit(_sum_of_norms, self._weights) if on_cpu and alone else _sum_of_norms(self._weights)
        )

    def all_finite(self) -> bool:
        """Wait for the answer. Called on every rank, which get the same."""
        found = self._sum.result() if isinstance(self._sum, Future) else self._sum
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(found)
        return bool(torch.isfinite(found))


def all_finite(model: torch.nn.Module) -> bool:
    """Whether every weight on every rank is a number. Called on every rank."""
    return WeightsCheck(model).all_finite()


@torch.no_grad()
def _sum_of_norms(weights: list[torch.Tensor]) -> torch.Tensor:
    """Scalar; not a number, or infinite, where one of them is. A norm takes what reading the memory takes."""
    return torch.stack([norm.float() for norm in torch._foreach_norm(weights, 2)]).sum()


def _local(parameter: torch.Tensor) -> torch.Tensor:
    """This rank's part of a sharded parameter, else all of it."""
    whole = parameter.detach()
    return whole.to_local() if hasattr(whole, "to_local") else whole
