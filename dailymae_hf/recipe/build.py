"""What a recipe describes, made: the model's config, the model, the trainer with its callbacks."""

import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING

from transformers import TrainerCallback, ViTMAEConfig, ViTMAEForPreTraining, set_seed

from dailymae_hf.data.shards import open_betons
from dailymae_hf.data.write import available_cores
from dailymae_hf.errors import MissingDependencyError, extra
from dailymae_hf.model.mimetic_weights import draw_mimetic_attention
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.recipe.files import Files, files_here
from dailymae_hf.recipe.start_from import pixel_statistics, starting_config, starting_model
from dailymae_hf.training.callbacks import (
    LogFileCallback,
    OnlineProbeCallback,
    PlanCallback,
    ReconstructionCallback,
    ThroughputCallback,
)
from dailymae_hf.training.loaders import require_files
from dailymae_hf.training.mae_trainer import DailyMAETrainer

if TYPE_CHECKING:
    from dailymae_hf.recipe.recipe import PretrainRecipe

logger = logging.getLogger(__name__)


def model_config(recipe: "PretrainRecipe") -> ViTMAEConfig:
    """The config that the recipe's model will have; no weights are made."""
    arguments = recipe.model
    if arguments.model_name_or_path:
        return starting_config(recipe)
    sizes = {"image_size": arguments.image_size, "mask_ratio": arguments.mask_ratio, **arguments.model_overrides}
    if arguments.patch_size is not None:
        sizes["patch_size"] = arguments.patch_size
    return mae_config(arguments.model_size, **sizes)


def build_model(recipe: "PretrainRecipe") -> DailyMAEForPreTraining:
    """The model with its initial weights, which the recipe's seed decides, or those it starts from."""
    if recipe.model.model_name_or_path:
        return starting_model(recipe)
    config = model_config(recipe)
    set_seed(recipe.training.seed)
    model = DailyMAEForPreTraining(config)
    if recipe.model.initialization == "mimetic":
        draw_mimetic_attention(model.vit.layers)
    if recipe.model.initialization == "stock":
        model.load_state_dict(ViTMAEForPreTraining(config).state_dict())
    return model


def cores_per_rank(recipe: "PretrainRecipe") -> int:
    """Cores that load for one rank: what the recipe says, else this machine's, shared by its ranks."""
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return recipe.training.dataloader_num_workers or max(1, available_cores() // ranks_here)


def build_callbacks(recipe: "PretrainRecipe") -> list[TrainerCallback]:
    """The callbacks that the recipe asks for."""
    wanted = recipe.callbacks
    callbacks: list[TrainerCallback] = [ThroughputCallback(), LogFileCallback()]
    if wanted.plan is not None:
        callbacks.append(PlanCallback.from_file(wanted.plan))
    if wanted.online_probe:
        callbacks.append(
            OnlineProbeCallback(
                every_n_steps=wanted.probe_every_n_steps,
                every_n_epochs=wanted.probe_every_n_epochs,
                bank_size=wanted.knn_bank_size,
            )
        )
    if wanted.reconstruction_every_n_epochs and can_draw():
        callbacks.append(
            ReconstructionCallback(
                every_n_epochs=wanted.reconstruction_every_n_epochs, num_images=wanted.reconstruction_images
            )
        )
    return callbacks


def can_draw() -> bool:
    """Whether pictures can be drawn; says what would bring them where they cannot."""
    try:
        with extra("plots", "the run has no pictures of reconstructions"):
            import matplotlib  # noqa: F401
    except MissingDependencyError as error:
        logger.warning("%s", error)
        return False
    return True


class Setup:
    """A recipe and what all trainers made of it share: its files, fetched and copied once, when they are first needed.

    The run that is measured and the one that trains are made by one setup, so that both read the same files.
    """

    def __init__(self, recipe: "PretrainRecipe") -> None:
        self.recipe = recipe

    @cached_property
    def files(self) -> Files:
        """The recipe's files on this machine; called on every rank."""
        return files_here(self.recipe.data, self.recipe.training)

    @cached_property
    def training_images(self) -> int:
        """Samples of the training files. Raises RecipeError where one is not there."""
        require_files("train_beton", self.files.train)
        return len(open_betons(self.files.train))

    def build_trainer(self, recipe: "PretrainRecipe | None" = None) -> DailyMAETrainer:
        """A trainer, ready to train; of another recipe with the same data where one is given."""
        recipe = recipe or self.recipe
        data = recipe.data
        image_mean, image_std = pixel_statistics(recipe)
        return DailyMAETrainer(
            build_model(recipe),
            recipe.training,
            train_beton=self.files.train,
            eval_beton=self.files.eval,
            loader_options=data.loader_options(),
            image_mean=image_mean,
            image_std=image_std,
            callbacks=build_callbacks(recipe),
        )


def build_trainer(recipe: "PretrainRecipe") -> DailyMAETrainer:
    """The trainer of the recipe's run, ready to train."""
    return Setup(recipe).build_trainer()
