"""The demo's way to the Hub and back: push to one on the loopback interface, read with plain transformers elsewhere.

Nothing leaves this machine. What a visitor of the two repositories would see is left in FOLDER/hub, cards included.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.loopback_hub import LoopbackHub

# A process that cannot import this package: the loss for given noise, and how many images are named right.
READER = """
import json, sys
from pathlib import Path
sys.modules["dailymae_hf"] = None
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForPreTraining, pipeline

autoencoder, classifier, folder = sys.argv[1:]
paths = sorted(Path(folder).glob("*/*.jpg"))
model = AutoModelForPreTraining.from_pretrained(autoencoder).eval()
pixels = AutoImageProcessor.from_pretrained(autoencoder)([Image.open(p) for p in paths[::30]], return_tensors="pt")
noise = torch.rand(len(paths[::30]), (model.config.image_size // model.config.patch_size) ** 2,
                   generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    loss = model(**pixels, noise=noise).loss.item()
answers = pipeline("image-classification", model=classifier, device="cpu")([str(p) for p in paths], top_k=1)
right = sum(answer[0]["label"] == path.parent.name for answer, path in zip(answers, paths))
print(json.dumps({"loss": loss, "right": right, "images": len(paths)}))
"""


def push_and_read_back(pretrained: Path, output: Path, images: Path) -> str:
    """Push the demo's checkpoint and the classifier made of it, twice each; read both back; returns what came of it.

    Args:
        pretrained: output folder of pretraining.
        output: of the downstream runs: finetune, knn and linear.
        images: validation images in a folder for each class.
    """
    repositories = {"demo-mae": pretrained, "demo-classifier": output / "finetune"}
    results = [str(output / name) for name in ("knn", "linear", "finetune")]
    words = {
        "demo-mae": ["--results", *results],
        "demo-classifier": ["--base-model", f"{LoopbackHub.user}/demo-mae"],
    }
    lines = []
    with LoopbackHub() as hub:
        for name, folder in repositories.items():
            push = ["-m", "dailymae_hf.cli.main", "push", str(folder), "--repo", f"{hub.user}/{name}", "--private"]
            for _ in range(2):
                _python(hub, output / "hub" / "writer", [*push, "--license", "apache-2.0", *words[name]])
            files = hub.files(f"{hub.user}/{name}")
            _write(files, output / "hub" / name)
            size = sum(map(len, files.values())) / 1e6
            commits = len(hub.messages(f"{hub.user}/{name}")) - 1
            what = f"{len(files)} files, {size:.1f} MB"
            lines.append(f"pushed twice to {hub.user}/{name}: {what}, commits: {commits}")
        names = [f"{hub.user}/{name}" for name in repositories]
        there = json.loads(_python(hub, output / "hub" / "reader", ["-c", READER, *names, str(images)]))
        folders = [str(folder) for folder in repositories.values()]
        here = json.loads(_python(hub, output / "hub" / "writer", ["-c", READER, *folders, str(images)]))
    same = "the same as from the folders here" if there == here else f"from the folders here {here}"
    lines.append(
        f"read back by plain transformers: loss {there['loss']:.4f} for fixed masks, pipeline names "
        f"{there['right']} of {there['images']} original tiles right: {same}"
    )
    return "\n".join(lines)


def _python(hub: LoopbackHub, home: Path, words: list[str]) -> str:
    environment = os.environ | hub.environment(home.absolute(), token=hub.token)
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:4])}: {done.stderr[-2000:]}")
    return done.stdout


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
