"""What the tries of a fault came to, and the table of it."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_ABOVE = re.compile(r"/\S+/(?=recipes/|error\.json)")
GOOD = ("survived", "refused in one line", "stopped as asked")


@dataclass(frozen=True)
class Try:
    """One injected fault. `verdict` is one of `GOOD`, or "lost", "hung", "silent", "traceback" or another complaint;
    `lost` are optimizer steps to be done again, `seconds` until the run had ended, None where it went on."""

    fault: str
    verdict: str
    detail: str = ""
    lost: int | None = None
    seconds: float | None = None


def table(tries: Sequence[Try], not_run: Sequence[tuple[str, str]]) -> str:
    """A row a fault, as Markdown."""
    lines = [
        "| fault | tries | outcome | steps lost, at most | seconds until the end: median, most |",
        "|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(one.fault for one in tries):
        own = [one for one in tries if one.fault == fault]
        outcomes = ", ".join(
            f"{sum(one.verdict == verdict for one in own)} {verdict}"
            for verdict in dict.fromkeys(o.verdict for o in own)
        )
        lost = [one.lost for one in own if one.lost is not None]
        seconds = [one.seconds for one in own if one.seconds is not None]
        times = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}" if seconds else ""
        lines.append(f"| {fault} | {len(own)} | {outcomes} | {max(lost) if lost else ''} | {times} |")
    lines += [f"| {fault} | 0 | not run: {why} | | |" for fault, why in not_run]
    return "\n".join(lines) + "\n"


def to_json(tries: Sequence[Try]) -> list[dict[str, Any]]:
    """Ready for JSON; of paths of the machine that was measured on the last parts are left."""
    return [asdict(one) | {"detail": _ABOVE.sub("", one.detail)} for one in tries]
