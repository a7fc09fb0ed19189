"""Draw a results file of bench_loader.py as grouped bars.

python benchmarks/plot_loader.py benchmarks/results/loader.json docs/images/loader.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS = {"ours, dct": "#1b6ca8", "ours, jpg": "#4ea3d8", "ours, file of stock ffcv": "#9bcbe8"}
OTHERS = ("#d98c3f", "#e6b17a", "#8f8f8f", "#b3b3b3", "#6f9a6f", "#a6c3a6")
# In the results file; the picture stays readable without.
LEFT_OUT = ("ours, dct, plain C", "ours, dct, 128-bit vectors", "ffcv, contiguous")


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text())
    table = {name: row for name, row in result["results"].items() if name not in LEFT_OUT}
    resolutions = list(next(iter(table.values())))
    others = iter(OTHERS)
    figure, axes = plt.subplots(figsize=(10, 4.6), layout="constrained")
    width = 0.85 / len(table)
    for i, (name, row) in enumerate(table.items()):
        x = [position + (i - (len(table) - 1) / 2) * width for position in range(len(resolutions))]
        speeds = [row[r]["images_per_second"] for r in resolutions]
        color = OURS.get(name) or next(others)
        axes.bar(x, speeds, width * 0.92, label=name, color=color)
        if name in OURS:
            for position, r in zip(x, resolutions, strict=True):
                label = f"{row[r]['ratio_to_ffcv']:.1f}x"
                axes.text(position, row[r]["images_per_second"], label, ha="center", va="bottom", fontsize=7)
    facts = result["environment"]
    axes.set_xticks(range(len(resolutions)), [f"{r} px" for r in resolutions])
    axes.set_ylabel("images per second")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.set_title(
        f"{result['workers']} threads, batch {result['batch']}, crops of {result['crop_scale'][0]:g} to 1 of the area; "
        f"labels: times ffcv {facts['ffcv']}",
        fontsize=9,
    )
    figure.savefig(sys.argv[2], dpi=130)


if __name__ == "__main__":
    main()
