"""Training curves of a study's runs, from their logs: `python -m studies.curves NAME --folder outputs/studies`.

Losses are comparable where arms have the same masks, targets and sizes. The logs lie beside the checkpoints, which are
not kept; `results/NAME-curves.json` holds what the picture `results/NAME-curves.png` shows.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from studies.report import RESULTS, collect
from studies.runner import Results
from studies.study import Study

Curves = dict[str, dict[int, list[tuple[int, float]]]]


def curves(study: Study, results: Results, folder: Path) -> Curves:
    """(step, training loss) by arm and seed, of runs whose log is still there."""
    found: Curves = {}
    for name, arm in collect(study, results.lines()).items():
        for seed, line in sorted(arm.lines.items()):
            for log in sorted(folder.glob(f"*/{line['arm']}-{seed}/model/log.jsonl"))[-1:]:
                rows = [json.loads(row) for row in log.read_text().splitlines()]
                points = [(row["step"], round(row["loss"], 4)) for row in rows if row.get("loss") is not None]
                found.setdefault(name, {})[seed] = points
    return found


def draw(found: Curves, path: Path) -> None:
    """One line a run, one colour an arm."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, (name, runs) in enumerate(found.items()):
        for order, points in enumerate(runs.values()):
            label = f"{name} ({len(runs)} seeds)" if order == 0 else None
            axes.plot(*zip(*points, strict=True), color=f"C{number}", alpha=0.6, linewidth=1, label=label)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("training loss, normalised pixels")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the numbers and the picture."""
    parser = argparse.ArgumentParser(prog="python -m studies.curves", description=str(__doc__).partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path("outputs/studies"), help="of the runs")
    options = parser.parse_args(arguments)
    study = Study.load(options.study)
    found = {
        name: runs
        for name, runs in curves(study, Results(options.results), options.folder).items()
        if any(len(points) > 1 for points in runs.values())
    }
    beside = options.results.parent / f"{study.name}-curves"
    beside.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, beside.with_suffix(".png"))


if __name__ == "__main__":
    main()
