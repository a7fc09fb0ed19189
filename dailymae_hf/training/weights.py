"""Weights of a checkpoint, copied into a model whole or not at all. (The stock Trainer loads with `strict=False`.)"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from dailymae_hf.errors import CheckpointError, ResumeError
from dailymae_hf.training.hf_compat import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME


def load_weights(model: torch.nn.Module, folder: str | os.PathLike[str]) -> None:
    """Copy a checkpoint's weights into `model` in place, each tensor or none.

    Key names are translated by `from_pretrained`, as files keep names that older transformers read too.

    Args:
        model: any module; a `PreTrainedModel` is read through its own class, others by their state dict's names.
        folder: a folder with `model.safetensors` (or its shards, for a `PreTrainedModel`).

    Raises:
        ResumeError: weights are missing, left over or of another shape; the message names up to three of them.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        raise ResumeError(f"{folder} holds no {SAFE_WEIGHTS_NAME}")
    try:
        state, problems = (_from_model_files if isinstance(model, PreTrainedModel) else _from_one_file)(model, folder)
    except (CheckpointError, SafetensorError) as error:
        raise ResumeError(f"the weights in {folder} cannot be read: {error}") from error
    wrong = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in problems.items() if names]
    if wrong:
        raise ResumeError(f"the weights in {folder} are not this model's: {'; '.join(wrong)}")
    model.load_state_dict(state, strict=True)


def _from_model_files(model: PreTrainedModel, folder: Path) -> tuple[Mapping[str, torch.Tensor], dict[str, list[str]]]:
    """Tensors by the model's names, and the names that files and model do not share."""
    loaded, report = type(model).from_pretrained(
        folder, config=copy.deepcopy(model.config), output_loading_info=True, ignore_mismatched_sizes=True
    )
    return loaded.state_dict(), {
        "missing": sorted(report["missing_keys"]),
        "unknown": sorted(report["unexpected_keys"]),
        "of another shape": sorted(str(entry[0]) for entry in report["mismatched_keys"]),
    }


def _from_one_file(model: torch.nn.Module, folder: Path) -> tuple[Mapping[str, torch.Tensor], dict[str, list[str]]]:
    state, own = load_file(folder / SAFE_WEIGHTS_NAME), model.state_dict()
    return state, {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape),
    }
