"""Fine-tuning for a study: what augmenting after normalisation means, and a run from checkpoint to score."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from transformers import ViTMAEConfig

from dailymae_hf import DailyMAEForPreTraining
from dailymae_hf.training.augment import ThreeAugment
from studies import finetuning

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
DECODER = {f"decoder_{name}": value for name, value in SIZES.items()}


def test_the_operations_see_normalised_pixels():
    pixels = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    index = torch.arange(64)
    three = ThreeAugment(color_jitter=0.0, seed=0)
    found = finetuning.OnNormalised(three, MEAN, STD)(pixels, 0, index)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    normalised = (pixels / 255 - mean) / std
    expected = torch.where(normalised > 127.5 / 255, 1 - normalised, normalised)
    solarised = (three(pixels, 0, index) - torch.where(pixels > 127, 255 - pixels, pixels) / 255).abs().amax((1, 2, 3))
    rows = solarised < 1e-6
    assert 10 < rows.sum() < 35
    torch.testing.assert_close(((found - mean) / std)[rows], expected[rows], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[rows], three(pixels, 0, index)[rows], atol=0.1)


@pytest.mark.parametrize("augment", ["none", "normalised"])
def test_a_checkpoint_becomes_a_score(augment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = ViTMAEConfig(image_size=32, patch_size=8, layer_norm_eps=1e-6, **SIZES, **DECODER)
    DailyMAEForPreTraining(config).save_pretrained(tmp_path / "model")
    generator = np.random.default_rng(0)
    rows = []
    for row in range(64):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
        rows.append({"image": {"bytes": file.getvalue()}, "label": row // 2 % 2})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "images.parquet")
    images = str(tmp_path / "images.parquet")
    command = [str(tmp_path / "model"), "--train", images, "--validation", images, "--train-images", "32"]
    finetuning.main([*command, "--augment", augment, "--epochs", "1"])
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert scores["augment"] == augment
    assert 0 <= scores["finetune"] <= 1
