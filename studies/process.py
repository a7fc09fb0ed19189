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

    `start_seconds` is what it took until its log appeared (imports, the model's initial weights), `None` where no log
    ever did; `processor_seconds` what it took from there to its end.
    """

    returncode: int
    start_seconds: float | None
    processor_seconds: float
    wall_seconds: float
    last_line: str


def run_command(command: list[str], output: Path, log: Path | None = None) -> Finished:
    """Run a command of this checkout with one thread; what it prints goes to `output`.

    Args:
        command: arguments after the interpreter.
        output: the file to print to.
        log: the file whose appearance marks the start of training; the clock starts there.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before: float | None = None
    began = time.monotonic()
    with open(output, "w") as file:
        process = psutil.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        while log is not None and before is None and process.poll() is None:
            if log.exists():
                times = process.cpu_times()
                before = times.user + times.system
            time.sleep(_POLL)
        if process.returncode is None:
            _, status, usage = os.wait4(process.pid, 0)
            returncode = process.returncode = os.waitstatus_to_exitcode(status)
            used = usage.ru_utime + usage.ru_stime
        else:  # it failed before it began
            returncode, used = process.returncode, 0.0
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    return Finished(returncode, before, used - (before or 0.0), time.monotonic() - began, last)
