"""Runs that begin from a process which has imported everything: what 200 kills cost is then the runs, not the imports.

A forked run does all that a started one does, after the imports. `python warm.py ENGINE` reads requests as JSON lines.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.workplace import ROOT


class Warm:
    """Starts runs in processes forked from a warm one, which has imported `engine` as well."""

    def __init__(self, engine: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "faults.warm", engine],
            cwd=ROOT / "benchmarks",
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, words: Sequence[str], folder: Path, said: Path, environment: Mapping[str, str]) -> int:
        """Start `words` (a script and its arguments) in `folder`, its output added to `said`: the process number."""
        request = {"words": list(words), "folder": str(folder), "said": str(said), "environment": dict(environment)}
        return int(self._ask(request)["pid"])

    def poll(self, number: int) -> int | None:
        """The exit status of a process as a shell gives it, None while it runs."""
        status = self._ask({"poll": number})["status"]
        return None if status is None else int(status)

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


def serve() -> dict[str, Any] | None:
    """Answer requests; in a forked process, return its request."""
    status: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            number = request["poll"]
            if number not in status:
                done, code = os.waitpid(number, os.WNOHANG)
                if done:
                    status[number] = os.waitstatus_to_exitcode(code)
            print(json.dumps({"status": status.get(number)}), flush=True)
            continue
        number = os.fork()
        if number == 0:
            return dict(request)
        print(json.dumps({"pid": number}), flush=True)
    return None


def become(request: Mapping[str, Any]) -> None:
    """Turn this process into the one that was asked for."""
    os.setpgid(0, 0)  # a group to be killed, within the session that started all
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.argv = request["words"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    import matplotlib.figure  # noqa: F401

    import dailymae_hf.data.loader
    import dailymae_hf.hub.card
    import dailymae_hf.recipe.build
    import dailymae_hf.training.mae_trainer

    if sys.argv[1] == "ffcv":
        import dailymae_hf.data.engines.ffcv  # noqa: F401
    asked = serve()
    if asked is not None:
        become(asked)
