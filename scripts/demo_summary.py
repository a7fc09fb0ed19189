"""Say in a few lines what a run of the demo did, from what it left behind.

    python scripts/demo_summary.py outputs/demo [--beside outputs/demo-stock]

`--beside` puts the scores of another run of the same recipe next to its own, where that run's log exists.
"""

import argparse
import statistics
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from dailymae_hf.data import inspect_beton
from dailymae_hf.run_files import LOG_NAME, RECIPE_NAME, read_log
from dailymae_hf.training.callbacks.reconstruction import FOLDER

Lines = list[dict[str, Any]]


def logged(lines: Lines, key: str) -> list[Any]:
    """The values of `key` where a line measured it, in order."""
    return [line[key] for line in lines if line.get(key) is not None]


def resolutions(lines: Lines) -> str:
    """The sizes in the order that the run went through them, such as "128 > 96 > 128"."""
    return " > ".join(str(size) for size, _ in groupby(logged(lines, "resolution")))


def scores(lines: Lines) -> str:
    """The last scores of the probe that learned beside the model, and of nearest neighbours, in per cent."""
    names = {"probe_accuracy": "online probe", "knn_accuracy": "20 nearest neighbours"}
    known = {name: logged(lines, key) for key, name in names.items()}
    return ", ".join(f"{name} {values[-1]:.1%}" for name, values in known.items() if values)


def summary(folder: Path, beside: Path | None = None) -> str:
    """The report on the run in `folder`. Raises FileNotFoundError if it left no log or recipe."""
    lines = read_log(folder / LOG_NAME)
    validation = inspect_beton(yaml.safe_load((folder / RECIPE_NAME).read_text())["eval_beton"])
    classes = validation["num_classes"]
    rows = [
        ("trained", f"{logged(lines, 'epoch')[-1]:g} epochs, {logged(lines, 'step')[-1]} steps"),
        ("resolutions", f"{resolutions(lines)} pixels"),
        ("speed", f"{statistics.median(logged(lines, 'images_per_second')):.0f} images/s"),
        ("loss", f"{logged(lines, 'loss')[0]:.3f} at first, {logged(lines, 'loss')[-1]:.3f} at last"),
        ("unseen tiles", f"{scores(lines)} of {validation['num_samples']} right; chance is {1 / classes:.1%}"),
    ]
    if beside is not None and (beside / LOG_NAME).is_file():
        rows.append(
            ("stock start", f"{scores(read_log(beside / LOG_NAME))}, begun from the weights that transformers draws")
        )
    pictures = sorted((folder / FOLDER).glob("*.png"))
    rows += [
        ("pictures", str(pictures[-1]) if pictures else "none"),
        ("checkpoint", f'{folder}; features: AutoModel.from_pretrained("{folder}", subfolder="encoder")'),
    ]
    return "\n".join(f"  {name:<14}{text}" for name, text in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path)
    arguments = parser.parse_args()
    if not (arguments.folder / LOG_NAME).is_file():
        sys.exit(f"{arguments.folder / LOG_NAME}: no such file; did the training run?")
    print(f"\nThe demo in {arguments.folder}\n{summary(arguments.folder, arguments.beside)}")


if __name__ == "__main__":
    main()
