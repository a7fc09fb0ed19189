"""Muon beside AdamW: who gets which parameter, stock arithmetic, exact continuation."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.training.muon import MuonWithAdamW, is_hidden_matrix

RATE, DECAY = 1e-2, 0.1


@pytest.fixture
def model() -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    sizes |= {f"decoder_{name}": value for name, value in sizes.items()}
    return DailyMAEForPreTraining(mae_config("tiny", image_size=32, patch_size=8, **sizes))


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = []
    for matrices, decay in ((True, DECAY), (False, 0.0)):
        members = [(name, p) for name, p in named if (p.ndim > 1) == matrices]
        names, params = (list(column) for column in zip(*members, strict=True))
        groups.append({"params": params, "names": names, "lr": RATE, "weight_decay": decay})
    return groups


def _train(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        pixels = torch.randn(4, 3, 32, 32, generator=generator)
        noise = torch.rand(4, 16, generator=generator)
        model(pixel_values=pixels, noise=noise).loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_matrices_of_the_layers_are_muons(model: DailyMAEForPreTraining):
    hidden = {name for name, p in model.named_parameters() if is_hidden_matrix(name, p)}
    # query, key, value, output and two of the MLP, in two layers of the encoder and two of the decoder
    assert len(hidden) == 24
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in hidden} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "fc1",
        "fc2",
    }


def test_every_parameter_is_in_one_group(model: DailyMAEForPreTraining):
    optimizer = MuonWithAdamW(_groups(model), lr=RATE)
    members = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(members) == len({id(p) for p in members})
    assert {id(p) for p in members} == {id(p) for p in model.parameters() if p.requires_grad}


def test_steps_are_those_of_the_stock_optimizers(model: DailyMAEForPreTraining):
    other = copy.deepcopy(model)
    _train(model, MuonWithAdamW(_groups(model), lr=RATE), steps=range(3))
    hidden = {name for name, p in other.named_parameters() if is_hidden_matrix(name, p)}
    named = [(name, p) for name, p in other.named_parameters() if p.requires_grad]
    rest = [
        {"params": [p for name, p in named if name not in hidden and p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for name, p in named if name not in hidden and p.ndim == 1], "weight_decay": 0.0},
    ]
    matrices = [p for name, p in named if name in hidden]
    muon = torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.95), fused=True)
    _train(other, muon, adamw, steps=range(3))
    torch.testing.assert_close(_weights(model), _weights(other), rtol=0, atol=0)


@pytest.mark.parametrize("quick", [False, True])
def test_a_saved_state_continues_bit_for_bit(model: DailyMAEForPreTraining, quick: bool):
    def scheduled(model: nn.Module) -> tuple[MuonWithAdamW, LambdaLR]:
        optimizer = MuonWithAdamW(_groups(model), lr=RATE, quick=quick)
        return optimizer, LambdaLR(optimizer, lambda step: 1 / (1 + step))

    optimizer, schedule = scheduled(model)
    _train(model, optimizer, steps=range(2))
    schedule.step()
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), schedule.state_dict()], file)
    _train(model, optimizer, steps=range(2, 4))

    other = copy.deepcopy(model)
    continued, its_schedule = scheduled(other)
    file.seek(0)
    weights, state, place = torch.load(file, weights_only=True)
    other.load_state_dict(weights)
    its_schedule.load_state_dict(place)
    continued.load_state_dict(state)
    _train(other, continued, steps=range(2, 4))
    torch.testing.assert_close(_weights(model), _weights(other), rtol=0, atol=0)


def test_a_model_without_layers_is_refused():
    linear = nn.Linear(4, 4)
    groups = [{"params": list(linear.parameters()), "names": ["weight", "bias"], "lr": RATE, "weight_decay": 0.0}]
    with pytest.raises(RecipeError, match="optim: muon"):
        MuonWithAdamW(groups, lr=RATE)
