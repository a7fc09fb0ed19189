"""Exported checkpoints give what transformers gives: timm's names by our own formula, ONNX by onnxruntime."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from dailymae_hf.cli.main import main
from dailymae_hf.downstream.classifier import build_classifier
from dailymae_hf.downstream.trainer import classification_processor
from dailymae_hf.errors import CheckpointError
from dailymae_hf.export import export_timm
from dailymae_hf.export.source import load_for_export
from dailymae_hf.export.timm_names import mlp_ratio
from tests.support.in_memory import tiny_model
from tests.support.timm_alone import import_timm

KINDS = ("encoder", "mean", "cls")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A masked autoencoder and the classifiers of both poolings, no tensor of theirs at its first value."""
    folder = tmp_path_factory.mktemp("checkpoints")
    encoder = tiny_model(hidden_size=48, num_attention_heads=3)
    models = {"encoder": encoder}
    models |= {pooling: build_classifier(encoder, ["a", "b", "c"], pooling=pooling) for pooling in ("mean", "cls")}
    for name, model in models.items():
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
        classification_processor(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).save_pretrained(folder / name)
    return folder


@torch.no_grad()
def expected(checkpoints, kind, pixels):
    outputs = load_for_export(checkpoints / kind)(pixels)
    return outputs.last_hidden_state if kind == "encoder" else outputs.logits


def timm_vit(state, args, pixels):
    """timm's VisionTransformer written out in plain torch: tokens, or logits where there is a head."""

    def norm(name, x):
        return F.layer_norm(x, (x.shape[-1],), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = F.conv2d(pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=args["patch_size"])
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1) + state["pos_embed"]
    batch, tokens, width = x.shape
    for number in range(args["depth"]):
        block = f"blocks.{number}"
        qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x))
        q, k, v = qkv.view(batch, tokens, 3, args["num_heads"], -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (width // args["num_heads"]) ** 0.5).softmax(dim=-1)
        x = x + linear(f"{block}.attn.proj", (weights @ v).transpose(1, 2).reshape(batch, tokens, width))
        x = x + linear(f"{block}.mlp.fc2", F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))))
    if args["global_pool"] == "avg":
        return linear("head", norm("fc_norm", x[:, 1:].mean(dim=1)))
    x = norm("norm", x)
    return linear("head", x[:, 0]) if "head.weight" in state else x


@pytest.mark.parametrize("kind", KINDS)
def test_timms_names_and_formula_give_the_same(checkpoints, tmp_path, kind, capsys):
    assert main(["export", str(checkpoints / kind), str(tmp_path / "timm"), "--to", "timm"]) == 0
    assert str(tmp_path / "timm") in capsys.readouterr().out
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    assert config["pretrained_cfg"]["mean"] == [0.4, 0.5, 0.6]
    assert config["pretrained_cfg"]["crop_pct"] == pytest.approx(224 / 256, abs=0.02)
    assert config["num_classes"] == (0 if kind == "encoder" else 3)
    pixels = torch.randn(2, 3, 32, 32)
    got = timm_vit(load_file(tmp_path / "timm" / "model.safetensors"), config["model_args"], pixels)
    assert got.shape == ((2, 17, 48) if kind == "encoder" else (2, 3))
    assert (got - expected(checkpoints, kind, pixels)).abs().max() < 1e-5


@pytest.fixture(scope="module")
def timm():
    return import_timm()


def assert_timm_agrees(timm, checkpoint, folder, encoder, channels=3):
    model = timm.create_model(f"local-dir:{export_timm(checkpoint, folder)}", pretrained=True).eval()
    pixels = torch.randn(2, channels, 32, 32)
    with torch.no_grad():
        got = model.forward_features(pixels) if encoder else model(pixels)
        outputs = load_for_export(checkpoint)(pixels)
    assert (got - (outputs.last_hidden_state if encoder else outputs.logits)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_timm_itself_loads_it(timm, checkpoints, tmp_path, kind):
    assert_timm_agrees(timm, checkpoints / kind, tmp_path, kind == "encoder")


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 352, "intermediate_size": 960, "num_attention_heads": 4},
        {"num_channels": 1},
        {"qkv_bias": False},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_timm_loads_other_shapes(timm, tmp_path, fields):
    """timm makes its layers `int(352 * (960 / 352))` = 959 wide, and three channels unless told of another number."""
    model = tiny_model(**fields)
    model.save_pretrained(tmp_path / "checkpoint")
    assert_timm_agrees(timm, tmp_path / "checkpoint", tmp_path / "timm", True, model.config.num_channels)


def test_widths_are_those_that_timm_computes_from_the_ratio():
    """With the quotient itself timm makes 93 of these 3797 layers one narrower."""
    for width in range(32, 1300, 32):
        for mlp_width in range(width // 4, 5 * width, 33):
            assert int(width * mlp_ratio(width, mlp_width)) == mlp_width


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("encoder", {"layer_norm_eps": 1e-12}, "layer_norm_eps is 1e-12, and timm's ViT has 1e-06"),
        ("encoder", {"hidden_act": "relu"}, "hidden_act is relu, and timm's ViT has gelu"),
        ("beit", {"use_relative_position_bias": True}, "use_relative_position_bias is True, .* has False"),
        ("beit", {"layer_scale_init_value": 0.1}, "layer_scale_init_value is 0.1, .* has 0"),
        ("beit", {"use_absolute_position_embeddings": False}, "use_absolute_position_embeddings is False, .* has True"),
    ],
)
def test_what_timm_has_no_place_for_is_refused(tmp_path, kind, fields, said):
    if kind == "encoder":
        tiny_model(**fields).save_pretrained(tmp_path)
    else:
        model = build_classifier(tiny_model(), ["a", "b"])
        config = model.config.to_dict() | fields
        type(model)(type(model.config)(**config)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        export_timm(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_gives_the_same_for_any_batch(checkpoints, tmp_path, kind):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'dailymae-hf[onnx]'")
    pytest.importorskip("onnxscript", reason="pip install 'dailymae-hf[onnx]'")
    path = tmp_path / "model.onnx"
    assert main(["export", str(checkpoints / kind), str(path), "--to", "onnx"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"], "the weights are in it"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, 32, 32)
        (got,) = session.run(None, {"pixel_values": pixels.numpy()})
        assert np.abs(got - expected(checkpoints, kind, pixels).numpy()).max() < 1e-5


def test_an_encoder_is_loaded_without_a_table_of_the_decoders_tensors(checkpoints, caplog, capfd):
    load_for_export(checkpoints / "encoder")
    assert "decoder" not in caplog.text + capfd.readouterr().err


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_for_export(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(CheckpointError, match="a resnet; vit_mae, vit, beit"):
        load_for_export(tmp_path)
