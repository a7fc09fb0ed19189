"""The results as one Markdown page: tables that are read off gpu.json, nothing computed anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write(out: Path, results: dict[str, Any]) -> Path:
    path = out / "gpu.md"
    path.write_text("\n".join(lines(results)) + "\n")
    return path


def lines(results: dict[str, Any]) -> Iterator[str]:
    devices = sorted({answer["device"] for answer in results.values()})
    yield f"# Measured on {', '.join(devices) or 'nothing yet'}"
    for answer in list(results.values())[:1]:
        facts = answer["environment"]
        yield ""
        yield f"Python {facts['python']}, torch {facts['torch']}, transformers {facts['transformers']}, ffcv " + (
            f"{facts['ffcv']}, {facts['cores']} cores, commit {facts['commit']}, {facts['date']}."
        )
    done = {name: answer["result"] for name, answer in results.items() if answer["status"] == "done"}
    yield from _correctness({name: result for name, result in done.items() if name.startswith("correctness")})
    yield from _steps({name: result for name, result in done.items() if name.startswith("step")})
    for title, start in (("Training with the loader", "training"), ("The loader alone", "loader")):
        yield from _values(title, {name: result for name, result in done.items() if name.startswith(start)})
    for title, start in (("Where a step's time goes", "profile"), ("Real training", "real")):
        yield from _values(title, {name: result for name, result in done.items() if name.startswith(start)})
    rest = {name: answer for name, answer in results.items() if answer["status"] != "done"}
    if rest:
        yield from ("", "## Without a result", "")
        for name, answer in rest.items():
            reason = answer.get("error") or answer.get("result", {}).get("skipped", "")
            yield f"- {name}: {answer['status']}, {(reason.strip().splitlines() or [''])[-1]}"


def _correctness(results: dict[str, Any]) -> Iterator[str]:
    if not results:
        return
    yield from ("", "## Correctness", "", "| check | passed | found |", "|---|---|---|")
    for name, result in results.items():
        found = ", ".join(f"{key} {value}" for key, value in result.items() if key != "passed")
        yield f"| {name.partition(': ')[2]} | {'yes' if result['passed'] else '**no**'} | {found} |"


def _steps(results: dict[str, Any]) -> Iterator[str]:
    if not results:
        return
    yield from ("", "## The step alone", "", "| setting | contender | images/s | MFU | peak MiB | ours is faster by |")
    yield "|---|---|---|---|---|---|"
    for name, result in results.items():
        for resolution, row in result["resolutions"].items():
            setting = f"{name.partition(': ')[2].rpartition(',')[0]}, {resolution} px, batch {result['batch']}"
            for contender, figures in row.items():
                if isinstance(figures, dict):
                    faster = figures.get("ours_is_faster_by", "")
                    yield f"| {setting} | {contender} | {figures['images_per_second']:,.0f} | {figures['mfu']} | " + (
                        f"{figures['peak_memory_mib'] or ''} | {faster} |"
                    )


def _values(title: str, results: dict[str, Any]) -> Iterator[str]:
    if not results:
        return
    yield from ("", f"## {title}")
    for name, result in results.items():
        yield from ("", f"**{name}**", "")
        for key, value in result.items():
            if isinstance(value, dict):
                shown = "; ".join(f"{inner}: {_short(v)}" for inner, v in value.items())
            else:
                shown = _short(value)
            yield f"- {key.replace('_', ' ')}: {shown}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
