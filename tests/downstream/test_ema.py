"""The average of the weights, against its formula, without a trainer."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dailymae_hf.downstream.ema import EMACallback
from dailymae_hf.errors import ResumeError


def started(decay=0.9, *, frozen=False):
    """A callback on a linear model, as at the start of training."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(not frozen)
    callback = EMACallback(decay)
    callback.attach(SimpleNamespace(core_model=model))
    callback.on_train_begin(None, None, None)
    return callback, model


def step(callback, model, number):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    callback.on_step_end(None, SimpleNamespace(global_step=number), None)


def test_it_is_the_recurrence_with_a_decay_that_grows():
    callback, model = started(decay=0.5)
    expected = model.weight.detach().clone()
    for number in range(1, 20):
        step(callback, model, number)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(callback.average["weight"], expected)


def test_the_model_holds_it_inside_the_block_and_after_training():
    callback, model = started()
    step(callback, model, 1)
    weights, average = model.weight.detach().clone(), callback.average["weight"].clone()
    assert not torch.equal(weights, average)
    with callback.applied():
        assert torch.equal(model.weight, average)
    assert torch.equal(model.weight, weights)
    callback.on_train_end(None, None, None)
    assert torch.equal(model.weight, average)
    with callback.applied():
        assert torch.equal(model.weight, average), "after training there is nothing to exchange"


def test_frozen_weights_are_left_out():
    callback, _ = started(frozen=True)
    assert set(callback.average) == {"weight"}


def test_a_checkpoint_continues_it_and_another_models_is_refused(tmp_path):
    callback, model = started()
    step(callback, model, 1)
    callback.save_state(tmp_path)
    again, _ = started()
    again.load_state(tmp_path)
    assert torch.equal(again.average["bias"], callback.average["bias"])
    with pytest.raises(ResumeError, match="averages other weights"):
        started(frozen=True)[0].load_state(tmp_path)
    with pytest.raises(ResumeError, match="written without ema_decay"):
        again.load_state(tmp_path / "nowhere")
