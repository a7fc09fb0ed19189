"""Small real runs for the fault bench: their data, recipe and folder, and how one is started and what came of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "recipes" / "pretrain.py")
FAULTY = str(Path(__file__).with_name("faulty_run.py"))
ACCELERATE = (
    str(Path(sys.executable).with_name("accelerate")),
    "launch",
    "--num_processes",
    "1",
    "--num_machines",
    "1",
)
PYTHON = (sys.executable,)
TWO_RANKS = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
SAVE_STEPS = 20
STEPS = 200
_RECIPE = f"""
model_size: tiny
image_size: 32
patch_size: 8
model_overrides:
  hidden_size: 64
  intermediate_size: 128
  num_attention_heads: 2
  num_hidden_layers: 2
  decoder_hidden_size: 32
  decoder_intermediate_size: 64
  decoder_num_attention_heads: 2
  decoder_num_hidden_layers: 1
train_beton: train.beton
eval_beton: validation.beton
output_dir: out
num_train_epochs: 20
per_device_train_batch_size: 4
per_device_eval_batch_size: 8
base_learning_rate: 1e-2
warmup_epochs: 2
resolution_schedule: {{kind: palindrome, resolutions: [32, 24, 32]}}
probe_every_n_epochs: 10
reconstruction_every_n_epochs: 0
logging_steps: 1
save_strategy: steps
save_steps: {SAVE_STEPS}
save_total_limit: 3
report_to: none
use_cpu: true
bf16: false
disable_tqdm: true
dataloader_num_workers: 1
"""
# A start of Python, torch and a loader on a machine that others use as well; nothing is "hung" before.
PATIENCE = 180.0


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status (None: it hung and was killed), what it said, seconds since the fault."""

    status: int | None
    said: str
    seconds: float

    @property
    def verdict(self) -> str:
        """ "hung", "traceback", "refused in one line", or "" for a run that ended well."""
        if self.status is None:
            return "hung"
        if self.status == 0:
            return ""
        # A launcher's own traceback follows its summary; the ranks' lines come before.
        own = self.said.partition("ChildFailedError")[0].partition("subprocess.CalledProcessError")[0]
        own = own.rpartition("Traceback (most recent call last)")[0] if own is not self.said else own
        return "traceback" if "Traceback (most recent call last)" in own else "refused in one line"

    @property
    def error(self) -> str:
        """The line that names the error."""
        found = re.findall(r"^.*?(\w+Error: .*)$", self.said, flags=re.MULTILINE)
        return str(found[-1]) if found else self.said.strip().rpartition("\n")[2]


class Run:
    """A run that was started as a command, in a session of its own."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._log = folder / f"said-{time.monotonic_ns()}.txt"
        with open(self._log, "w") as file:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
        """Whether `condition` came true before the run ended or the time was over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            if self.process.poll() is not None:
                return bool(condition())
            time.sleep(0.002)
        return False

    def wait_for_step(self, step: int, out: str = "out") -> bool:
        """Wait until the log has a step."""
        return self.wait_for(lambda: last_step(self.folder / out) >= step)

    def ranks(self) -> list[int]:
        """Process numbers of the launcher's ranks, in order."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(number) for number in children]

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; a run that has not ended by then is killed with all that it started."""
        start = time.monotonic()
        try:
            status: int | None = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            status = None
            for number in [*self.ranks(), self.process.pid]:
                os.kill(number, signal.SIGKILL)
            self.process.wait()
        return Ended(status, self.said, time.monotonic() - start)


class Workplace:
    """A folder with two .beton files and a recipe in which runs are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, seed in (("train", 1), ("validation", 2), ("other", 3)):
            if not (folder / f"{name}.beton").exists():
                write_noise(folder / f"{name}.beton", 40, seed)
        if not (folder / "longer.beton").exists():
            write_noise(folder / "longer.beton", 60, 1)
        (folder / "recipe.yaml").write_text(_RECIPE)

    def start(
        self,
        *words: str,
        launcher: tuple[str, ...] = PYTHON,
        script: str = SCRIPT,
        **environment: str,
    ) -> Run:
        return Run([*launcher, script, "recipe.yaml", *words], self.folder, environment)

    def start_slow(self, *words: str, launcher: tuple[str, ...] = PYTHON, pause: float = 0.05) -> Run:
        """A run whose steps, each `pause` seconds longer, leave time to break something."""
        return self.start(*words, launcher=launcher, script=FAULTY, FAULT=f"slow:{pause}")

    def finish(
        self, *words: str, launcher: tuple[str, ...] = PYTHON, script: str = SCRIPT, **environment: str
    ) -> Ended:
        return self.start(*words, launcher=launcher, script=script, **environment).end()


def write_noise(path: Path, count: int, seed: int) -> None:
    """A .beton of coloured noise in four classes."""
    import datasets
    from PIL import Image

    from dailymae_hf.data import write_beton

    generator = np.random.default_rng(seed)
    images = [Image.fromarray(generator.integers(0, 255, (40, 40, 3), np.uint8)) for _ in range(count)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=4)})
    rows = {"image": images, "label": [number % 4 for number in range(count)]}
    write_beton(datasets.Dataset.from_dict(rows, features=features), path, workers=1, progress=False)


def last_step(out: Path) -> int:
    """The last optimizer step in a run's log, 0 without one."""
    from dailymae_hf.run_files import read_log

    try:
        return max((int(line["step"]) for line in read_log(out / "log.jsonl")), default=0)
    except OSError:
        return 0


def newest_step(out: Path) -> int:
    """The step of the newest whole checkpoint, 0 without one."""
    from dailymae_hf.training.manifest import damage  # alone: the trainer's modules take seconds

    whole = (path for path in out.glob("checkpoint-*") if damage(path) is None)
    return max((int(path.name.partition("-")[2]) for path in whole), default=0)


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()
