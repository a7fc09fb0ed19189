"""The segmentation judge: tiles in their places, scores as their formulas say, frozen features that name colours."""

import ast
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
from studies import judge_segmentation
from studies.judge import load_encoder, patch_mean, pixel_statistics

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
DECODER = {f"decoder_{name}": value for name, value in SIZES.items()}
COLOURS = np.array([[255, 0, 0], [0, 0, 255], [0, 255, 0]], dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = ViTMAEConfig(image_size=32, patch_size=8, layer_norm_eps=1e-6, **SIZES, **DECODER)
    DailyMAEForPreTraining(config).save_pretrained(folder)
    return folder


def test_imports_nothing_of_ours_but_the_judge():
    tree = ast.parse(Path(judge_segmentation.__file__).read_text())
    modules = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in modules if name.startswith(("dailymae_hf", "studies", "recipes"))} == {"studies.judge"}


def test_features_of_a_tile_lie_where_the_tile_lies(checkpoint: Path):
    encoder, statistics = load_encoder(str(checkpoint)), pixel_statistics(str(checkpoint))
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = judge_segmentation.grid_features(encoder, images, statistics)
    assert found.shape == (2, 8, 12, 32)
    with torch.no_grad():
        expected = patch_mean(encoder, images[:, :, 32:, 64:], statistics)
    torch.testing.assert_close(found[:, 4:, 8:].mean(dim=(1, 2)), expected, rtol=1e-4, atol=1e-5)
    # Token by token: a patch's own content moves its own token most.
    changed = images.clone()
    changed[0, :, 40:48, 16:24] = 255 - changed[0, :, 40:48, 16:24]
    moved = (judge_segmentation.grid_features(encoder, changed, statistics) - found).norm(dim=-1)[0]
    assert moved.flatten().argmax() == 5 * 12 + 2
    assert moved[:, 4:].max() == 0  # other tiles do not see it


def test_fractions_leave_out_what_is_not_labelled():
    masks = torch.tensor([[[0, 1, 9, 9], [1, 1, 9, 9], [2, 9, 0, 0], [2, 9, 2, 2]]])
    found = judge_segmentation.class_fractions(masks, (4, 4), 2, 3, ignore=9)
    expected = torch.tensor([[[[0.25, 0.75, 0], [0, 0, 0]], [[0, 0, 1], [0.5, 0, 0.5]]]])
    torch.testing.assert_close(found, expected)


def test_intersection_over_union_by_hand():
    masks = torch.tensor([[[0, 0, 1, 1], [2, 2, 7, 7]]])
    predicted = torch.tensor([[0, 1, 1, 1], [2, 0, 0, 1]])
    logits = torch.nn.functional.one_hot(predicted, 4).permute(2, 0, 1)[None].float()
    table = judge_segmentation.confusion(logits, masks, ignore=7)
    assert table.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    scores = judge_segmentation.iou(table)
    torch.testing.assert_close(scores[:3], torch.tensor([1 / 3, 2 / 3, 1 / 2], dtype=torch.float64))
    assert scores[3].isnan()


def _parquet(path: Path, count: int, seed: int) -> str:
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        mask = np.kron(generator.integers(0, 3, (4, 4)), np.ones((8, 8), dtype=int)).astype(np.uint8)
        image, labels = io.BytesIO(), io.BytesIO()
        Image.fromarray(COLOURS[mask]).save(image, "PNG")
        mask[:2] = 11
        Image.fromarray(mask).save(labels, "PNG")
        rows.append({"image": {"bytes": image.getvalue()}, "mask": {"bytes": labels.getvalue()}})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def test_colours_are_named(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train, validation = (_parquet(tmp_path / f"{seed}.parquet", 12, seed) for seed in (0, 1))
    judge_segmentation.main([str(checkpoint), "--train", train, "--validation", validation, "--ignore", "11"])
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(scores["iou"]) == 3
    assert scores["miou"] > 0.6  # patches of one colour; bilinear logits blur their edges
