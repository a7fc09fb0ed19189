"""LARS and layer-wise rates against formulas computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BeitConfig, BeitForImageClassification, ViTConfig, ViTForImageClassification

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.optim import LARS, layer_decay_groups

TINY = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 16, "num_labels": 5,
}  # fmt: skip


def lars_by_hand(weight, gradients, *, lr, weight_decay, momentum, trust=0.001):
    """The paper's algorithm in float64, a matrix at a time."""
    weight, velocity = weight.astype(np.float64), np.zeros_like(weight, dtype=np.float64)
    for gradient in gradients:
        update = gradient + weight_decay * weight
        if np.linalg.norm(weight) > 0 and np.linalg.norm(update) > 0:
            update = update * trust * np.linalg.norm(weight) / np.linalg.norm(update)
        velocity = momentum * velocity + update
        weight = weight - lr * velocity
    return weight


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("start", ["random", "zero"])
def test_lars_is_the_papers_algorithm(weight_decay, momentum, start):
    rng = np.random.default_rng(3)
    initial = rng.normal(size=(5, 7)).astype(np.float32) if start == "random" else np.zeros((5, 7), dtype=np.float32)
    gradients = rng.normal(size=(6, 5, 7)).astype(np.float32)
    weight = nn.Parameter(torch.from_numpy(initial.copy()))
    optimizer = LARS([weight], lr=6.4, weight_decay=weight_decay, momentum=momentum)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    expected = lars_by_hand(initial, gradients, lr=6.4, weight_decay=weight_decay, momentum=momentum)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=2e-5, atol=1e-6)


def test_lars_treats_biases_as_plain_momentum():
    bias = nn.Parameter(torch.ones(4))
    reference = nn.Parameter(torch.ones(4))
    ours = LARS([bias], lr=0.3, weight_decay=0.1)
    theirs = torch.optim.SGD([reference], lr=0.3, momentum=0.9)
    for step in range(4):
        bias.grad = reference.grad = torch.arange(4.0) * (step + 1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(bias, reference)


def test_lars_first_step_has_the_length_the_trust_coefficient_says():
    weight = nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    before = weight.detach().clone()
    weight.grad = torch.randn(8, 8) * 1e6
    LARS([weight], lr=0.1).step()
    moved = (weight.detach() - before).norm() / before.norm()
    assert moved == pytest.approx(0.1 * 0.001, rel=1e-2)


def test_lars_continues_from_its_state_dict():
    torch.manual_seed(0)
    gradients = torch.randn(4, 3, 3)
    unbroken, resumed = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    first, second = LARS([unbroken], lr=1.0), LARS([resumed], lr=1.0)
    for step, gradient in enumerate(gradients):
        if step == 2:
            state, second = second.state_dict(), LARS([resumed], lr=0.5)
            second.load_state_dict(state)
        unbroken.grad = resumed.grad = gradient
        first.step()
        second.step()
    assert torch.equal(unbroken, resumed)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "momentum", "trust_coefficient"])
def test_lars_refuses_negative_values(name):
    with pytest.raises(RecipeError, match=name):
        LARS([nn.Parameter(torch.ones(2))], **{"lr": 0.1, name: -1.0})


@pytest.mark.parametrize(
    "model",
    [
        BeitForImageClassification(BeitConfig(**TINY, use_absolute_position_embeddings=True)),
        ViTForImageClassification(ViTConfig(**TINY)),
    ],
    ids=["mean", "class token"],
)
def test_layer_decay_follows_depth(model):
    groups = layer_decay_groups(model, learning_rate=1e-3, weight_decay=0.05, layer_decay=0.75, num_layers=3)
    found = {id(p): group for group in groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        if "embeddings" in name:
            layer = 0
        elif ".layers." in name:
            layer = 1 + int(name.split(".layers.")[1].split(".")[0])
        else:
            layer = 4
        group = found[id(parameter)]
        assert group["lr"] == pytest.approx(1e-3 * 0.75 ** (4 - layer)), name
        decayed = parameter.ndim >= 2 and "token" not in name and "position_embeddings" not in name
        assert group["weight_decay"] == (0.05 if decayed else 0.0), name


def test_layer_decay_keeps_its_ratios_under_a_schedule():
    model = ViTForImageClassification(ViTConfig(**TINY))
    groups = layer_decay_groups(model, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5, num_layers=3)
    optimizer = torch.optim.AdamW(groups)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 * (step + 1))
    optimizer.step()
    scheduler.step()
    assert [group["lr"] / group["lr_scale"] for group in optimizer.param_groups] == pytest.approx([0.2] * len(groups))


def test_frozen_parameters_are_in_no_group():
    model = ViTForImageClassification(ViTConfig(**TINY))
    model.vit.requires_grad_(False)
    groups = layer_decay_groups(model, learning_rate=1.0, weight_decay=0.0, layer_decay=1.0, num_layers=3)
    assert [len(group["params"]) for group in groups] == [1, 1]


def test_layer_decay_out_of_range_is_named():
    with pytest.raises(RecipeError, match="layer_decay"):
        layer_decay_groups(nn.Linear(2, 2), learning_rate=1.0, weight_decay=0.0, layer_decay=0.0, num_layers=1)
