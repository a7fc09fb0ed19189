"""What downstream training adds to AdamW: LARS for linear probes, layer-wise learning rates for fine-tuning."""

import re
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

from dailymae_hf.errors import RecipeError

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, algorithm 1) with momentum.

        g = gradient + weight_decay * w
        g = g * trust_coefficient * |w| / |g|        where both norms are positive
        velocity = momentum * velocity + g
        w = w - lr * velocity

    Biases and other one-dimensional parameters are neither decayed nor scaled (MAE's `util/lars.py`).

    Args:
        params: parameters or groups of them.
        lr: learning rate, MAE's base of 0.1 already multiplied by batch / 256.
        weight_decay: 0 for MAE's linear probe.
        momentum: of the velocity.
        trust_coefficient: the step's length relative to the weights' at a learning rate of 1.

    Raises:
        RecipeError: a negative value.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        defaults["trust_coefficient"] = trust_coefficient
        for name, value in defaults.items():
            if value < 0:
                raise RecipeError(f"LARS {name}: {value} is negative")
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            weight_norm, gradient_norm = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(gradient)
            ratio = group["trust_coefficient"] * weight_norm / gradient_norm
            # `where` instead of `if`: reading a norm would make the host wait for the device.
            gradient = gradient * torch.where((weight_norm > 0) & (gradient_norm > 0), ratio, 1.0)
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        state["velocity"].mul_(group["momentum"]).add_(gradient)
        parameter.add_(state["velocity"], alpha=-group["lr"])


def layer_number(name: str, num_layers: int) -> int:
    """Depth of a parameter of a ViT or BEiT classifier: 0 the embeddings, 1..num_layers the blocks, then the head."""
    if ".embeddings." in f".{name}":
        return 0
    block = _LAYER.search(name)
    return int(block[1]) + 1 if block else num_layers + 1


def layer_decay_groups(
    model: nn.Module, *, learning_rate: float, weight_decay: float, layer_decay: float, num_layers: int
) -> list[dict[str, Any]]:
    """Optimizer groups whose rate falls by `layer_decay` per layer towards the input (MAE's `util/lr_decay.py`).

    A parameter of layer l (see `layer_number`) gets `learning_rate * layer_decay ** (num_layers + 1 - l)`, the head
    all of it. Biases, norms, the class token and positions are not decayed. A schedule that multiplies each group's
    first rate, as transformers' do, keeps the ratios.

    Returns:
        Groups with `params`, `lr`, `weight_decay`, `lr_scale` and `layer`, the input's first. Frozen parameters are in
        none, every trainable one is in exactly one.

    Raises:
        RecipeError: `layer_decay` is not in (0, 1].
    """
    if not 0 < layer_decay <= 1:
        raise RecipeError(f"layer_decay: {layer_decay} is not in (0, 1]")
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_number(name, num_layers)
        decayed = parameter.ndim > 1 and not name.endswith(("cls_token", "position_embeddings"))
        scale = layer_decay ** (num_layers + 1 - layer)
        group = {
            "params": [],
            "lr": learning_rate * scale,
            "weight_decay": weight_decay if decayed else 0.0,
            "lr_scale": scale,
            "layer": layer,
        }
        groups.setdefault((layer, decayed), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]
