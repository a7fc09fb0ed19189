"""The position tables that a checkpoint stores: what they are, and what a new native size makes of them.

MAE's are fixed sin-cos tables, which follow from the grid. A checkpoint may hold others: stock transformers 5 draws
zeros, and some models learn theirs. Such a table is resampled for another grid, never replaced.
"""

import copy
import logging
from typing import Any

import torch
from torch import nn
from transformers import ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.positions import native_grid_of, positions_on

logger = logging.getLogger(__name__)

ENCODER = "vit.embeddings.position_embeddings"
DECODER = "decoder.decoder_pos_embed"
TABLES = (ENCODER, DECODER)


def note_native_grids(model: Any, state_dict: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
    """Set `model.native_grids` by the tables that a state dict holds; a `load_state_dict` pre-hook.

    Shards of FSDP are pieces of tables that the model was built with, and known from then.
    """
    for name in TABLES:
        table = state_dict.get(prefix + name)
        if table is not None and type(table) in (torch.Tensor, nn.Parameter) and not table.is_meta:
            model.native_grids[name] = native_grid_of(table)


def warn_of_other_tables(source: str, model: Any) -> None:
    """One line for each table that is no sin-cos table."""
    for name, native in model.native_grids.items():
        if native is None and model.get_parameter(name).any():
            logger.warning(
                "%s: %s is not the sin-cos table: for images of other sizes than %d pixels it is resampled (bicubic)",
                source, name, model.config.image_size,
            )  # fmt: skip
        elif native is None:
            logger.warning(
                "%s: %s is all zero and is not trained: the model cannot tell where a patch lies (stock transformers 5 "
                "draws such a table). No key replaces it: a run without model_name_or_path draws MAE's",
                source, name,
            )  # fmt: skip


def resized(source: str, model: Any, image_size: int) -> ViTMAEForPreTraining:
    """The same weights in a model whose native side is `image_size`; its tables are those used at that size before.

    Raises:
        RecipeError: `image_size` is not a multiple of the patch size.
    """
    config = copy.deepcopy(model.config)
    if image_size % config.patch_size:
        raise RecipeError(f"image_size: {image_size} is not a multiple of patch_size {config.patch_size} of {source}")
    state, grid = model.state_dict(), image_size // config.patch_size
    for name, native in model.native_grids.items():
        before = model.config.image_size // config.patch_size
        how = "resampled (bicubic)" if native is None else "scaled: the sin-cos table at the places of the patches"
        logger.warning("%s: %s goes from %d x %d to %d x %d patches, %s", source, name, before, before, grid, grid, how)
        state[name] = positions_on(state[name], grid, native).clone()  # encoder and decoder may be given one table
    config.image_size = image_size
    with torch.device("meta"):
        other = type(model)(config)
    other.load_state_dict(state, assign=True)
    return other.train(model.training)
