"""The judge: stands on plain transformers alone, and scores what it says."""

import ast
import math
from pathlib import Path

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from dailymae_hf import DailyMAEForPreTraining
from studies import judge

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DECODER = {f"decoder_{name}": value for name, value in SIZES.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = ViTMAEConfig(image_size=32, patch_size=8, layer_norm_eps=1e-6, **SIZES, **DECODER)
    DailyMAEForPreTraining(config).save_pretrained(tmp_path)
    return tmp_path


def test_imports_nothing_of_ours():
    tree = ast.parse(Path(judge.__file__).read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in modules if name.startswith(("dailymae_hf", "studies", "recipes"))}


def test_features_are_the_unmasked_mean_patch_token(checkpoint: Path):
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = judge.pixel_statistics(str(checkpoint))
    found = judge.encode(judge.load_encoder(str(checkpoint)), images, (mean, std))
    model = DailyMAEForPreTraining.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        expected = model.encode((images.float() / 255 - mean) / std).mean(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_that_does_not_fill_the_encoder_is_refused(tmp_path: Path):
    config = ViTMAEConfig(image_size=32, patch_size=8, **SIZES, **DECODER)
    model = ViTMAEForPreTraining(config)
    state = {name: value for name, value in model.state_dict().items() if "patch_embeddings" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match="does not fill the encoder"):
        judge.load_encoder(str(tmp_path))


def _clusters(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    centers = torch.eye(8)[:4] * 6
    return centers[labels] + torch.randn(count, 8, generator=generator), labels


def test_scores_of_separable_and_of_random_features():
    features, labels = _clusters(400, 0)
    queries, wanted = _clusters(200, 1)
    assert judge.linear_probe(features, labels, queries, wanted) > 0.98
    assert judge.nearest_neighbours(features, labels, queries, wanted) > 0.98
    noise = torch.randn(400, 8, generator=torch.Generator().manual_seed(2))
    assert judge.linear_probe(noise, labels, queries, wanted) < 0.5


def test_rankme_of_known_spectra():
    basis = torch.linalg.qr(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))[0]
    assert judge.rankme(basis) == pytest.approx(16, rel=1e-4)
    assert judge.rankme(basis[:, :1] @ torch.ones(1, 16)) == pytest.approx(1, rel=1e-3)


def test_few_labels_are_the_same_number_of_each_class():
    rows = judge.some_of_each_class(torch.arange(200) % 2, 0.1)
    assert len(rows) == 20
    assert math.isclose((rows % 2).float().mean().item(), 0.5)


def test_finetuning_learns(checkpoint: Path):
    colours = torch.tensor([[255, 0, 0], [0, 0, 255]], dtype=torch.uint8)
    labels = torch.arange(128) % 2
    images = colours[labels].view(128, 3, 1, 1).expand(128, 3, 32, 32).contiguous()
    normalise = judge.pixel_statistics(str(checkpoint))
    encoder = judge.load_encoder(str(checkpoint))
    assert judge.finetune(encoder, (images, labels), (images, labels), normalise, epochs=4, seed=0) > 0.9
