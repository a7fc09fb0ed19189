"""Faults injected into real runs, and what they came to: `make faults` writes the table of docs/reliability.md.

    python benchmarks/fault_bench.py --out benchmarks/results/faults.json --page docs/reliability.md
    python benchmarks/fault_bench.py --only kills --kills 200 --record benchmarks/results/kills.json    # goes on there

Each try starts the recipe's script as a user does (kills start it from a process that has done the imports), breaks
something, and looks at what is left. Nothing is judged good but a run that goes on to the same weights, one that stops
as it was asked, or one that is refused in one line that names what to mend.
"""

import argparse
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from environment import environment
from faults import ends, files
from faults.kills import CHAIN, Chains, Kind, Record, tries_of
from faults.outcomes import GOOD, Try, table, to_json
from faults.warm import Warm
from faults.workplace import Workplace

_BEGIN, _END = "<!-- faults: written by benchmarks/fault_bench.py -->\n", "<!-- end of faults -->\n"


def kills(place: Workplace, count: int, seed: int, record: Record, patience: float) -> Iterator[Try]:
    """Kills until there are `count`: a chain of each kind of runs in turn, of the native engine three for one of ffcv,
    whose compiling makes a start three times as long."""
    kinds = [Kind(ranks, engine) for ranks in (1, 2) for engine in installed_engines()]
    shares = {kind: 3 if kind.engine == "native" else 1 for kind in kinds}
    warm: dict[str, Warm] = {}
    chains: dict[Kind, Chains] = {}
    try:
        while (left := count - sum(record.kills(kind) for kind in kinds)) > 0:
            kind = min(kinds, key=lambda kind: record.kills(kind) / shares[kind])
            if kind not in chains:
                warm[kind.engine] = warm.get(kind.engine) or Warm(kind.engine)
                chains[kind] = Chains(place, warm[kind.engine], kind, record, seed=seed, patience=patience)
            before = record.kills(kind)
            yield from chains[kind].run(before + min(CHAIN, left))
            if record.kills(kind) == before:
                return
    finally:
        for server in warm.values():
            server.close()


def installed_engines() -> list[str]:
    """The engines that can be tried here."""
    return ["native", *(["ffcv"] if find_spec("ffcv") else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds: dict[str, Callable[[Workplace, int], Iterator[Try]]] = {
        "signals": ends.signals,
        "divergence": ends.divergence,
        "ranks": ends.ranks,
        "damage": files.damage,
        "disks": files.disks,
        "folders": files.folders,
        "data": files.data,
    }
    parser.add_argument("--only", nargs="+", choices=["kills", *kinds], help="these kinds of faults (default: all)")
    parser.add_argument("--kills", type=int, default=40, help="kills in all (default: 40)")
    parser.add_argument("--tries", type=int, default=1, help="tries of every other fault (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--record", type=Path, help="a JSON file that keeps the kills; a later start goes on with it")
    parser.add_argument("--patience", type=float, default=240, help="seconds until a run counts as hung (default: 240)")
    parser.add_argument("--out", type=Path, help="a JSON file for every try")
    parser.add_argument("--page", type=Path, help="a Markdown page whose table is written anew")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    given = parser.parse_args()
    # Background jobs of a shell begin with SIGINT ignored, and so would the runs whose Ctrl-C is tried.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    place = Workplace(folder)
    record = Record(given.record)
    tries: list[Try] = []
    not_run: list[tuple[str, str]] = []
    start = time.monotonic()
    wanted = given.only or ["kills", *kinds]
    not_run += [(kind, "left out by --only") for kind in ("kills", *kinds) if kind not in wanted]
    try:
        for kind in wanted:
            if kind == "disks" and not files.may_mount(place):
                not_run.append(("disks that are full, read-only, gone", "mounting needs root"))
                continue
            if kind == "kills":
                found = kills(place, given.kills, given.seed, record, given.patience)
            else:
                found = kinds[kind](place, given.tries)
            for one in found:
                if kind != "kills" or not record.chains:
                    tries.append(one)
                mark = "" if one.verdict in GOOD else f"   <-- {one.detail}"
                print(f"{time.monotonic() - start:6.0f} s  {one.fault}: {one.verdict}{mark}", flush=True)
    except KeyboardInterrupt:
        done = wanted.index(kind)
        not_run += [(name, "stopped by Ctrl-C") for name in wanted[done + 1 :]] + [
            (f"the rest of {kind}", "stopped by Ctrl-C")
        ]
    if not given.keep:
        shutil.rmtree(folder)
    tries = [*(one for chain in record.chains for one in tries_of(chain)), *tries]
    text = table(tries, not_run)
    print(text)
    if given.out:
        content = {**environment(), "seed": given.seed, "tries": to_json(tries), "not_run": not_run}
        given.out.write_text(json.dumps(content, indent=1) + "\n")
    if given.page:
        page = given.page.read_text()
        before, rest = page.split(_BEGIN)
        given.page.write_text(before + _BEGIN + "\n" + text + "\n" + _END + rest.partition(_END)[2])
    raise SystemExit(any(one.verdict not in GOOD for one in tries))


if __name__ == "__main__":
    main()
