"""What a checkpoint and the run that continues it must share, and which checkpoints belong to one run."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dailymae_hf.errors import ResumeError
from dailymae_hf.training.hf_compat import PREFIX_CHECKPOINT_DIR, TRAINER_STATE_NAME

RUN_SETTINGS_NAME = "run_settings.json"

# Training arguments that an exact continuation needs unchanged.
FIXED_ARGUMENTS = (
    "optim",
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "warmup_epochs",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "resolution_schedule",
    "decoder_keep",
)

_OTHER_SAMPLES = "the number of steps done stands for another number of images."
_OTHER_CURVE = "learning rate and resolution follow one curve over the whole run, whose first part is done already."
_WHY = {
    "world_size": "each process would skip as many batches as before, but batches are now dealt to another number of "
    "processes, so images would be seen twice or never.",
    "per_device_train_batch_size": _OTHER_SAMPLES,
    "gradient_accumulation_steps": _OTHER_SAMPLES,
    "seed": "order, crops and masks are functions of the seed, so the rest of the epoch would be another one.",
    "data_seed": "the order of an epoch is a function of it, so the rest of the epoch would be another one.",
    "dataset_length": "the order of an epoch is a permutation of the whole data set, so this is not the same data.",
    "mask_ratio": "the first part of the run was trained with the other one.",
    "decoder_keep": "the first part of the run was trained with the other one.",
    "optim": "the optimizer's state in the checkpoint is the other one's.",
    "weight_decay": "the optimizer's state in the checkpoint holds the other value, which would go on.",
    "adam_beta1": "the optimizer's state in the checkpoint holds the other value, which would go on.",
    "adam_beta2": "the optimizer's state in the checkpoint holds the other value, which would go on.",
}


@dataclass(frozen=True)
class RunSettings:
    """What fixes the meaning of "the next step": with one of these changed, a resumed run is no longer the same run.

    `arguments` are those of `FIXED_ARGUMENTS` that the run's arguments have.
    """

    world_size: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    seed: int
    data_seed: int | None
    dataset_length: int
    mask_ratio: float | None
    arguments: dict[str, Any]

    def save(self, folder: Path, run: str) -> None:
        """Write the settings and `run`, the name that all checkpoints of one run share, into a checkpoint."""
        (folder / RUN_SETTINGS_NAME).write_text(json.dumps({"run": run, **self._flat()}, indent=2) + "\n")

    def check(self, folder: Path) -> None:
        """Refuse `folder` unless it was written under these settings.

        Raises:
            ResumeError: the folder or its settings are missing, or a setting differs; the message names it and both
                values.
        """
        if not folder.is_dir():
            raise ResumeError(f"{folder}: there is no such checkpoint")
        if not (folder / RUN_SETTINGS_NAME).is_file():
            raise ResumeError(
                f"{folder} has no {RUN_SETTINGS_NAME}: it was not written by this Trainer, so the place to continue "
                "from is unknown. Start a new run from its weights with from_pretrained instead."
            )
        stored = _read(folder)
        for name, now in json.loads(json.dumps(self._flat())).items():
            if stored.get(name) != now:
                raise ResumeError(
                    f"{folder} was written with {name} {stored.get(name)}, this run has {now}: "
                    f"{_WHY.get(name, _OTHER_CURVE)} Continue with {name} {stored.get(name)}, or start a new run."
                )

    def _flat(self) -> dict[str, Any]:
        settings = asdict(self)
        return settings | settings.pop("arguments")


def settings_of(args: Any, dataset_length: int, mask_ratio: float | None) -> RunSettings:
    """The settings of a run with these training arguments."""
    return RunSettings(
        world_size=args.world_size,
        per_device_train_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        seed=args.seed,
        data_seed=args.data_seed,
        dataset_length=dataset_length,
        mask_ratio=mask_ratio,
        arguments={name: getattr(args, name) for name in FIXED_ARGUMENTS if hasattr(args, name)},
    )


def newest_checkpoint(output_dir: str | os.PathLike[str]) -> Path | None:
    """The whole checkpoint with the most steps of the run that last wrote into `output_dir`, or None.

    A folder may hold checkpoints with more steps from an earlier run, which was not continued but begun anew.
    """
    written = {path / TRAINER_STATE_NAME: path for path in _numbered(output_dir)}
    if not written:
        return None
    last = written[max(written, key=lambda state: (state.stat().st_mtime_ns, step_of(state.parent)))]
    return checkpoints_of(output_dir, run_of(last))[-1]


def checkpoints_of(output_dir: str | os.PathLike[str], run: str | None) -> list[Path]:
    """The whole checkpoints of one run in `output_dir`, fewest steps first."""
    return sorted((path for path in _numbered(output_dir) if run_of(path) == run), key=step_of)


def run_of(folder: Path) -> str | None:
    """The name of the run that wrote a checkpoint; None where it says none."""
    return _read(folder).get("run") if (folder / RUN_SETTINGS_NAME).is_file() else None


def step_of(folder: Path) -> int:
    """Optimizer steps done when the checkpoint was written."""
    return int(folder.name.rpartition("-")[2])


def _numbered(output_dir: str | os.PathLike[str]) -> list[Path]:
    return [
        path
        for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
        if path.name.rpartition("-")[2].isdecimal() and (path / TRAINER_STATE_NAME).is_file()
    ]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RUN_SETTINGS_NAME
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ResumeError(f"{path} is damaged: {error}") from error
