"""`recipes/pretrain.py` with a fault built in, which an environment variable names; started as the recipe is.

FAULT=nan:STEP        the loss of that optimizer step, and of every try of it, is not a number
FAULT=nan_once:STEP   only when that step is done for the first time
FAULT=slow:SECONDS    every step takes that much longer
FAULT=data:FILE       rank 1 reads FILE for train.beton
FAULT=code:           rank 1 runs other code
FAULT=engine:NAME     no fault: images are decoded by that engine
"""

import os
import runpy
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def poison(step: int, *, once: bool) -> None:
    from dailymae_hf.training.mae_trainer import DailyMAETrainer

    compute_loss: Any = DailyMAETrainer.compute_loss
    done: list[int] = []

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute_loss(self, *args, **kwargs)
        if self.state.global_step + 1 == step and not (once and done):
            done.append(step)
            factor = float("nan")
            return (loss[0] * factor, *loss[1:]) if isinstance(loss, tuple) else loss * factor
        return loss

    DailyMAETrainer.compute_loss = poisoned


def slow_down(seconds: float) -> None:
    from dailymae_hf.training.mae_trainer import DailyMAETrainer

    training_step: Any = DailyMAETrainer.training_step

    def slow(self: Any, *args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return training_step(self, *args, **kwargs)

    DailyMAETrainer.training_step = slow


def decode_with(name: str) -> None:
    loader: Any = import_module("dailymae_hf.data.loader")
    make_engine = loader.make_engine

    def made(_: str, *args: Any, **kwargs: Any) -> Any:
        return make_engine(name, *args, **kwargs)

    loader.make_engine = made


def main() -> None:
    kind, _, value = os.environ.get("FAULT", "").partition(":")
    if kind in ("nan", "nan_once"):
        poison(int(value), once=kind == "nan_once")
    elif kind == "slow":
        slow_down(float(value))
    elif kind == "engine":
        decode_with(value)
    elif kind == "data" and os.environ.get("RANK") == "1":
        sys.argv += ["--train_beton", value]
    elif kind == "code" and os.environ.get("RANK") == "1":
        from dailymae_hf.training import identity

        identity.code_digest = lambda: "another"  # type: ignore[assignment]
    sys.argv[0] = str(ROOT / "recipes" / "pretrain.py")
    sys.path[0] = str(ROOT / "recipes")
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
