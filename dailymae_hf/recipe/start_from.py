"""A run that starts from a checkpoint: what it takes over from there, and what its recipe may change."""

import logging
from typing import TYPE_CHECKING, Any

from transformers import ViTMAEConfig

from dailymae_hf.downstream.dataset_facts import image_statistics
from dailymae_hf.errors import CheckpointError, RecipeError
from dailymae_hf.hub.checkpoint_name import require_checkpoint
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config

if TYPE_CHECKING:
    from dailymae_hf.recipe.recipe import PretrainRecipe

logger = logging.getLogger(__name__)

# No tensor depends on these, but the stored positions on the image size.
CHANGEABLE = (
    "image_size", "mask_ratio", "norm_pix_loss", "layer_norm_eps", "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)  # fmt: skip


def _named(recipe: "PretrainRecipe") -> dict[str, Any]:
    """Fields of `ViTMAEConfig` that the recipe names."""
    arguments = recipe.model
    own: tuple[str, ...] = ("image_size", "patch_size", "mask_ratio")
    named = {name: getattr(arguments, name) for name in own if name in recipe.named}
    if "model_size" in recipe.named:
        size = mae_config(arguments.model_size)
        named |= {name: getattr(size, name) for name in ("hidden_size", "num_hidden_layers")}
    return named | arguments.model_overrides


def starting_config(recipe: "PretrainRecipe") -> ViTMAEConfig:
    """The checkpoint's config with the recipe's changes.

    Raises:
        CheckpointError: there is no such checkpoint.
        RecipeError: the recipe names another value of a field that the checkpoint's tensors fix.
    """
    source = recipe.model.model_name_or_path
    require_checkpoint(str(source))
    try:
        config = ViTMAEConfig.from_pretrained(source)
    except OSError as error:
        raise CheckpointError(f"model_name_or_path: {' '.join(str(error).split())}") from error
    for name, value in _named(recipe).items():
        if getattr(config, name, None) != value and name not in CHANGEABLE:
            raise RecipeError(
                f"{name}: the recipe wants {value}, and the weights of model_name_or_path ({source}) are made for "
                f"{getattr(config, name, None)}"
            )
        setattr(config, name, value)
    if config.image_size % config.patch_size:
        raise RecipeError(
            f"image_size: {config.image_size} is not a multiple of {source}'s patch_size {config.patch_size}"
        )
    if recipe.model.initialization != "mae":
        raise RecipeError("initialization: a model that starts from model_name_or_path draws no weights")
    return config


def starting_model(recipe: "PretrainRecipe") -> DailyMAEForPreTraining:
    """The checkpoint's weights under `starting_config`; a new image size is reported with what it does to positions."""
    config = starting_config(recipe)
    changes = {name: getattr(config, name) for name in CHANGEABLE if name in _named(recipe)}
    return DailyMAEForPreTraining.from_pretrained(recipe.model.model_name_or_path, **changes)


def pixel_statistics(recipe: "PretrainRecipe") -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and std that the recipe names, else those of the processor saved with the checkpoint it starts from.

    None where the training file's are to be taken.
    """
    data, source = recipe.data, recipe.model.model_name_or_path
    if not source or (data.image_mean and data.image_std):
        return data.image_mean, data.image_std
    mean, std = image_statistics(source, None, "checkpoint")
    if mean is None:
        logger.warning("%s has no image processor: mean and std are those of the training file", source)
    else:
        logger.warning(
            "mean and std are those of %s, %s and %s; image_mean and image_std set others", source, mean, std
        )
    return data.image_mean or mean, data.image_std or std
