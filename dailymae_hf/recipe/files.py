"""The .beton files that a recipe names, as they lie on this machine: fetched from the Hub, copied to a local disk."""

from dataclasses import dataclass

from transformers import TrainingArguments

from dailymae_hf.data.local_copy import copy_to_local
from dailymae_hf.data.shards import BetonSource, find_betons
from dailymae_hf.hub.fetch import fetch_betons
from dailymae_hf.recipe.arguments import DataArguments
from dailymae_hf.recipe.downstream import LabelledDataArguments
from dailymae_hf.training.loaders import require_files


@dataclass(frozen=True)
class Files:
    """What a run reads. The recipe keeps the names that it was given, and is saved with them."""

    train: BetonSource
    eval: BetonSource | None


def files_here(data: DataArguments, args: TrainingArguments) -> Files:
    """The files of a pretraining recipe; called on every rank, which share one download and one copy."""
    train = fetch_betons(data.train_beton, args, field="train_beton")
    evaluation = fetch_betons(data.eval_beton, args, field="eval_beton")
    if data.local_folder is None:
        return Files(train, evaluation)
    train = copy_to_local(find_betons(train), data.local_folder)
    return Files(train, evaluation and copy_to_local(find_betons(evaluation), data.local_folder))


def labelled_files_here(data: LabelledDataArguments, args: TrainingArguments) -> tuple[str, str]:
    """Training and validation file of a downstream recipe; called on every rank.

    Raises:
        RecipeError: one of them is not there.
    """
    train = fetch_betons(data.train_beton, args, field="train_beton")
    evaluation = fetch_betons(data.eval_beton, args, field="eval_beton")
    require_files("train_beton", train)
    require_files("eval_beton", evaluation)
    return train, evaluation
