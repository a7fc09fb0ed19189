"""The saved image processors do to original images what the loaders do to those of a .beton."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from dailymae_hf._native import CENTER_CROP, center_crop, crop_params
from dailymae_hf.downstream.trainer import classification_processor
from dailymae_hf.model.image_processors import image_processor

UNCHANGED = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # pixels come out as they went in


def pixels_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [64, 80, 96, 128, 160, 192, 224])
@pytest.mark.parametrize("longer", [0, 1, 2, 3])
def test_the_classifiers_crop_is_the_loaders_to_the_pixel(tmp_path, size, longer):
    """Images whose shorter side needs no resizing: a crop is a slice. At 160 and 192 an odd margin is left, which the
    loader rounded up and transformers rounds down."""
    classification_processor(size, **UNCHANGED).save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    side = processor.size["shortest_edge"]
    for shape in ((side, side + longer), (side + longer, side)):
        pixels = pixels_of(*shape)
        left, top, width, height = center_crop(
            crop_params(kind=CENTER_CROP, center_ratio=224 / 256), *shape, (size, size)
        )
        assert (width, height) == (size, size)
        expected = pixels[int(top) : int(top) + size, int(left) : int(left) + size]
        found = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_autoencoders_processor_is_a_bicubic_resize(tmp_path):
    image_processor(48, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).save_pretrained(tmp_path)
    image = Image.fromarray(pixels_of(70, 90))
    found = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt")["pixel_values"][0]
    resized = torch.tensor(np.asarray(image.resize((48, 48), Image.Resampling.BICUBIC))) / 255
    expected = (resized - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.25, 0.3])
    torch.testing.assert_close(found, expected.permute(2, 0, 1), atol=1e-5, rtol=1e-5)
