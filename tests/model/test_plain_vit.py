"""The encoder as a plain ViT: what plain transformers makes of it, beside what it makes of the autoencoder."""

import pytest
import torch
from PIL import Image
from transformers import AutoModel, ViTMAEModel, ViTModel, pipeline

from dailymae_hf.cli.main import main
from dailymae_hf.errors import CheckpointError
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.model.plain_vit import write_encoder_beside, write_plain_vit
from tests.support.in_memory import tiny_model


@pytest.fixture(scope="module")
def model():
    model = tiny_model(seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    image_processor(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).save_pretrained(folder)
    return folder


@torch.no_grad()
def whole_tokens(model, pixels):
    """(B, N, D): the patches of the whole image after the final norm."""
    return model.vit.layernorm(model.encode(pixels))


def tokens_of(folder, image):
    return torch.tensor(pipeline("image-feature-extraction", model=str(folder), device="cpu")(image))


@pytest.mark.parametrize("way", ["export", "beside"])
def test_the_pipeline_gives_all_tokens_in_order_where_the_autoencoders_gives_a_random_quarter(
    way, model, checkpoint, tmp_path, capsys
):
    image = Image.fromarray(torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).numpy())
    first, second = (tokens_of(checkpoint, image) for _ in range(2))
    assert first.shape == second.shape == (1, 5, 32)
    assert not torch.equal(first, second)

    if way == "beside":
        folder = write_encoder_beside(checkpoint)
    else:
        folder = tmp_path / "vit"
        assert main(["export", str(checkpoint), str(folder), "--to", "vit"]) == 0
        assert str(folder) in capsys.readouterr().out
    found = tokens_of(folder, image)
    assert torch.equal(found, tokens_of(folder, image))
    pixels = image_processor(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))(image, return_tensors="pt").pixel_values
    torch.testing.assert_close(found[:, 1:], whole_tokens(model, pixels), atol=1e-5, rtol=1e-4)


def test_auto_model_takes_it_whole_and_its_pooler_is_the_class_token(model, checkpoint):
    write_encoder_beside(checkpoint)
    encoder, report = AutoModel.from_pretrained(checkpoint, subfolder="encoder", output_loading_info=True)
    assert type(encoder) is ViTModel
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        outputs = encoder.eval()(pixels)
        unmasked = ViTMAEModel.from_pretrained(checkpoint, mask_ratio=0.0).eval()(pixels).last_hidden_state
    torch.testing.assert_close(outputs.pooler_output, unmasked[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(outputs.last_hidden_state[:, 1:], whole_tokens(model, pixels), atol=1e-5, rtol=1e-4)


def test_a_sharded_checkpoint_is_read_whole(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("model-*"))) > 1
    encoder = ViTModel.from_pretrained(write_encoder_beside(tmp_path)).eval()
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        found = encoder(pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(found, whole_tokens(model, pixels), atol=1e-5, rtol=1e-4)


def test_what_has_no_encoder_is_refused(model, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="no encoder"):
        write_plain_vit({"decoder.mask_token": torch.zeros(1)}, model.config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: "):
        write_encoder_beside(tmp_path)
    assert main(["export", str(tmp_path / "nowhere"), str(tmp_path / "out"), "--to", "vit"]) == 2
    assert "nowhere" in capsys.readouterr().err
