"""One command on one thread, with the processor time it took before and after its training began."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
_POLL = 0.05  # seconds


@dataclass(frozen=True)
class Finished:
    """A command that ended. Processor seconds are user and system time of the process and its children.

    `start_seconds` is what it took until its log appeared (imports, the model's initial weights), `training_seconds`
    what it took from there until it began to write its model, both `None` where that never came; `processor_seconds`
    what it took from the log to its end.
    """

    returncode: int
    start_seconds: float | None
    training_seconds: float | None
    processor_seconds: float
    wall_seconds: float
    last_line: str


def run_command(
    command: list[str], output: Path, log: Path | None = None, model_config: Path | None = None
) -> Finished:
    """Run a command of this checkout with one thread; what it prints goes to `output`.

    Args:
        command: arguments after the interpreter.
        output: the file to print to.
        log: the file whose appearance marks the start of training; the clock starts there.
        model_config: the file whose appearance marks its end, the first one of the model that is written.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    marks = [file for file in (log, model_config) if file is not None]
    reached: list[float] = []
    began = time.monotonic()
    with open(output, "w") as file:
        process = psutil.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        while True:
            waiting = len(reached) < len(marks)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG if waiting else 0)
            if pid:
                break
            if marks[len(reached)].exists():
                times = process.cpu_times()
                reached.append(times.user + times.system)
            else:
                time.sleep(_POLL)
    process.returncode = os.waitstatus_to_exitcode(status)
    used = usage.ru_utime + usage.ru_stime
    before, until = (*reached, None, None)[:2]
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return Finished(
        returncode=process.returncode,
        start_seconds=before,
        training_seconds=None if before is None or until is None else until - before,
        processor_seconds=used - (before or 0.0),
        wall_seconds=time.monotonic() - began,
        last_line=lines[-1].strip() if lines else "",
    )
