"""A rank that dies ends the others within seconds, on its machine and on the next, and the log ends with its error."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from dailymae_hf.data import write_beton
from tests.recipes.test_pretrain import RECIPE

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
# Seconds: launchers look at their ranks every tenth of one, broken connections are noticed at once. Nobody waits for
# the half hour after which a collective operation gives up.
SOON = 20


def start(*words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, *words], cwd=cwd, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def test_a_corrupt_image_on_one_rank_ends_all_and_is_named_last(tmp_path, photograph_folder):
    for split in ("train", "validation"):
        write_beton(photograph_folder, tmp_path / f"{split}.beton", workers=1, progress=False)
    data = bytearray((tmp_path / "train.beton").read_bytes())
    first = data.find(b"\xff\xd8\xff")
    data[first : first + 2000] = bytes(2000)
    (tmp_path / "train.beton").write_bytes(data)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["--standalone", "--nproc_per_node", "2", str(ROOT / "recipes" / "pretrain.py"), "recipe.yaml"]
    launcher = start(*words, cwd=tmp_path)
    said = launcher.communicate(timeout=120)[1]
    assert launcher.returncode != 0
    summary = said[said.rindex("Root Cause") :]
    assert re.search(r"CorruptSampleError.*sample \d+ cannot be decoded", summary), summary
    # Of the two whichever lost the other says the same, so that it does not matter whom the launcher saw first.
    assert re.search(r"RankError: rank [01] \(process \d+ on .*\) ended: CorruptSampleError: .*sample \d+ cannot", said)


def test_a_killed_rank_ends_those_of_its_machine_and_of_the_next(tmp_path):
    """Two launchers on the loopback interface are two machines to each other: nothing but the connection tells the
    first one's rank that the second's is gone, whose gradients it waits for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = json.dumps({"out": str(tmp_path), "batch": 4, "killed": 1, "probe": False})
    machines = [
        start(
            *("--nnodes", "2", "--nproc_per_node", "1", "--node_rank", str(number), "--max_restarts", "0"),
            *(
                "--master_addr",
                "127.0.0.1",
                "--master_port",
                str(port),
                str(ROOT / "tests" / "support" / "rank_run.py"),
                run,
            ),
        )
        for number in range(2)
    ]
    said = [machine.communicate(timeout=120)[1] for machine in machines]
    ended = time.time()
    assert [machine.returncode != 0 for machine in machines] == [True, True]
    assert ended - float((tmp_path / "killed_at").read_text()) < SOON
    assert "Signal 9 (SIGKILL)" in said[1][said[1].rindex("Root Cause") :]
    assert re.search(r"\[rank0\]: \w*Error", said[0]), said[0]  # of its connection, in one wording or another
