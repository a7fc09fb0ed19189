"""Pretraining: the run of a recipe, from its files to the folder that it leaves."""

from pathlib import Path

from dailymae_hf.recipe.build import Setup
from dailymae_hf.recipe.fit_at_start import fit_at_start
from dailymae_hf.recipe.recipe import PretrainRecipe
from dailymae_hf.recipe.run_folder import finish_run, in_its_folder, train
from dailymae_hf.training.ranks import shutdown_distributed


@in_its_folder
def run(recipe: PretrainRecipe) -> Path:
    """Train as the recipe says; returns the output folder, on every rank."""
    setup = Setup(recipe)
    recipe = fit_at_start(setup)
    trainer = setup.build_trainer(recipe)
    train(trainer, recipe)
    folder = finish_run(trainer, recipe)
    shutdown_distributed(trainer.accelerator)
    return folder


def summary(recipe: PretrainRecipe, folder: Path) -> str:
    """What is printed at the end of a run."""
    return f"model, processor, recipe, card and log.jsonl are in {folder}"
