"""Muon with a third of the products: two polynomial steps instead of five, matrices of one shape at once.

For models so small that Muon's own work is as much as the training step's. What it gives is less orthogonal than
`torch.optim.Muon`'s: singular values end between about .05 and 2 where those end between .7 and 1.2.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

from dailymae_hf.errors import RecipeError

# The first two polynomials of Polar Express (Amsel et al. 2025, arXiv 2505.16932): x -> a x + b x^3 + c x^5 on the
# singular values, each the best one for what the one before leaves.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
)
_MARGIN = 1.01  # bfloat16 must not carry a singular value over 1, where the first polynomial grows fast


class QuickMuon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised in bfloat16 by two polynomials.

    Steps are scaled as `torch.optim.Muon`'s with `adjust_lr_fn="match_rms_adamw"`, by .2 * sqrt(larger side). The
    state is the same as that optimizer's, one momentum a matrix.

    Args:
        params: groups of matrices.
        lr: learning rate of groups without one.
        weight_decay: decoupled, of groups without one.
        momentum: of the running mean of gradients.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "ns_steps": len(POLAR_EXPRESS)}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient.

        Raises:
            RecipeError: a matrix is sharded over ranks.
        """
        for group in self.param_groups:
            members = [parameter for parameter in group["params"] if parameter.grad is not None]
            if members:
                self._update(members, group)

    def _update(self, members: list[torch.Tensor], group: dict[str, Any]) -> None:
        if any(hasattr(parameter, "to_local") for parameter in members):
            raise RecipeError("optim: quick_muon is for whole matrices, and FSDP shards them over the ranks: take muon")
        gradients: list[Any] = [parameter.grad for parameter in members]
        for parameter in members:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum_buffer"] for parameter in members]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, means, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
        alike: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
        for parameter, update in zip(members, updates, strict=True):
            alike[tuple(sorted(parameter.shape))].append((_wide(parameter), _wide(update)))
        for (_, larger), pairs in alike.items():
            steps = orthogonalized(torch.stack([update for _, update in pairs]).bfloat16())
            for (parameter, _), step in zip(pairs, steps, strict=True):
                parameter.add_(step, alpha=-0.2 * larger**0.5 * group["lr"])


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with its smaller side first, a view."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """(n, r, c) with r <= c -> the same with singular values moved towards 1, in the same dtype."""
    norms = torch.linalg.matrix_norm(matrices.float(), keepdim=True) * _MARGIN + 1e-7
    matrices = matrices / norms.to(matrices.dtype)
    gram = matrices @ matrices.mT
    (a, b, c), (d, e, f) = POLAR_EXPRESS
    first = _polynomial(gram, a, b, c)
    if matrices.shape[2] == matrices.shape[1]:
        matrices = first @ matrices
        return _polynomial(matrices @ matrices.mT, d, e, f) @ matrices
    # The second step on the small Gram matrix alone: what is left of the wide matrix is one product with it.
    second = _polynomial(first @ gram @ first, d, e, f)
    return (second @ first) @ matrices


def _polynomial(gram: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    """a I + b G + c G @ G of symmetric (n, r, r)."""
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result
