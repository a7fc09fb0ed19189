"""The folder that a recipe leaves: model, processor, recipe, results and card, pushed if that was asked for."""

import json
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from transformers import PreTrainedModel

from dailymae_hf.hub.fetch import PREFIX, repository_of
from dailymae_hf.recipe.recipe import Recipe
from dailymae_hf.run_files import FACTS_NAME, RECIPE_NAME, Result, write_result
from dailymae_hf.training.run_claim import claimed

if TYPE_CHECKING:
    from dailymae_hf.training.beton_trainer import BetonTrainer

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
Left = TypeVar("Left")


def in_its_folder(run: Callable[[AnyRecipe], Left]) -> Callable[[AnyRecipe], Left]:
    """A recipe's run that holds its output folder from before the first file is read until the last is written."""

    @wraps(run)
    def held(recipe: AnyRecipe) -> Left:
        with claimed(recipe.training, recipe.training.resume_from_checkpoint):
            return run(recipe)

    return held


def train(trainer: "BetonTrainer", recipe: Recipe) -> None:
    """Refuse what can be refused, keep the recipe in the output folder, train."""
    trainer.recipe_settings = recipe.resolved()
    trainer.prepare(recipe.training.resume_from_checkpoint)
    save_recipe(trainer, recipe)
    trainer.train(recipe.training.resume_from_checkpoint)


def save_recipe(trainer: "BetonTrainer", recipe: Recipe) -> None:
    """Before training: the resolved recipe goes into the output folder, and what it names on the Hub onto the card."""
    trainer.provenance = {"base_model": _base_model(recipe), "datasets": sorted(set(_datasets(recipe)))}
    if trainer.is_world_process_zero():
        folder = Path(trainer.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        recipe.save(folder / RECIPE_NAME)


def finish_run(
    trainer: "BetonTrainer",
    recipe: Recipe,
    *,
    result: Result | None = None,
    model: PreTrainedModel | None = None,
) -> Path:
    """After training: model, processor, resolved recipe, result and card in the output folder, and a push if asked for.

    Called on every rank; returns the folder. `model` is saved instead of the trainer's where it is another one.
    """
    folder = Path(trainer.args.output_dir)
    save_recipe(trainer, recipe)
    if trainer.is_world_process_zero() and result is not None:
        write_result(folder, result)
    if model is not None:
        trainer.model = model
    trainer.save_model(str(folder), _internal_call=True)
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    else:
        trainer.create_model_card()
    return folder


def _base_model(recipe: Recipe) -> str | None:
    """The Hub's name of the checkpoint that the recipe starts from, where it has one."""
    origin = getattr(getattr(recipe, "model", None), "model_name_or_path", None)
    if not origin:
        return None
    if not Path(origin).exists():
        return str(origin)
    facts = Path(origin) / FACTS_NAME  # a folder that was pushed says where to
    return json.loads(facts.read_text()).get("repository") if facts.is_file() else None


def _datasets(recipe: Recipe) -> Iterator[str]:
    data: Any = getattr(recipe, "data", None)
    for source in (getattr(data, "train_beton", None), getattr(data, "eval_beton", None)):
        for path in source if isinstance(source, list) else [source]:
            if path is not None and path.startswith(PREFIX):
                yield repository_of(path)
