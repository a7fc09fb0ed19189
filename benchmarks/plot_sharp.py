"""Draw a results file of bench_sharp.py: images per second of one core against bytes per image, at 224 pixels.

python benchmarks/plot_sharp.py benchmarks/results/sharp.json docs/images/sharp.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Name in the results: label, which file's bytes it reads, where the label stands (points right of and above the dot).
OURS = {
    "ours, dct, native": ("ours, dct, quality 95, AVX-512", "dct", (8, 2)),
    "ours, dct, AVX2": ("ours, dct, quality 95, AVX2", "dct", (8, -6)),
    "ours, dct, at stock's bytes": ("ours, dct, quality {}", "dct-small", (8, 6)),
    "ours, jpg, native": ("ours, jpg", "jpg", (8, 3)),
    "ours, file of stock ffcv, native": ("ours, ffcv's own file", "stock", (8, -9)),
}
OTHERS = {
    "ffcv": ("ffcv {}", "stock", (-8, -2)),
    "DataLoader + Pillow": ("DataLoader + Pillow", "photos", (8, -8)),
    "DataLoader + Pillow-SIMD": ("DataLoader + Pillow-SIMD", "photos", (8, -6)),
    "DALI": ("DALI", "photos", (8, -2)),
    "SPDL": ("SPDL", "photos", (8, -2)),
    "kornia-rs": ("kornia-rs", "photos", (8, 3)),
}


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text())
    facts, environment = result["photographs"], result["ours"]["environment"]
    figure, axes = plt.subplots(figsize=(9, 5.4), layout="constrained")
    for piece, names, color in (("ours", OURS, "#1b6ca8"), ("others", OTHERS, "#8f8f8f")):
        said = facts["quality at stock's bytes"] if piece == "ours" else environment["ffcv"]
        for name, (label, file, offset) in names.items():
            found = result[piece]["results"].get(name) or result["ours"]["results"].get(name)
            if found is None:
                continue
            x, y = facts[file] / 1000, found["224"]["images_per_processor_second"]
            side = "left" if offset[0] > 0 else "right"
            axes.plot(x, y, "o", markersize=8, color=color)
            axes.annotate(
                f"{label.format(said)}: {y:,}",
                (x, y),
                offset,
                textcoords="offset points",
                ha=side,
                fontsize=8.5,
                color=color,
            )
    axes.set_yscale("log")
    axes.set_xlim(70, 180)
    axes.set_ylim(250, 25000)
    axes.set_yticks([300, 1000, 3000, 10000], ["300", "1,000", "3,000", "10,000"])
    axes.minorticks_off()
    axes.set_xlabel("KB an image takes in the file")
    axes.set_ylabel("images per second of one core")
    axes.grid(True, axis="y", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"224 px crops of sharp 500x375 photographs, quality {facts['quality']}, on an {environment['processor']}",
        fontsize=9.5,
    )
    figure.savefig(sys.argv[2], dpi=130)


if __name__ == "__main__":
    main()
