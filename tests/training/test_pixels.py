"""Pixels to model inputs and back, for any number of channels."""

import pytest
import torch

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.pixels import PixelNormalizer


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_channel_has_its_own_mean_and_deviation(channels):
    """Before, tables were made for three channels whatever the images had."""
    mean, std = torch.rand(channels), torch.rand(channels) + 0.1
    pixels = torch.randint(0, 256, (2, channels, 4, 4), dtype=torch.uint8)
    normalizer = PixelNormalizer(tuple(mean.tolist()), tuple(std.tolist()))
    found = normalizer.normalize(pixels)
    for channel in range(channels):
        expected = (pixels[:, channel] / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(found[:, channel], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normalizer.denormalize(found), pixels / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(normalizer.normalize_unit(pixels / 255), found, atol=1e-5, rtol=1e-5)
    assert normalizer.normalize(found) is found, "floats are normalised already"


def test_another_number_of_channels_is_named():
    with pytest.raises(RecipeError, match="image_mean, image_std: 3 values, and the images have 4 channels"):
        PixelNormalizer((0.5,) * 3, (0.5,) * 3).normalize(torch.zeros(1, 4, 2, 2, dtype=torch.uint8))
