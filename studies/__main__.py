"""Run a study: `python -m studies NAME --train SOURCE --validation SOURCE`.

Each run is one process with one thread; as many run at a time as there are cores. A run that is in the results already
is not done again, so the same command continues an interrupted study. `python -m studies.report NAME` makes its table.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dailymae_hf.errors import DailyMAEError
from studies.report import RESULTS
from studies.runner import Results, run_all
from studies.sources import Sources
from studies.study import Study, StudyError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the runs that are missing and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m studies", description=str(__doc__).partition("\n\n")[2])
    parser.add_argument("study", nargs="+", help="name of a file in studies/questions, or a path that ends in .yaml")
    parser.add_argument("--train", required=True, metavar="SOURCE", help="whatever `dailymae write` takes")
    parser.add_argument("--validation", required=True, metavar="SOURCE")
    parser.add_argument("--train-split", metavar="NAME", help="where the source has several")
    parser.add_argument("--validation-split", metavar="NAME")
    parser.add_argument("--masks-train", type=Path, metavar="PARQUET", help="images with class masks, where judged on")
    parser.add_argument("--masks-validation", type=Path, metavar="PARQUET")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="JSON lines to continue")
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/studies"), help="of prepared files and checkpoints"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: the cores)")
    options = parser.parse_args(arguments)
    try:
        studies = [Study.load(name) for name in options.study]
        folder = options.folder.absolute()
        splits = (options.train_split, options.validation_split)
        masks = (options.masks_train, options.masks_validation)
        sources = Sources(options.train, options.validation, folder / "data", *splits, masks=masks)
        for study in studies:
            run_all(study.runs(), sources, Results(options.results), folder / study.name, options.jobs)
    except (StudyError, DailyMAEError) as error:
        print(f"studies: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
