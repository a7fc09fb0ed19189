"""Counts of visible patches: rounded as MAE does, impossible ratios refused."""

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.masking import mask_ratio_for, num_visible


@pytest.mark.parametrize("mask_ratio", [0.5, 0.66, 0.75, 0.8, 0.85, 0.9])
@pytest.mark.parametrize("patches", [25, 100, 144, 196, 256])
def test_visible_patches_are_rounded_as_mae_does(patches, mask_ratio):
    assert num_visible(patches, mask_ratio) == int(patches * (1 - mask_ratio))


@pytest.mark.parametrize("patches", [4, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225, 256, 576])
def test_mask_ratio_for_gives_back_every_count(patches):
    """Plain 1 - visible / patches loses one patch to rounding for some counts."""
    counts = range(1, patches)
    assert [num_visible(patches, mask_ratio_for(patches, visible)) for visible in counts] == list(counts)
    assert max(abs(mask_ratio_for(patches, v) - (1 - v / patches)) for v in counts) < 1e-12


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0, -0.5, 0.999])
def test_impossible_ratios_name_the_field(mask_ratio):
    with pytest.raises(RecipeError, match="mask_ratio"):
        num_visible(196, mask_ratio)
