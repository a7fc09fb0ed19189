"""Files: written names, what plain transformers reads from them, and what ours reads and refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForPreTraining,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
)

from dailymae_hf.errors import CheckpointError
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config

# The names of `facebook/vit-mae-base` on the Hub, which are those of transformers 4.57's own modules.
_LAYER = [
    f"{part}.{kind}"
    for part in (
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
        "layernorm_before",
        "layernorm_after",
    )
    for kind in ("weight", "bias")
]
HUB_NAMES = {
    "vit.embeddings.cls_token",
    "vit.embeddings.position_embeddings",
    "vit.embeddings.patch_embeddings.projection.weight",
    "vit.embeddings.patch_embeddings.projection.bias",
    *(f"vit.encoder.layer.{number}.{name}" for number in range(2) for name in _LAYER),
    "vit.layernorm.weight",
    "vit.layernorm.bias",
    "decoder.mask_token",
    "decoder.decoder_pos_embed",
    "decoder.decoder_embed.weight",
    "decoder.decoder_embed.bias",
    *(f"decoder.decoder_layers.{number}.{name}" for number in range(2) for name in _LAYER),
    "decoder.decoder_norm.weight",
    "decoder.decoder_norm.bias",
    "decoder.decoder_pred.weight",
    "decoder.decoder_pred.bias",
}


def tiny_config(**overrides) -> ViTMAEConfig:
    return mae_config("tiny", **({"num_hidden_layers": 2, "decoder_num_hidden_layers": 2} | overrides))


@pytest.fixture(scope="module")
def model() -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    return DailyMAEForPreTraining(tiny_config())


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def hub_folder(model, tmp_path_factory) -> Path:
    """A checkpoint as 4.57 writes it, made without any code of ours: stock names of the present, renamed by hand."""
    path = tmp_path_factory.mktemp("hub")
    tensors = {}
    for name, tensor in model.state_dict().items():
        renamed = name.replace("vit.layers.", "vit.encoder.layer.")
        for new, old in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
            renamed = renamed.replace(f"attention.{new}", f"attention.attention.{old}")
        renamed = renamed.replace("o_proj", "output.dense")
        renamed = renamed.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        tensors[renamed] = tensor.clone()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": ["ViTMAEForPreTraining"], "transformers_version": "4.57.3"}
    (path / "config.json").write_text(json.dumps(config))
    return path


def assert_same_tensors(actual: torch.nn.Module, expected: torch.nn.Module) -> None:
    expected_tensors = expected.state_dict()
    for name, tensor in actual.state_dict().items():
        assert torch.equal(tensor, expected_tensors[name]), name


def test_files_carry_the_hubs_names_where_stock_breaks_the_decoders(model, folder, tmp_path):
    """Stock writes `decoder.decoder_encoder.layer.N`, for which 4.57 keeps its random decoder with a warning only."""
    stock = ViTMAEForPreTraining(model.config)
    stock.save_pretrained(tmp_path)
    stock_names = set(load_file(tmp_path / "model.safetensors"))
    assert any(name.startswith("decoder.decoder_encoder.layer.") for name in stock_names - HUB_NAMES)
    assert set(load_file(folder / "model.safetensors")) == HUB_NAMES


def test_config_names_the_plain_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "vit_mae"
    assert config["architectures"] == ["ViTMAEForPreTraining"]


@pytest.mark.parametrize("reader", [AutoModelForPreTraining, ViTMAEForPreTraining, DailyMAEForPreTraining])
def test_whole_model_is_read_exactly(reader, model, folder):
    loaded, info = reader.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_same_tensors(loaded, model)


@pytest.mark.parametrize("reader", [ViTMAEModel, ViTForImageClassification])
def test_backbone_is_read_without_missing_keys(reader, model, folder):
    loaded, info = reader.from_pretrained(folder, output_loading_info=True)
    assert {name for name in info["missing_keys"] if not name.startswith("classifier.")} == set()
    backbone = getattr(loaded, "vit", loaded)
    for ours, theirs in zip(model.vit.layers, backbone.layers, strict=True):
        assert torch.equal(ours.attention.q_proj.weight, theirs.attention.q_proj.weight)
        assert torch.equal(ours.mlp.fc2.bias, theirs.mlp.fc2.bias)


def test_loaded_stock_model_computes_the_same(model, folder):
    stock = ViTMAEForPreTraining.from_pretrained(folder)
    images, noise = torch.randn(2, 3, 224, 224), torch.rand(2, 196)
    with torch.no_grad():
        expected = model.eval()(images, noise=noise)
        found = stock.eval()(images, noise=noise)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
    assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-6)


def test_hub_format_is_read_exactly(model, hub_folder):
    assert set(load_file(hub_folder / "model.safetensors")) == HUB_NAMES
    assert_same_tensors(DailyMAEForPreTraining.from_pretrained(hub_folder), model)


def test_stock_5x_files_are_read_exactly(tmp_path):
    torch.manual_seed(1)
    stock = ViTMAEForPreTraining(tiny_config())
    stock.save_pretrained(tmp_path)
    assert_same_tensors(DailyMAEForPreTraining.from_pretrained(tmp_path), stock)


def test_shards_are_written_and_read(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="1MB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same_tensors(DailyMAEForPreTraining.from_pretrained(tmp_path), model)


def test_written_again_after_loading_the_file_is_the_same(folder, hub_folder, tmp_path):
    DailyMAEForPreTraining.from_pretrained(hub_folder).save_pretrained(tmp_path)
    first, second = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_given_state_dict_is_what_gets_written(model, tmp_path):
    """The Trainer hands over a gathered state dict."""
    doubled = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=doubled)
    loaded = load_file(tmp_path / "model.safetensors")
    name = "decoder.decoder_layers.1.intermediate.dense.weight"
    assert torch.equal(loaded[name], model.decoder.decoder_layers[1].mlp.fc1.weight * 2)


def test_resume_reads_a_files_names_into_the_live_model(model, folder):
    """The Trainer resumes with `load_state_dict(file, strict=False)`: stock then keeps every block's random weights."""
    tensors = load_file(folder / "model.safetensors")
    torch.manual_seed(5)
    stock = ViTMAEForPreTraining(model.config)
    missing = set(stock.load_state_dict(dict(tensors), strict=False).missing_keys)
    assert {f"{part}.{n}.mlp.fc1.weight" for part in ("vit.layers", "decoder.decoder_layers") for n in (0, 1)} < missing
    fresh = DailyMAEForPreTraining(model.config)
    fresh.load_state_dict(dict(tensors), strict=True)
    assert_same_tensors(fresh, model)
    wrapped = torch.nn.ModuleDict({"module": DailyMAEForPreTraining(model.config)})
    wrapped.load_state_dict({f"module.{name}": tensor for name, tensor in tensors.items()}, strict=True)
    assert_same_tensors(wrapped["module"], model)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("decoder.decoder_layers.0.output.dense.weight", r"decoder\.decoder_layers\.0\.mlp\.fc2\.weight"),
        ("vit.encoder.layer.1.attention.attention.key.bias", r"vit\.layers\.1\.attention\.k_proj\.bias"),
        ("decoder.mask_token", r"decoder\.mask_token"),
    ],
)
def test_a_missing_tensor_is_an_error_unless_asked_for(model, hub_folder, tmp_path, lost, named):
    """Stock only warns. With strict=False the missing tensor starts as MAE's does and all others are as in the file."""
    tensors = load_file(hub_folder / "model.safetensors")
    del tensors[lost]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((hub_folder / "config.json").read_bytes())
    ViTMAEForPreTraining.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        DailyMAEForPreTraining.from_pretrained(tmp_path)
    loaded = DailyMAEForPreTraining.from_pretrained(tmp_path, strict=False)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]) == (name != named.replace("\\", "") or "bias" in lost), (
            name
        )


