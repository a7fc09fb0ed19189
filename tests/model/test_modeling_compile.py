"""`torch.compile`: no graph break, one graph per resolution, none afterwards, the same numbers."""

import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config

PALINDROME = [(224, 0.75), (192, 0.75), (160, 0.75), (192, 0.75), (224, 0.75)]
EQUAL_VISIBLE = [(160, 0.5), (192, 0.66), (224, 0.75)]


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(**overrides) -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    layers = {"num_hidden_layers": 1, "decoder_num_hidden_layers": 2}
    return DailyMAEForPreTraining(mae_config("tiny", **(layers | overrides))).train()


def batch(size: int, count: int = 2) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(count, 3, size, size), "noise": torch.rand(count, (size // 16) ** 2)}


@pytest.mark.parametrize(
    ("schedule", "dynamic"),
    [(PALINDROME, None), (PALINDROME, False), (EQUAL_VISIBLE, None)],
    ids=["palindrome", "palindrome, static shapes", "equal visible"],
)
def test_one_graph_per_resolution_and_none_afterwards(schedule, dynamic):
    """By default a second size makes `torch.compile` switch to symbolic sizes; here each size keeps its own graph."""
    model, counter = build(), CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=dynamic, fullgraph=True)
    seen = set()
    for _ in range(2):
        for size, mask_ratio in schedule:
            compiled.mask_ratio = mask_ratio
            inputs = batch(size)
            loss = compiled(**inputs).loss
            loss.backward()
            assert loss.item() == pytest.approx(model(**inputs).loss.item(), abs=1e-6)
            seen.add(size)
            assert counter.frame_count == len(seen)


@pytest.mark.parametrize("option", ["no noise given", "all logits", "checkpointing", "half the hidden", "autocast"])
def test_no_graph_break_with_any_option(option):
    model, counter = build(), CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    inputs = batch(160)
    if option == "no noise given":
        del inputs["noise"]
    elif option == "all logits":
        inputs["return_logits"] = True
    elif option == "checkpointing":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # renamed in transformers 5.2x, both names work
            model.gradient_checkpointing_enable()
    elif option == "half the hidden":
        model.decoder_keep = 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=option == "autocast"):
        compiled(**inputs).loss.backward()
        compiled(**inputs).loss.backward()
    assert counter.frame_count == 1


def test_encode_compiles_whole():
    model, counter = build(), CompileCounter()
    encode = torch.compile(model.encode, backend=counter, fullgraph=True)
    images = batch(192)["pixel_values"]
    torch.testing.assert_close(encode(images), model.encode(images))
    assert counter.frame_count == 1


def test_compiled_backward_pass_gives_the_same_gradients():
    """Through AOTAutograd, at a size whose position tables are constants of the graph."""
    model, counter = build(), CompileCounterWithBackend("aot_eager")
    inputs = batch(160)
    model(**inputs).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    torch.compile(model, backend=counter, fullgraph=True)(**inputs).loss.backward()
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)
    assert counter.frame_count == 1


@pytest.mark.slow
def test_inductor_gives_the_same_loss_and_gradients():
    model = build(decoder_num_hidden_layers=1)
    inputs = batch(160)
    model(**inputs).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    loss = model(**inputs).loss.item()
    model.zero_grad(set_to_none=True)
    found = torch.compile(model, fullgraph=True)(**inputs).loss
    found.backward()
    assert found.item() == pytest.approx(loss, abs=1e-5)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-3)
