"""kill -9 at random moments, half of them inside a save: chains of runs that are killed, continued, killed again.

A chain ends with a run that is let through; its weights must be those of a run that nobody disturbed, bit for bit. A
chain is drawn from its seed, its kind and its number alone, and kept in a file when it is done: the next start goes on
with the chains that are missing.
"""

import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environment import environment
from faults.outcomes import Try
from faults.warm import Warm
from faults.workplace import FAULTY, Workplace, last_step, newest_step, weights

CHAIN = 8
_SAVE_STEPS, _SAVES = 5, 10
_RUNS = 1000  # no exit status
# Fifty steps and ten checkpoints: what a kill costs are a start's two seconds and half a run.
_SHORT = ["--num_train_epochs", "5", "--warmup_epochs", "1", "--probe_every_n_epochs", "5"]
_SHORT += ["--save_steps", str(_SAVE_STEPS), "--save_total_limit", "2"]


@dataclass(frozen=True)
class Kind:
    """Runs of so many ranks with one engine."""

    ranks: int
    engine: str

    def __str__(self) -> str:
        return f"{self.ranks} rank{'s' if self.ranks > 1 else ''}, {self.engine} engine"


class Record:
    """The chains done so far, in a JSON file that is written anew after each one; without a path in memory alone."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.chains: list[dict[str, Any]] = []
        self.about = environment()
        if path is not None and path.exists():
            self.chains = json.loads(path.read_text())["chains"]

    def add(self, chain: dict[str, Any]) -> None:
        self.chains.append(chain)
        if self.path is not None:
            draft = self.path.with_suffix(".part")
            lines = ",\n".join("  " + json.dumps(chain) for chain in self.chains)
            head = json.dumps({**self.about, "kills": sum(len(chain["kills"]) for chain in self.chains)}, indent=1)
            draft.write_text(head[:-2] + ',\n "chains": [\n' + lines + "\n ]\n}\n")
            draft.replace(self.path)

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [chain for chain in self.chains if (chain["ranks"], chain["engine"]) == (kind.ranks, kind.engine)]

    def kills(self, kind: Kind) -> int:
        return sum(len(chain["kills"]) for chain in self.of(kind))


def tries_of(chain: dict[str, Any]) -> Iterator[Try]:
    """A try a kill; whether it was survived shows in the end of its chain."""
    for kill in chain["kills"]:
        where = "inside a save" if kill["inside_save"] else "between saves"
        yield Try(
            f"kill -9 {where}, {Kind(chain['ranks'], chain['engine'])}", chain["verdict"], chain["detail"], kill["lost"]
        )


class Chains:
    """Kills of one kind of runs."""

    def __init__(self, place: Workplace, warm: Warm, kind: Kind, record: Record, *, seed: int, patience: float) -> None:
        self.place, self.warm, self.kind, self.record = place, warm, kind, record
        self.seed, self.patience = seed, patience
        self.words = [*_SHORT, "--per_device_train_batch_size", str(4 // kind.ranks)]
        name = f"{kind.ranks}-{kind.engine}"
        self.reference, self.out = place.folder / f"reference-{name}", place.folder / f"killed-{name}"
        self.expected = b""
        self.seconds = self.save_seconds = 0.0  # of an undisturbed run, and of one of its saves

    def run(self, kills: int) -> Iterator[Try]:
        """Add chains until there are so many kills of the kind; what came of each new one."""
        while (done := self.record.kills(self.kind)) < kills:
            if not self.expected and (failed := self._undisturbed()):
                yield Try(f"kill -9, {self.kind}", "the undisturbed run failed", failed)
                return
            chain = self._chain(len(self.record.of(self.kind)), min(CHAIN, kills - done))
            self.record.add(chain)
            yield from tries_of(chain)

    def _undisturbed(self) -> str:
        """The run that all others are compared with; by what it failed, else empty."""
        shutil.rmtree(self.reference, ignore_errors=True)
        start, saving = time.monotonic(), []
        status = self._wait(self._start(self.reference), lambda: saving.append(bool(_partials(self.reference))))
        if status != 0:
            return self._said(self.reference)
        self.seconds = time.monotonic() - start
        self.save_seconds = self.seconds * sum(saving) / len(saving) / _SAVES
        self.expected = weights(self.reference)
        return ""

    def _chain(self, number: int, kills: int) -> dict[str, Any]:
        draw = random.Random(f"{self.seed}/{self.kind}/{number}")
        shutil.rmtree(self.out, ignore_errors=True)
        found: list[dict[str, Any]] = []
        verdict, detail = "survived", ""
        while len(found) < kills and verdict == "survived":
            inside = 2 * sum(kill["inside_save"] for kill in found) <= len(found)
            status, kill = self._kill(draw, inside=inside)
            if status != _RUNS:  # it had ended before: no kill
                verdict, detail = self._judged(status)
                shutil.rmtree(self.out, ignore_errors=True)
                continue
            found.append(kill)
            if kill["lost"] > 2 * _SAVE_STEPS:  # one interval, and that of a save under way
                verdict, detail = "lost", f"{kill['lost']} steps"
        if verdict == "survived" and self.out.exists():
            verdict, detail = self._judged(self._wait(self._start(self.out), None))
        about = {**asdict(self.kind), "seed": self.seed, "chain": number, "commit": self.record.about["commit"]}
        return {**about, "verdict": verdict, "detail": detail, "kills": found}

    def _judged(self, status: int | None) -> tuple[str, str]:
        said = self._said(self.out)
        if status != 0:
            return ("hung" if status is None else "traceback" if "Traceback" in said else "lost"), said
        return ("survived", "") if weights(self.out) == self.expected else ("silent", "ended with other weights")

    def _kill(self, draw: random.Random, *, inside: bool) -> tuple[int | None, dict[str, Any]]:
        """Start the run and kill it; where it ended before, its status and nothing."""
        left, seen, wanted = _partials(self.out), set[str](), draw.randrange(1, 4)

        def saving() -> bool:
            """Whether this run writes a checkpoint; what the one before it had not finished is removed by it first."""
            now = _partials(self.out)
            left.intersection_update(now)
            seen.update(now - left)
            return bool(now - left)

        numbers = self._start(self.out)
        if inside:
            status = self._wait(numbers, lambda: saving() and len(seen) >= wanted)
            time.sleep(draw.random() * self.save_seconds)
            if status == _RUNS and not saving():  # it was shorter than that
                status = self._wait(numbers, saving)
        else:
            moment = time.monotonic() + draw.random() * self.seconds
            status = self._wait(numbers, lambda: time.monotonic() > moment)
        if status != _RUNS:
            return status, {}
        in_a_save = saving()
        for number in numbers:
            if self.warm.poll(number) is None:
                os.killpg(number, signal.SIGKILL)
        self._wait(numbers, None)
        step = last_step(self.out)
        return _RUNS, {"inside_save": in_a_save, "step": step, "lost": max(0, step - newest_step(self.out))}

    def _start(self, out: Path) -> list[int]:
        words = [FAULTY, "recipe.yaml", "--output_dir", out.name, "--resume_from_checkpoint", "auto", *self.words]
        self._log(out).unlink(missing_ok=True)
        shared = {"FAULT": f"engine:{self.kind.engine}"}
        if self.kind.ranks == 1:
            return [self.warm.start(words, self.place.folder, self._log(out), shared)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = str(self.kind.ranks)
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
        return [
            self.warm.start(words, self.place.folder, self._log(out), shared | {"RANK": str(n), "LOCAL_RANK": str(n)})
            for n in range(self.kind.ranks)
        ]

    def _wait(self, numbers: list[int], condition: Callable[[], object] | None) -> int | None:
        """Wait until `condition` holds (then `_RUNS`) or all have ended: the largest status, None where they hung."""
        deadline, looks = time.monotonic() + self.patience, 0
        while time.monotonic() < deadline:
            if condition is not None and condition():
                return _RUNS
            if looks % 10 == 0:  # the process that is asked for it takes time as well
                statuses = [self.warm.poll(number) for number in numbers]
                known = [status for status in statuses if status is not None]
                if len(known) == len(numbers):
                    return max(known, key=abs)
            looks += 1
            time.sleep(0.01)
        for number in numbers:
            if self.warm.poll(number) is None:
                os.killpg(number, signal.SIGKILL)
        return None

    def _log(self, out: Path) -> Path:
        return self.place.folder / f"said-{out.name}.txt"

    def _said(self, out: Path) -> str:
        return self._log(out).read_text(errors="replace").strip()[-300:]


def _partials(out: Path) -> set[str]:
    """Checkpoints that are being written, or brought to the disk and into their place."""
    return {path.name for path in out.glob("_partial-*")}
