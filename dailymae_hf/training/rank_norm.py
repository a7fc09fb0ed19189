"""Batch normalisation with the statistics of the global batch, on any device.

torch's `SyncBatchNorm` runs on GPUs only. With each rank's own statistics a trained head would depend on the number of
ranks, and the saved running statistics would be those of one rank's part of the data.
"""

import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


def normalize_over_ranks(norm: _BatchNorm, inputs: torch.Tensor) -> torch.Tensor:
    """`norm(inputs)` as one rank would compute it for all ranks' inputs together; (B, C, ...), gradients included.

    Every rank calls this at the same time while `norm` is in training mode.
    """
    ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if ranks == 1 or not norm.training:
        return norm(inputs)
    x = inputs.float()
    dims = [0, *range(2, x.ndim)]
    count = torch.tensor(x.numel() / x.shape[1], device=x.device)
    dist.all_reduce(count)
    mean = all_reduce(x.sum(dims)) / count
    shape = [1, -1, *[1] * (x.ndim - 2)]
    centred = x - mean.view(shape)
    variance = all_reduce(centred.square().sum(dims)) / count
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
    normalized = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        normalized = normalized * norm.weight.view(shape) + norm.bias.view(shape)
    return normalized.to(inputs.dtype)
