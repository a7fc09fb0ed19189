"""How many patches the encoder sees and the decoder predicts."""

import math

from dailymae_hf.errors import RecipeError


def num_visible(num_patches: int, mask_ratio: float) -> int:
    """Patches the encoder sees, rounded down as MAE does: `int(num_patches * (1 - mask_ratio))`.

    Raises `RecipeError` when nothing would be masked, or nothing visible.
    """
    visible = int(num_patches * (1 - mask_ratio))
    if not 0 < visible < num_patches:
        raise RecipeError(
            f"mask_ratio: {mask_ratio} leaves {visible} of {num_patches} patches visible; some must be, and not all"
        )
    return visible


def num_predicted(num_patches: int, visible: int, decoder_keep: float) -> int:
    """Masked patches the decoder reconstructs: the fraction `decoder_keep` of them, at least one."""
    return max(1, round((num_patches - visible) * decoder_keep))


def mask_ratio_for(num_patches: int, visible: int) -> float:
    """The mask ratio for which `num_visible(num_patches, ratio)` is exactly `visible`."""
    ratio = 1 - visible / num_patches
    while int(num_patches * (1 - ratio)) < visible:  # floating point left the product a hair below the integer
        ratio = math.nextafter(ratio, 0.0)
    return ratio
