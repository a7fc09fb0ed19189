"""Put on record what the demo's runs ended with: `make demo demo-stock demo-downstream` first, then

    python benchmarks/demo_scores.py outputs/demo outputs/demo-stock --downstream outputs/demo-downstream \\
        --out benchmarks/results/demo.json

Accuracies are of tiles from the halves of the photographs that training never saw. The online probe learns beside
pretraining on unmasked training tiles, and the 20 nearest neighbours are found by cosine among them. `--downstream`
adds what the finished encoders, and one that was never trained, reach under each protocol: the linear probe there is
trained on a frozen encoder.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import yaml
from environment import environment

from dailymae_hf.data import inspect_beton
from dailymae_hf.run_files import LOG_NAME, RECIPE_NAME, read_log, read_result


def record(folder: Path) -> dict[str, Any]:
    """Speed, data wait, and scores by epoch of the run in `folder`, from its log and its resolved recipe."""
    lines = read_log(folder / LOG_NAME)
    recipe = yaml.safe_load((folder / RECIPE_NAME).read_text())
    validation = inspect_beton(recipe["eval_beton"])
    waits = [line["data_wait"] for line in lines if line.get("data_wait") is not None]
    scored = [line for line in lines if line.get("probe_accuracy") is not None]
    return {
        "initialization": recipe["initialization"],
        "train_seconds": [line["train_runtime"] for line in lines if "train_runtime" in line][-1],
        "data_wait_mean": round(statistics.mean(waits), 4),
        "chance": 1 / validation["num_classes"],
        "validation_images": validation["num_samples"],
        "scores": [
            {key: round(line[key], 4) for key in ("epoch", "probe_accuracy", "knn_accuracy")} for line in scored
        ],
    }


def afterwards(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Encoder -> protocol -> scores, from what `scripts/demo_downstream.py` left in `folder`."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, place in {
        "demo": folder,
        "demo-stock": folder / "demo-stock",
        "never trained": folder / "random",
    }.items():
        results = filter(None, map(read_result, sorted(place.glob("*"))))
        scores = {result.protocol: {key: round(value, 4) for key, value in result.scores.items()} for result in results}
        if scores:
            found[name] = scores
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="output folders of finished runs")
    parser.add_argument("--downstream", type=Path, help="output folder of `make demo-downstream`")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    runs = {folder.name: record(folder) for folder in args.folders}
    for name, run in runs.items():
        last = run["scores"][-1]
        accuracy = f"online probe {last['probe_accuracy']:.1%}, 20 nearest neighbours {last['knn_accuracy']:.1%}"
        print(f"{name}: {accuracy}, chance {run['chance']:.0%}, {run['train_seconds']:.0f} s")
    record_of_all = {"environment": environment(), "runs": runs}
    if args.downstream:
        record_of_all["afterwards"] = afterwards(args.downstream)
    if args.out:
        args.out.write_text(json.dumps(record_of_all, indent=2) + "\n")


if __name__ == "__main__":
    main()
