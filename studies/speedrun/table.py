"""The entries' table, picture and files, from the runs of `studies/questions/speedrun.yaml`.

The arms are the entries in their order; the first is the faithful recipe, which sets the target. An entry that meets
the rules is a record; the others stay in the table.
"""

import argparse
import datetime
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studies.report import RESULTS, Arm, collect
from studies.runner import Results
from studies.significance import Estimate, estimate, reaches
from studies.study import HERE, Study

FOLDER = HERE / "speedrun"
# The faithful recipe run again for its time: apart, so that the pages of the studies keep the runs that they name.
CLOCK = HERE / "results" / "speedrun_clock.jsonl"


@dataclass(frozen=True)
class Record:
    """One row: scores and times with intervals, and whether the rules are met."""

    name: str
    linear: Estimate
    seconds: Estimate
    images: int
    p: float | None  # that the mean score is not above the target; None for the faithful recipe and single seeds
    speed_up: Estimate  # over the faithful recipe, seed by seed
    began: datetime.datetime  # the first run's
    is_faster: bool  # than the record before, beside which it was timed

    @property
    def stands(self) -> bool:
        """Whether the target is reached by the rules, in less time than before."""
        return self.p is not None and self.p < 0.01 and self.is_faster


def records(arms: Sequence[Arm]) -> list[Record]:
    """A row for every arm that has a run."""
    faithful, *_ = arms
    target = estimate(list(faithful.values("linear").values())).mean
    rows: list[Record] = []
    best = faithful
    for arm in arms:
        scores = arm.values("linear")
        if not scores:
            continue
        row = Record(
            name=arm.name,
            linear=estimate(list(scores.values())),
            seconds=estimate([seconds_of(line) for line in timed(arm)]),
            images=next(iter(arm.lines.values()))["images"],
            p=None if arm is faithful else reaches(list(scores.values()), target),
            speed_up=estimate(ratios(faithful, arm)),
            began=min(datetime.datetime.fromisoformat(line["date"]) for line in arm.lines.values()),
            is_faster=estimate(ratios(best, arm)).mean > 1,
        )
        best = arm if row.stands else best
        rows.append(row)
    return rows


def seconds_of(line: dict[str, Any]) -> float:
    """The clock's seconds of a run. An older line has those to the process's end, some two seconds more."""
    return float(line.get("training_seconds") or line["processor_seconds"])


def timed(arm: Arm) -> list[dict[str, Any]]:
    """The runs that the clock was made for, all of them where there is none."""
    return [line for line in arm.lines.values() if line.get("training_seconds")] or list(arm.lines.values())


def ratios(slower: Arm, faster: Arm) -> list[float]:
    """How many times less one took than the other, by seed, over the seeds that both were timed with."""
    pairs = [(slower.lines[seed], faster.lines[seed]) for seed in sorted(slower.lines.keys() & faster.lines.keys())]
    alike = [pair for pair in pairs if all(line.get("training_seconds") for line in pair)]
    if alike:
        return [a["training_seconds"] / b["training_seconds"] for a, b in alike]
    return [a["processor_seconds"] / b["processor_seconds"] for a, b in pairs]


def markdown(rows: Sequence[Record]) -> str:
    """The table of the entries; a record is one that meets the rules."""
    lines = [
        "| | recipe | seeds | linear, % | p (above target) | images | processor seconds | times faster | record |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        p = "target" if number == 0 else "one seed" if row.p is None else f"{row.p:.2g}"
        standing = "baseline" if number == 0 else f"yes, {row.began:%Y-%m-%d}" if row.stands else "no"
        lines.append(
            f"| {number} | {row.name} | {row.linear.count} | {_written(row.linear, 2)} | {p} | {row.images:,} | "
            f"{_written(row.seconds, 1)} | {_written(row.speed_up, 2)} | {standing} |"
        )
    return "\n".join(lines)


def _written(value: Estimate, digits: int) -> str:
    if math.isnan(value.mean):
        return "-"
    return f"{value.mean:.{digits}f}" + ("" if value.half_width is None else f" ± {value.half_width:.{digits}f}")


def draw(rows: Sequence[Record], path: Path) -> None:
    """Seconds of the entries in their order: records filled and joined, the others hollow."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    standing = [(number, row) for number, row in enumerate(rows) if number == 0 or row.stands]
    # A record holds until the next one.
    numbers = [*(number for number, _ in standing), len(rows) - 0.5]
    seconds = [row.seconds.mean for _, row in standing]
    axes.step(numbers, [*seconds, seconds[-1]], where="post", color="C0", alpha=0.5)
    for number, row in enumerate(rows):
        filled = number == 0 or row.stands
        axes.errorbar(
            number,
            row.seconds.mean,
            yerr=row.seconds.half_width,
            fmt="o",
            color="C0",
            markerfacecolor="C0" if filled else "white",
            capsize=3,
        )
        above = row.seconds.mean + (row.seconds.half_width or 0)
        told = f"{row.seconds.mean:.0f} s\n{row.linear.mean:.1f} %"
        axes.annotate(told, (number, above), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set_ylim(0, 1.25 * max(row.seconds.mean + (row.seconds.half_width or 0) for row in rows))
    axes.set_xticks(
        range(len(rows)), [f"{number}\n{row.began:%d %b %Y}" for number, row in enumerate(rows)], fontsize=8
    )
    axes.set_ylabel("processor seconds of training")
    axes.set_xlabel("entry and the day of its first run (filled: baseline and records)")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def keep_evidence(study: Study, arms: Sequence[Arm], runs: Path) -> None:
    """Recipe, results and, where the run's folder is still there, the log of every arm, in `records/`."""
    recipes = {run.arm: run.recipe for run in study.runs()}
    for number, arm in enumerate(arms):
        if not arm.lines:
            continue
        folder = FOLDER / "records" / f"{number:02d}-{arm.name.replace(' ', '-').replace(',', '')}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipes[arm.name], sort_keys=False))
        (folder / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for _, line in sorted(arm.lines.items())))
        seed = min(arm.lines)
        for log in sorted(runs.glob(f"*/{arm.lines[seed]['arm']}-{seed}/model/log.jsonl"))[-1:]:
            shutil.copy(log, folder / f"log-seed-{seed}.jsonl")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `records/`, `results/speedrun.md` and `results/speedrun.png`; print the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.speedrun.table", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path("outputs/studies"), help="of the runs, for their logs")
    options = parser.parse_args(arguments)
    study = Study.load("speedrun")
    arms = list(collect(study, [*Results(options.results).lines(), *Results(CLOCK).lines()]).values())
    rows = records(arms)
    text = markdown(rows)
    (HERE / "results" / "speedrun.md").write_text(f"# The speedrun's entries\n\n{text}\n")
    draw(rows, HERE / "results" / "speedrun.png")
    keep_evidence(study, arms, options.folder)
    print(text)


if __name__ == "__main__":
    main()
