"""kill -9 at random moments, half of them inside a save: chains of runs that are killed, continued, killed again.

A chain ends with a run that is let through; its weights must be those of a run that nobody disturbed, bit for bit.
"""

import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.outcomes import Try
from faults.warm import Warm
from faults.workplace import FAULTY, SAVE_STEPS, Workplace, last_step, newest_step, weights

_CHAIN = 8
_PATIENCE = 240.0


class Chains:
    """Kills of runs of `ranks` processes with one engine."""

    def __init__(self, place: Workplace, warm: Warm, ranks: int, engine: str, rng: random.Random) -> None:
        self.place, self.warm, self.ranks, self.rng = place, warm, ranks, rng
        self.words = ["--per_device_train_batch_size", str(4 // ranks)]
        self.environment = {"FAULT": f"engine:{engine}"}
        name = f"{ranks}-{engine}"
        self.fault = f"kill -9, {ranks} rank{'s' if ranks > 1 else ''}, {engine} engine"
        self.reference, self.out = f"reference-{name}", place.folder / f"killed-{name}"
        self.seconds = 0.0  # that an undisturbed run takes

    def run(self, kills: int) -> Iterator[Try]:
        start = time.monotonic()
        shutil.rmtree(self.place.folder / self.reference, ignore_errors=True)
        if self._wait(self._start(self.reference), None) != 0:
            yield Try(self.fault, "the undisturbed run failed", self._said(self.reference))
            return
        self.seconds = time.monotonic() - start
        expected = weights(self.place.folder / self.reference)
        while kills > 0:
            shutil.rmtree(self.out, ignore_errors=True)
            tries = []
            for _ in range(min(_CHAIN, kills)):
                one, ended = self._kill()
                tries.append(one)
                if ended:
                    break
            kills -= len(tries)
            if not all(one.verdict == "survived" for one in tries):
                yield from tries
                continue
            status = self._wait(self._start(self.out.name), None)
            if status != 0:
                yield from (Try(self.fault, "lost", self._said(self.out.name)) for _ in tries)
            elif weights(self.out) != expected:
                yield from (Try(self.fault, "silent", "ended with other weights") for _ in tries)
            else:
                yield from tries

    def _kill(self) -> tuple[Try, bool]:
        """One kill, and whether the run had ended by itself before it."""
        numbers = self._start(self.out.name)
        inside_save = self.rng.random() < 0.5
        if inside_save:
            seen = self._wait(numbers, lambda: any(self.out.glob("_partial-*"))) is None
            time.sleep(self.rng.random() * 0.05)
        else:
            moment = time.monotonic() + self.rng.random() * self.seconds
            seen = self._wait(numbers, lambda: time.monotonic() > moment) is None
        for number in numbers:
            if self.warm.poll(number) is None:
                os.killpg(number, signal.SIGKILL)
        self._wait(numbers, None)
        if not seen:
            said = self._said(self.out.name)
            verdict = "survived" if "Error" not in said else "traceback" if "Traceback" in said else "refused"
            return Try(self.fault, verdict, said, 0), True
        lost = last_step(self.out) - newest_step(self.out)
        verdict = "survived" if lost <= 2 * SAVE_STEPS else "lost"  # one interval, and that of a save under way
        return Try(self.fault, verdict, "in a save" if inside_save else "anywhere", max(lost, 0)), False

    def _start(self, out: str) -> list[int]:
        words = [FAULTY, "recipe.yaml", "--output_dir", out, "--resume_from_checkpoint", "auto", *self.words]
        self._log(out).unlink(missing_ok=True)
        if self.ranks == 1:
            return [self.warm.start(words, self.place.folder, self._log(out), self.environment)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(self.ranks)}
        shared |= {"LOCAL_WORLD_SIZE": str(self.ranks), **self.environment}
        return [
            self.warm.start(words, self.place.folder, self._log(out), shared | {"RANK": str(n), "LOCAL_RANK": str(n)})
            for n in range(self.ranks)
        ]

    def _wait(self, numbers: list[int], condition: Callable[[], bool] | None) -> int | None:
        """Wait until `condition` holds (then None) or all have ended (then the largest status)."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if condition is not None and condition():
                return None
            statuses = [self.warm.poll(number) for number in numbers]
            known = [status for status in statuses if status is not None]
            if len(known) == len(numbers):
                return max(known, key=abs)
            time.sleep(0.005)
        for number in numbers:
            if self.warm.poll(number) is None:
                os.killpg(number, signal.SIGKILL)
        return -1

    def _log(self, out: str) -> Path:
        return self.place.folder / f"said-{out}.txt"

    def _said(self, out: str) -> str:
        return self._log(out).read_text(errors="replace").strip()[-300:]
