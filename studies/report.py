"""Tables and pictures of studies, made from the results alone: `python -m studies.report NAME ...`."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studies.significance import (
    Difference,
    Estimate,
    deviation_interval,
    estimate,
    paired_difference,
    pooled_deviation,
    pooled_difference,
    pooled_half_width,
    seeds_needed,
)
from studies.study import HERE, Study, same

RESULTS = HERE / "results" / "tiny_imagenet_100.jsonl"


@dataclass
class Arm:
    """What the runs of one arm gave, by seed."""

    name: str
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    planned: int = 0

    def values(self, name: str) -> dict[int, float]:
        """A score in per cent (`rankme` and `processor_seconds` as they are) by seed."""
        if name == "processor_seconds":
            return {seed: line[name] for seed, line in self.lines.items()}
        factor = 1 if name == "rankme" else 100
        return {seed: factor * line["scores"][name] for seed, line in self.lines.items() if name in line["scores"]}


def collect(study: Study, lines: Sequence[dict[str, Any]]) -> dict[str, Arm]:
    """The study's arms, filled from the lines of its runs; the newest line of a run counts."""
    arms = {name: Arm(name) for name in study.arms}
    for run in study.runs():
        arm = arms[run.arm]
        arm.planned += 1
        found = [line for line in lines if same(run.key, line)]
        if found and "error" in found[-1]:
            arm.failures[run.seed] = found[-1]["error"]
        elif found:
            arm.lines[run.seed] = found[-1]
    return arms


def table(study: Study, arms: dict[str, Arm]) -> str:
    """A Markdown table: one row an arm, scores with 95 % intervals, differences to the reference in two ways: of the
    means, with the spread that all arms show together, and seed by seed."""
    scores = [name for name in SCORES if any(arm.values(name) for arm in arms.values())]
    minus = f"{SCORES[study.score]} - {study.reference}"
    heads = ["arm", "seeds", *(SCORES[name] for name in scores), minus, "p", "by seed", "p"]
    rows = [heads, ["---"] * len(heads)]
    of = {arm.name: arm.values(study.score) for arm in arms.values()}
    reference = of[study.reference]
    for arm in arms.values():
        cells = [estimate(list(arm.values(name).values())) for name in scores]
        others = [list(of[name].values()) for name in of if name not in (arm.name, study.reference)]
        pooled = pooled_difference(list(of[arm.name].values()), list(reference.values()), others)
        paired = paired_difference(of[arm.name], reference)
        differences = [text for found in (pooled, paired) for text in (_signed(found), _probability(found))]
        rows.append(
            [
                arm.name,
                _seeds(arm),
                *(_written(cell, 0 if name in WHOLE else 2) for name, cell in zip(scores, cells, strict=True)),
                *([""] * 4 if arm.name == study.reference else differences),
            ]
        )
    failed = [f"- {arm.name}, seed {seed}: {why}" for arm in arms.values() for seed, why in arm.failures.items()]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + (["", "Failed:", *failed] if failed else []))


SCORES = {
    "knn": "20-NN",
    "linear": "linear",
    "linear_10": "linear, 10 % of labels",
    "linear_1": "linear, 1 % of labels",
    "finetune": "fine-tuned",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "rankme": "RankMe",
    "processor_seconds": "processor seconds",
}
WHOLE = ("processor_seconds",)


def _seeds(arm: Arm) -> str:
    done = len(arm.lines)
    return str(done) if done == arm.planned else f"{done} of {arm.planned}"


def _written(value: Estimate, digits: int) -> str:
    if value.count == 0:
        return "-"
    text = f"{value.mean:.{digits}f}"
    return text if value.half_width is None else f"{text} ± {value.half_width:.{digits}f}"


def _signed(difference: Difference) -> str:
    value = difference.estimate
    if value.count == 0 or math.isnan(value.mean):
        return "-"
    return f"{value.mean:+.2f}" + ("" if value.half_width is None else f" ± {value.half_width:.2f}")


def _probability(difference: Difference) -> str:
    return "" if difference.p is None else f"{difference.p:.2g}"


def draw(study: Study, arms: dict[str, Arm], path: Path) -> None:
    """Each run's score over its processor seconds, one colour an arm; bars are intervals of the means with the spread
    of all arms together."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    every = [list(arm.values(study.score).values()) for arm in arms.values()]
    for number, arm in enumerate(arms.values()):
        seconds, scores = arm.values("processor_seconds"), arm.values(study.score)
        if not scores:
            continue
        seeds = sorted(scores)
        color = f"C{number}"
        axes.scatter(
            [seconds[s] for s in seeds], [scores[s] for s in seeds], s=22, alpha=0.7, color=color, label=arm.name
        )
        center, height = estimate(list(seconds.values())).mean, estimate(list(scores.values())).mean
        half_width = pooled_half_width(len(scores), every)
        axes.errorbar(center, height, yerr=half_width, fmt="_", color=color, markersize=14, capsize=4)
    axes.set_xlabel("processor seconds of training")
    axes.set_ylabel(f"{SCORES[study.score]}, %")
    axes.set_title(study.name)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def page(study: Study, arms: dict[str, Arm]) -> str:
    """Question, table, and how far its seeds lie apart."""
    images = {line["images"] for arm in arms.values() for line in arm.lines.values()}
    machines = {line["machine"] for arm in arms.values() for line in arm.lines.values()}
    commits = {str(line["commit"])[:7] for arm in arms.values() for line in arm.lines.values()}
    facts = [f"{', '.join(f'{count:,}' for count in sorted(images))} images seen", *sorted(machines)]
    facts.append(f"commits {', '.join(sorted(commits))}")
    parts = [f"# {study.name}", study.question, table(study, arms), spread(study, arms), study.answer.strip()]
    return "\n\n".join([part for part in parts if part] + [f"*{'; '.join(facts)}. {_HOW}*"]) + "\n"


_HOW = (
    "Scores are per cent; ± is a 95 % interval over seeds. Differences are of the means, with the spread of all arms "
    "together, then seed by seed over the seeds that both arms have; p-values are two-sided and not corrected for the "
    "number of arms. Bars in the picture are intervals of the means with the spread of all arms."
)


def spread(study: Study, arms: dict[str, Arm]) -> str:
    """The standard deviation over seeds, and how many seeds a difference of half a point takes by it."""
    values = [list(arm.values(study.score).values()) for arm in arms.values()]
    sigma, freedom = pooled_deviation(values)
    if not freedom or not sigma:
        return "One seed an arm: no interval."
    text = f"Sigma over seeds: {sigma:.2f} points, {freedom} degrees of freedom"
    if sum(len(arm) > 1 for arm in values) == 1:
        (only,) = (arm for arm in values if len(arm) > 1)
        text += ", 95 % interval {1:.2f} to {2:.2f}".format(*deviation_interval(only))
    needed = ", ".join(f"{size:g} points {seeds_needed(sigma, size)}" for size in (0.5, 1.0, 2.0))
    return f"{text}. Seeds an arm that find a difference four times in five at p < .05: {needed}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `NAME.md` and `NAME.png` beside the results and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m studies.report", description=__doc__)
    parser.add_argument("study", nargs="+")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args(arguments)
    from studies.runner import Results

    lines = Results(options.results).lines()
    for name in options.study:
        study = Study.load(name)
        arms = collect(study, lines)
        text = page(study, arms)
        (options.results.parent / f"{study.name}.md").write_text(text)
        draw(study, arms, options.results.parent / f"{study.name}.png")
        print(text)


if __name__ == "__main__":
    main()