def test_encoder_only_file_gives_a_maes_decoder(model, folder, tmp_path):
    ViTMAEModel.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="lacks decoder"):
        DailyMAEForPreTraining.from_pretrained(tmp_path)
    loaded = DailyMAEForPreTraining.from_pretrained(tmp_path, strict=False)
    assert torch.equal(loaded.vit.layers[1].mlp.fc1.weight, model.vit.layers[1].mlp.fc1.weight)
    assert torch.equal(loaded.decoder.decoder_pos_embed, model.decoder.decoder_pos_embed)
    bound = (6 / (4 * 128)) ** 0.5
    assert 0.99 * bound < loaded.decoder.decoder_layers[0].attention.q_proj.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("overrides", "named"),
    [({"decoder_num_hidden_layers": 1}, "decoder_layers.1"), ({"num_hidden_layers": 3}, "vit.layers.2")],
)
def test_a_config_that_does_not_fit_the_file_is_an_error(folder, overrides, named):
    with pytest.raises(CheckpointError, match=named):
        DailyMAEForPreTraining.from_pretrained(folder, config=tiny_config(**overrides))


def test_another_shape_is_an_error_even_where_transformers_is_told_to_ignore_it(folder):
    with pytest.raises(CheckpointError, match="decoder_pred"):
        DailyMAEForPreTraining.from_pretrained(folder, config=tiny_config(num_channels=1), ignore_mismatched_sizes=True)


def test_meta_device_model_can_be_filled(model, folder):
    with torch.device("meta"):
        empty = DailyMAEForPreTraining(model.config)
    empty.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    assert_same_tensors(empty, model)
