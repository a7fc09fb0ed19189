"""Fine-tuning on two CPU ranks ends where one rank with the same global batch does, and both ranks know it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.classifier_rank_run import run

SCRIPT = Path(__file__).parents[1] / "support" / "classifier_rank_run.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """What one rank wrote, and what two did."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    run(one, 8)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
    done = subprocess.run(
        [*command, str(two), "4"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent.parent.parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return one, two


def test_ranks_agree_to_the_bit(folders):
    first, second = (load_file(folders[1] / f"weights-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    first_scores, second_scores = ((folders[1] / f"scores-{rank}.json").read_text() for rank in range(2))
    assert first_scores == second_scores


def test_two_ranks_end_where_one_does(folders):
    one, two = (load_file(folder / "weights-0.safetensors") for folder in folders)
    assert torch.equal(one["labels"], two["labels"])
    assert len(two["features"]) == 13, "every held-out image once"
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-4, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")
    scores = [json.loads((folder / "scores-0.json").read_text()) for folder in folders]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_heads_end_alike_on_one_rank_and_on_two(folders):
    """Batch norms had each rank's own statistics, the file rank 0's; crops of masks were those of epoch 0 for ever."""
    one, first, second = (
        load_file(path) for path in (
            folders[0] / "heads-0.safetensors", folders[1] / "heads-0.safetensors", folders[1] / "heads-1.safetensors",
        )
    )  # fmt: skip
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), f"{name}: the ranks differ"
        torch.testing.assert_close(first[name], tensor, atol=1e-4, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")
