"""What somebody does who follows the pages from the first line: a folder, and each printed command run in it in turn.

Commands run as processes of their own, as typed. Runs of a recipe get a few keys more, which make them small; of those
that start the same script only the first really runs.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from dailymae_hf.cli.run import RUNS
from tests.support.printed_commands import ROOT, Printed, commands

# Made small: two epochs of thirty tiles, on the CPU, with nobody to report to.
_SHORT = ("--num_train_epochs", "2", "--warmup_epochs", "1", "--per_device_train_batch_size", "10")
_SMALL = {
    "pretrain": _SHORT,
    "finetune": _SHORT,
    "linear_probe": _SHORT,
    "segment": _SHORT,
    "knn": ("--k", "5"),
    "evaluate": ("--variants", "[{quality: 50}]"),
}
_NO_TRACKER = ("--report_to", "none")
_ON_THE_CPU = ("--use_cpu", "true")  # where the command does not say so itself
# Not run, with the reason.
LEFT_OUT = {
    ("pip",): "installs a wheel that was built before; docs/install.md names the bare machines where that was done",
    ("make",): "sets a machine up or works for minutes; its target is looked up, and what it starts is run here",
    ("hf",): "the Hub's own program, which asks for a token",
    ("sbatch",): "needs SLURM; tests/recipes/test_slurm.py runs the script with stand-ins for its programs",
    ("dailymae", "plan", "--recipe", "recipes/configs/demo.yaml", "--measure"): "times the machine for a minute; "
    "tests/cli/test_plan.py does it with a smaller recipe",
}


def why_left_out(words: tuple[str, ...]) -> str | None:
    """The reason for not running a command; None where it runs."""
    return next((reason for start, reason in LEFT_OUT.items() if words[: len(start)] == start), None)


def script_of(words: tuple[str, ...]) -> str | None:
    """The name of the script in recipes/ that a command starts, or whose run it is; None for any other command."""
    script = next((Path(w).stem for w in words if w.startswith("recipes/") and w.endswith(".py")), None)
    run = next((w.replace("-", "_") for w in words[:5] if w in RUNS), None)
    return script or run


def _way(words: tuple[str, ...]) -> str:
    """How a recipe is started: each script by itself, the command, and the package as a module of a launcher."""
    if words[0] == "dailymae":
        return "command"
    return "module" if "dailymae_hf" in words else str(script_of(words))


def really_run(printed: list[Printed]) -> list[Printed]:
    """The commands to run: all but those left out, and of each way to start a recipe the first with one of the demo."""
    chosen, started = [], set()
    for command in printed:
        if why_left_out(command.words) is not None:
            continue
        if script_of(command.words) is None:
            chosen.append(command)
        elif _way(command.words) not in started and any(word.endswith(("demo.yaml", "demo")) for word in command.words):
            started.add(_way(command.words))
            chosen.append(command)
    return chosen


def prepare(folder: Path) -> None:
    """What the pages take as given: photographs, as folders, as a list, as parquet and as a shard; the checkout."""
    from scripts.demo_photographs import cut_tiles

    cut_tiles(folder / "photographs", {"train": 3, "validation": 2})
    paths = sorted((folder / "photographs/train").glob("*/*.jpg"))
    rows = [f"{path.relative_to(folder)},{path.parent.name}\n" for path in paths]
    (folder / "labels.csv").write_text("path,label\n" + "".join(rows))
    _as_parquet(paths, folder / "data")
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards/train-000000.tar", "w") as tar:
        for path in paths:
            tar.add(path, f"{path.stem}.jpg")
    (folder / "ILSVRC").mkdir()
    for name, target in (("ILSVRC/train", "train"), ("ILSVRC/val", "validation")):
        (folder / name).symlink_to(folder / "photographs" / target)
    for name in ("recipes", "scripts", "accelerate_config.yaml", "accelerate_configs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "outputs/demo").mkdir(parents=True)
    (folder / "outputs/demo/photographs").symlink_to(folder / "photographs")


def _as_parquet(paths: list[Path], folder: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pyarrow.table({"image": images, "label": [path.parent.name for path in paths]})
    for split in ("train", "validation"):
        parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")


class Newcomer:
    """A folder, and the printed commands run in it in the order of the pages; those that make the demo's files first.

    Each runs once, when it is first asked for, after all before it.
    """

    def __init__(self, folder: Path, hub: Any) -> None:
        self.folder, self.hub = folder, hub
        self.done: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = {}
        printed = [command.words for command in really_run(commands())]
        self.given = [
            ("dailymae", "write", f"outputs/demo/photographs/{split}", f"outputs/demo/{split}.beton")
            for split in ("train", "validation")
        ]
        mosaics = [words for words in printed if "scripts.demo_mosaics" in words]
        self._waiting = [*self.given, *mosaics, *(words for words in printed if words not in mosaics)]
        prepare(folder)

    def run(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """The process of a printed command, ended."""
        while words not in self.done:
            self._run_next()
        return self.done[words]

    def need(self, *names: str) -> None:
        """Run commands until these files are in the folder."""
        while not all((self.folder / name).exists() for name in names):
            self._run_next()

    def _run_next(self) -> None:
        words = self._waiting.pop(0)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if "push" in words:
            environment |= self.hub.environment(self.folder / "home", token=self.hub.token)
        self.done[words] = subprocess.run(
            _as_process(words, self.hub.user),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=580,
        )


def _as_process(words: tuple[str, ...], user: str) -> list[str]:
    """The command for this interpreter and the Hub's user, made small where it runs a recipe."""
    program, *rest = (word.replace("USER/NAME", f"{user}/name") for word in words)
    interpreter = Path(sys.executable)
    started = {
        "python": [str(interpreter)],
        "dailymae": [str(interpreter), "-m", "dailymae_hf"],
        "accelerate": [str(interpreter.with_name("accelerate"))],
        "mkdir": ["mkdir"],
    }
    script = script_of(words)
    if script is None:
        return [*started[program], *rest]
    device = () if "accelerate_configs/cpu_ranks.yaml" in words else _ON_THE_CPU
    return [*started[program], *rest, *_NO_TRACKER, *device, *_SMALL[script]]
