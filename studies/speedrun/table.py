"""The entries' table, picture and files, from the runs of `studies/questions/speedrun.yaml`.

The arms are the entries in their order; the first is the faithful recipe, which sets the target. An entry that meets
the rules is a record; the others stay in the table.
"""

import argparse
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from studies.report import RESULTS, Arm, collect
from studies.runner import Results
from studies.significance import Estimate, estimate, reaches
from studies.study import HERE, Study

FOLDER = HERE / "speedrun"


@dataclass(frozen=True)
class Record:
    """One row: scores and times with intervals, and whether the rules are met."""

    name: str
    linear: Estimate
    seconds: Estimate
    images: int
    p: float | None  # that the mean score is not above the target; None for the faithful recipe and single seeds
    speed_up: Estimate  # over the faithful recipe, seed by seed
    date: str

    @property
    def stands(self) -> bool:
        """Whether the target is reached by the rules."""
        return self.p is not None and self.p < 0.01


def records(arms: Sequence[Arm]) -> list[Record]:
    """A row for every arm that has a run."""
    faithful, *_ = arms
    target = estimate(list(faithful.values("linear").values())).mean
    rows = []
    for arm in arms:
        scores, seconds = arm.values("linear"), arm.values("processor_seconds")
        if not scores:
            continue
        beside = faithful.values("processor_seconds")
        ratios = [beside[seed] / seconds[seed] for seed in sorted(seconds.keys() & beside.keys())]
        rows.append(
            Record(
                name=arm.name,
                linear=estimate(list(scores.values())),
                seconds=estimate(list(seconds.values())),
                images=next(iter(arm.lines.values()))["images"],
                p=None if arm is faithful else reaches(list(scores.values()), target),
                speed_up=estimate(ratios),
                date=min(line["date"] for line in arm.lines.values())[:10],
            )
        )
    return rows


def markdown(rows: Sequence[Record]) -> str:
    """The table of the entries; a record is one that meets the rules."""
    lines = [
        "| | recipe | seeds | linear, % | p (above target) | images | processor seconds | times faster | record |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        p = "target" if number == 0 else "one seed" if row.p is None else f"{row.p:.2g}"
        standing = "baseline" if number == 0 else f"yes, {row.date}" if row.stands else "no"
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
    """Seconds of each record, filled where the rules are met."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.5 * len(rows)), layout="constrained")
    for number, row in enumerate(rows):
        filled = number == 0 or row.stands
        axes.barh(
            number,
            row.seconds.mean,
            xerr=row.seconds.half_width,
            color="C0" if filled else "white",
            edgecolor="C0",
            capsize=3,
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("processor seconds (filled: baseline and records)")
    axes.grid(axis="x", alpha=0.3)
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
    arms = list(collect(study, Results(options.results).lines()).values())
    rows = records(arms)
    text = markdown(rows)
    (HERE / "results" / "speedrun.md").write_text(f"# The speedrun's entries\n\n{text}\n")
    draw(rows, HERE / "results" / "speedrun.png")
    keep_evidence(study, arms, options.folder)
    print(text)


if __name__ == "__main__":
    main()
