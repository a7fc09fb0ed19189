"""Optimizers by name, parameter groups with their rates and decays, and what of both belongs on a card.

Another optimizer is one function here, from groups and training arguments to a `torch.optim.Optimizer`, registered with
`@optimizer("its name")`: recipes select it with `optim`, and card, log and resume follow by themselves.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.muon import MuonWithAdamW

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
_NEVER_DECAYED = ("cls_token", "mask_token", "position_embeddings", "decoder_pos_embed")

# A group has `params`, their `names` in the model, `lr` and `weight_decay`.
Groups = list[dict[str, Any]]
MakeOptimizer = Callable[[Groups, Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, MakeOptimizer] = {}


def optimizer(name: str) -> Callable[[MakeOptimizer], MakeOptimizer]:
    """Register a function from (groups, training arguments) to an optimizer under the name that recipes use."""

    def register(make: MakeOptimizer) -> MakeOptimizer:
        OPTIMIZERS[name] = make
        return make

    return register


def optimizer_facts(made: Any, name: str) -> dict[str, Any]:
    """Name and settings of an optimizer for the card; `name` is what the arguments call it, before it is made."""
    made = getattr(made, "optimizer", made)  # accelerate's wrapper
    if made is None:
        return {"name": "AdamW" if name.startswith("adamw") else name, "betas": None, "momentum": None}
    betas = made.defaults.get("betas")
    return {
        "name": type(made).__name__,
        "betas": None if betas is None else list(betas),
        "momentum": made.defaults.get("momentum"),
    }


def without_names(groups: Groups) -> Groups:
    """The groups as optimizers of torch take them."""
    return [{key: value for key, value in group.items() if key != "names"} for group in groups]


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """Weight matrices and the patch projection are decayed: not biases, norms, tokens or positions (MAE's rule)."""
    return parameter.ndim > 1 and name.rpartition(".")[2] not in _NEVER_DECAYED


def decay_groups(named: Iterable[tuple[str, torch.Tensor]], *, learning_rate: float, weight_decay: float) -> Groups:
    """The trainable parameters in two groups: what is decayed, and the rest."""
    groups: Groups = [
        {"params": [], "names": [], "lr": learning_rate, "weight_decay": decay} for decay in (weight_decay, 0.0)
    ]
    for name, parameter in named:
        if parameter.requires_grad:
            group = groups[0 if is_decayed(name, parameter) else 1]
            group["params"].append(parameter)
            group["names"].append(name)
    return [group for group in groups if group["params"]]


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


@optimizer("lars")
def lars(groups: Groups, args: Any) -> torch.optim.Optimizer:
    """LARS, MAE's choice for linear probes; the momentum is `lars_momentum`, where the arguments have it."""
    return LARS(without_names(groups), lr=args.learning_rate, momentum=getattr(args, "lars_momentum", 0.9))


@optimizer("muon")
def muon(groups: Groups, args: Any) -> torch.optim.Optimizer:
    """Muon for the matrices of the layers, AdamW with the arguments' betas for all else."""
    betas = (args.adam_beta1, args.adam_beta2)
    return MuonWithAdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon)


@optimizer("quick_muon")
def quick_muon(groups: Groups, args: Any) -> torch.optim.Optimizer:
    """`muon` with a third of its products, for models whose steps take no longer than Muon's own work."""
    betas = (args.adam_beta1, args.adam_beta2)
    return MuonWithAdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, quick=True)


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
        Groups with `params`, `names`, `lr`, `weight_decay`, `lr_scale` and `layer`, the input's first. Frozen
        parameters are in none, every trainable one is in exactly one.

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
        decayed = is_decayed(name, parameter)
        scale = layer_decay ** (num_layers + 1 - layer)
        group = {
            "params": [],
            "names": [],
            "lr": learning_rate * scale,
            "weight_decay": weight_decay if decayed else 0.0,
            "lr_scale": scale,
            "layer": layer,
        }
        members = groups.setdefault((layer, decayed), group)
        members["params"].append(parameter)
        members["names"].append(name)
    return [groups[key] for key in sorted(groups)]
