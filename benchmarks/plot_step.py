"""Draw a results file of bench_step.py: images per second of each contender, a panel per precision and mode.

python benchmarks/plot_step.py benchmarks/results/step.json docs/images/step.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {"ours": "#1b6ca8", "stock": "#d98c3f", "plain torch": "#8f8f8f"}


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text())
    panels = result["results"]
    shares = {"width_ratios": [1 + len(table) for table in panels.values()]}
    figure, row = plt.subplots(
        1, len(panels), figsize=(12, 3.6), layout="constrained", squeeze=False, gridspec_kw=shares
    )
    for axes, (title, table) in zip(row[0], panels.items(), strict=True):
        names = [name for name in COLORS if name in next(iter(table.values()))]
        width = 0.8 / len(names)
        for i, name in enumerate(names):
            x = [position + (i - (len(names) - 1) / 2) * width for position in range(len(table))]
            cells = [entry[name] for entry in table.values()]
            speeds = [cell["images_per_second"] for cell in cells]
            spread = [[s - c["lowest"] for s, c in zip(speeds, cells, strict=True)]]
            spread.append([c["highest"] - s for s, c in zip(speeds, cells, strict=True)])
            axes.bar(x, speeds, width * 0.92, yerr=spread, label=name, color=COLORS[name], ecolor="#00000055")
            for position, speed, cell in zip(x, speeds, cells, strict=True):
                if "ours_is_faster_by" in cell:
                    label = f"{1 / cell['ours_is_faster_by']:.2f}"
                    axes.text(position, speed / 2, label, ha="center", va="center", fontsize=7, color="white")
        axes.set_xticks(range(len(table)), [f"{resolution} px" for resolution in table])
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    row[0][0].set_ylabel("images per second")
    figure.legend(
        *row[0][0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=3, loc="outside lower center"
    )
    figure.suptitle(
        f"ViT-MAE {result['size']}, batch {result['batch']}, {result['device']}; in the bars: speed over ours",
        fontsize=9,
    )
    figure.savefig(sys.argv[2], dpi=130)


if __name__ == "__main__":
    main()
