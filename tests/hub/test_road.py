"""The whole road between processes: push, push again, and plain transformers of another process loads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.card_facts import FACTS
from tests.support.in_memory import tiny_model

ROOT = Path(__file__).parents[2]
# What somebody does who has transformers and nothing of ours.
READER = """
import json, sys
sys.modules["dailymae_hf"] = None
import torch
from transformers import AutoImageProcessor, AutoModelForPreTraining
name = sys.argv[1]
try:
    model = AutoModelForPreTraining.from_pretrained(name).eval()
except OSError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
processor = AutoImageProcessor.from_pretrained(name)
pixels = processor(torch.arange(3 * 40 * 40).reshape(3, 40, 40).to(torch.uint8), return_tensors="pt").pixel_values
with torch.no_grad():
    loss = model(pixels, noise=torch.linspace(0, 1, 16)[None]).loss.item()
facts = {"mean": processor.image_mean, "size": dict(processor.size), "pixels": pixels.sum().item()}
print(json.dumps({"loss": loss, **facts}))
"""


def python(hub, home, *words, token=None, script=None):
    """Run `python -c script words` or `python words` with this Hub; returns the process."""
    environment = {**os.environ, **hub.environment(home, token=token), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(["-c", script] if script else []), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)


def read(hub, home, name, token=None):
    done = python(hub, home, name, token=token, script=READER)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_private_and_back_again(hub, tmp_path):
    import torch

    from dailymae_hf.model.image_processors import image_processor

    folder, model = tmp_path / "run", tiny_model().eval()
    processor = image_processor(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "run_facts.json").write_text(json.dumps(FACTS))
    push = ("-m", "dailymae_hf.cli.main", "push", folder, "--repo", "tester/road", "--private")
    for _ in range(2):
        done = python(hub, tmp_path / "writer", *push, token=hub.token)
        assert done.returncode == 0, done.stderr[-3000:]
        assert hub.token not in done.stdout + done.stderr
    images = torch.arange(3 * 40 * 40).reshape(3, 40, 40).to(torch.uint8)
    pixels = processor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = model(pixels, noise=torch.linspace(0, 1, 16)[None]).loss.item()

    got = read(hub, tmp_path / "reader", "tester/road", token=hub.token)
    assert got["loss"] == pytest.approx(expected, rel=1e-5)
    assert got["mean"] == [0.4, 0.5, 0.6]
    assert got["size"] == {"height": 32, "width": 32}
    assert got["pixels"] == pytest.approx(pixels.sum().item(), rel=1e-5)

    stranger = read(hub, tmp_path / "stranger", "tester/road")
    assert "private" in stranger["refused"]
    assert "token" in stranger["refused"]
