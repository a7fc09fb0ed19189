"""Muon for the matrices of the layers and AdamW for all else, as one optimizer (Jordan et al. 2024; Liu et al. 2025).

Muon replaces the momentum of a matrix by the nearest orthogonal one, so that every direction of it moves alike. That is
meant for the matrices inside the layers; queries, keys and values are matrices of their own here, as they should be.
Patch projection, tokens, norms, biases and what leads into and out of the decoder stay with AdamW.
"""

import re
from collections.abc import Callable
from typing import Any, overload

import torch

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.quick_muon import QuickMuon

_IN_LAYER = re.compile(r"(?:^|[._])layers?\.\d+\.")


def is_hidden_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Whether a parameter is a matrix of an encoder's or decoder's layer, by its name in the model."""
    return parameter.ndim == 2 and _IN_LAYER.search(name) is not None


class MuonWithAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` side by side, with one state and one list of groups.

    Muon's steps are scaled to the root mean square of AdamW's (.2 * sqrt(larger side), Liu et al. 2025, sec. 2.2), so
    learning rate and weight decay mean the same for both, and a schedule moves both. Muon keeps one moment, AdamW two.

    Args:
        groups: parameter groups with `params`, their `names` in the model, `lr` and `weight_decay`.
        lr: learning rate of groups without one.
        betas: AdamW's.
        eps: AdamW's.
        momentum: Muon's.
        quick: `QuickMuon` instead of torch's.

    Raises:
        RecipeError: the model has no layers, or nothing beside them.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        momentum: float = 0.95,
        quick: bool = False,
    ) -> None:
        hidden, others = (_part(groups, wanted) for wanted in (True, False))
        if not hidden or not others:
            raise RecipeError("optim: muon is for models with layers, and parameters beside their matrices")
        self._muon: torch.optim.Optimizer
        if quick:
            self._muon = QuickMuon(hidden, lr=lr, momentum=momentum)
        else:
            self._muon = torch.optim.Muon(hidden, lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others, lr=lr, betas=betas, eps=eps, fused=True)
        super().__init__(
            [*self._muon.param_groups, *self._adamw.param_groups], {"lr": lr, "betas": betas, "momentum": momentum}
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for inner, is_muon in ((self._muon, True), (self._adamw, False)):
            # `load_state_dict` puts other objects in the place of both.
            inner.param_groups = [group for group in self.param_groups if ("ns_steps" in group) == is_muon]
            inner.state = self.state
            inner.step()
        return loss


def _part(groups: list[dict[str, Any]], hidden: bool) -> list[dict[str, Any]]:
    """The groups with only those parameters that are hidden matrices, or only those that are not."""
    parts = []
    for group in groups:
        named = zip(group["names"], group["params"], strict=True)
        params = [parameter for name, parameter in named if is_hidden_matrix(name, parameter) == hidden]
        if params:
            parts.append({key: value for key, value in group.items() if key != "names"} | {"params": params})
    return parts
