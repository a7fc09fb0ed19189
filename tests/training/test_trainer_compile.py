"""`torch_compile: true` in a recipe: one graph per resolution, whole and made once, alone and on two ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from dailymae_hf.run_files import read_log
from tests.support.rank_run import run

SCRIPT = Path(__file__).parents[1] / "support" / "rank_run.py"
# Everything that torch.compile does but the generation of code, which takes a minute and says nothing about graphs.
COMPILED = {"torch_compile": True, "torch_compile_backend": "aot_eager"}


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder / "log.jsonl") if line["loss"] is not None]


@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_compiles_each_resolution_once_and_whole(tmp_path, bf16):
    """The palindrome 32, 24, 32 with probe, evaluation and checkpoints between: two graphs."""
    run({"out": str(tmp_path / "plain"), "arguments": {"bf16": bf16}})
    counters.clear()
    run({"out": str(tmp_path / "compiled"), "arguments": {"bf16": bf16, **COMPILED}})
    found = json.loads((tmp_path / "compiled" / "compiled-0.json").read_text())
    assert found == {"graphs": 2, "breaks": {}}
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-2 if bf16 else 1e-5)


def test_two_ranks_compile_each_resolution_once(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
    done = subprocess.run(
        [*command, json.dumps({"out": str(tmp_path), "batch": 4, "probe": False, "arguments": COMPILED})],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        assert json.loads((tmp_path / f"compiled-{rank}.json").read_text())["graphs"] == 2
