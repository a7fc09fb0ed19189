"""What a checkpoint says of the run that wrote it, and what the run that continues it must have alike: all of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dailymae_hf.errors import ResumeError
from dailymae_hf.training.compared_settings import compared_settings
from dailymae_hf.training.hf_compat import logging
from dailymae_hf.training.identity import FileDigest, digest_source, library_versions, plain
from dailymae_hf.training.loaders import RunData

logger = logging.get_logger(__name__)

RUN_SETTINGS_NAME = "run_settings.json"

_OTHER_SAMPLES = "the number of steps done stands for another number of images."
_OTHER_CURVE = "learning rate and resolution follow one curve over the whole run, whose first part is done already."
_FIRST_PART = "the first part of the run was trained with the other one."
_IN_OPTIMIZER = "the optimizer's state in the checkpoint holds the other value, which would go on."
# Why, for those that are asked about most; they are compared first.
_WHY = {
    "world_size": "each process would skip as many batches as before, but batches are now dealt to another number of "
    "processes, so images would be seen twice or never.",
    "per_device_train_batch_size": _OTHER_SAMPLES,
    "gradient_accumulation_steps": _OTHER_SAMPLES,
    "seed": "order, crops and masks are functions of the seed, so the rest of the epoch would be another one.",
    "data_seed": "the order of an epoch is a function of it, so the rest of the epoch would be another one.",
    "dataset_length": "the order of an epoch is a permutation of the whole data set, so this is not the same data.",
    "num_train_epochs": _OTHER_CURVE,
    "max_steps": _OTHER_CURVE,
    "learning_rate": _OTHER_CURVE,
    "warmup_epochs": _OTHER_CURVE,
    "resolution_schedule": _OTHER_CURVE,
    "mask_ratio": _FIRST_PART,
    "decoder_keep": _FIRST_PART,
    "optim": "the optimizer's state in the checkpoint is the other one's.",
    "weight_decay": _IN_OPTIMIZER,
    "adam_beta1": _IN_OPTIMIZER,
    "adam_beta2": _IN_OPTIMIZER,
}


@dataclass(frozen=True)
class RunSettings:
    """What fixes the meaning of "the next step": with one of these changed, a resumed run is no longer the same run.

    Attributes:
        settings: every setting but those that may change, see `compared_settings`.
        data: the files of each role ("train_beton", "eval_beton").
        rewinds: the times that the run went back to a checkpoint; they decide which samples come next.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Sequence[FileDigest]]
    rewinds: Sequence[Mapping[str, int]] = ()
    versions: Mapping[str, str | None] = field(default_factory=library_versions)

    def save(self, folder: Path) -> None:
        """Write `run_settings.json` into a checkpoint."""
        (folder / RUN_SETTINGS_NAME).write_text(json.dumps(self._plain(), indent=1) + "\n")

    def check(self, folder: Path) -> None:
        """Refuse to continue `folder` unless it was written under these settings, on these data.

        Raises:
            ResumeError: a setting or a file differs; the message names it and both values.
        """
        stored, now = read_settings(folder), self._plain()
        old, new = stored["settings"], now["settings"]
        for name in (*_WHY, *sorted(old.keys() | new.keys())):
            if old.get(name) != new.get(name):
                raise ResumeError(
                    f"{folder} was written with {name} {old.get(name)}, this run has {new.get(name)}: "
                    f"{_WHY.get(name, _FIRST_PART)} Continue with {name} {old.get(name)}, or start a new run."
                )
        for role in sorted(stored["data"].keys() | now["data"].keys()):
            self._check_files(folder, role, stored["data"].get(role, []), now["data"].get(role, []))
        for name, version in now["versions"].items():
            if stored["versions"].get(name) != version:
                logger.warning(
                    "%s was written with %s %s, this run has %s: the same numbers are not promised",
                    *(folder, name, stored["versions"].get(name), version),
                )

    def _check_files(self, folder: Path, role: str, old: list[Any], new: list[Any]) -> None:
        if len(old) != len(new):
            raise ResumeError(f"{role}: {folder} was written with {len(old)} files, this run has {len(new)}")
        for number, (before, now) in enumerate(zip(old, new, strict=True)):
            for name in before:
                if before[name] != now.get(name):
                    raise ResumeError(
                        f"{role}: file {number} is not the one that {folder} was trained on: its {_FACTS[name]} "
                        f"{now.get(name)}, not {before[name]}. Continue with that file, or start a new run."
                    )

    def _plain(self) -> dict[str, Any]:
        written: dict[str, Any] = plain(asdict(self))
        return written


def settings_of(
    args: Any, config: Any, data: RunData, others: Mapping[str, Any], recipe: Mapping[str, Any]
) -> RunSettings:
    """What ranks and checkpoints of a run must share.

    Args:
        args, config: training arguments and the model's config.
        data: the run's files.
        others, recipe: what they do not say; see `compared_settings`.
    """
    roles = {"train_beton": data.opened["training"], "eval_beton": data.opened["validation"]}
    return RunSettings(
        settings=compared_settings(args, config, {"world_size": args.world_size, **others}, recipe),
        data={role: digest_source(source) for role, source in roles.items() if source is not None},
    )


_FACTS = {
    "samples": "samples are",
    "bytes": "bytes are",
    "tables": "tables' digest is",
    "sampled": "images' digest is",
}


def read_settings(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of its run.

    Raises:
        ResumeError: it says nothing, or nothing that can be read.
    """
    path = folder / RUN_SETTINGS_NAME
    if not path.is_file():
        raise ResumeError(
            f"{folder} has no {RUN_SETTINGS_NAME}: it was not written by this Trainer, so the place to continue "
            "from is unknown. Start a new run from its weights with from_pretrained instead."
        )
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
        if not all(isinstance(stored[name], dict) for name in ("settings", "data", "versions")):
            raise ValueError("not the settings of a run")
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path} is damaged: {error!r}") from error
    return stored
