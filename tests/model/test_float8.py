"""8-bit floats: refused where nothing computes in them; with torchao the same checkpoint and nearly the same loss."""

import pytest
import torch
from safetensors.torch import load_file

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.float8 import use_float8
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import tiny_model


@pytest.mark.parametrize(
    ("capability", "message"),
    [(None, "float8: .* there is none here"), ((8, 0), "A card has compute capability 8.0, .* begin with 8.9")],
)
def test_a_card_without_them_is_refused_by_name(tmp_path, monkeypatch, capability, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    with pytest.raises(RecipeError, match=message):
        use_float8(tiny_model())


def test_a_recipe_that_asks_for_them_fails_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    args = DailyMAETrainingArguments(output_dir=str(tmp_path), float8=True, use_cpu=True, report_to="none")
    with pytest.raises(RecipeError, match="float8"):
        DailyMAETrainer(tiny_model(), args)


def test_emulated_training_step(tmp_path):
    pytest.importorskip("torchao", reason="converts the layers")
    model, images, noise = tiny_model().train(), torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exact = model(images, noise=noise).loss.item()
    use_float8(model, emulate=True)
    converted = [name for name, module in model.named_modules() if type(module).__name__ == "Float8Linear"]
    assert len(converted) == 3 * 6, "six linear maps in each of three layers"
    loss = model(images, noise=noise).loss
    loss.backward()
    # 3 bits of mantissa, rounded to nearest: products are off by 6 % each way at most, their sums by far less
    assert loss.item() == pytest.approx(exact, rel=0.05)
    assert loss.item() != exact
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    model.save_pretrained(tmp_path)
    tiny_model().save_pretrained(tmp_path / "plain")
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(tmp_path / "plain/model.safetensors").keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
