"""The photographs that tests and demo stand on: in the wheels, in colour, and not twice the same."""

import numpy as np
from PIL import Image


def test_ten_different_colour_photographs(photographs):
    names = [name for name, _ in photographs]
    assert len(set(names)) == 10
    assert names == sorted(names)
    for name, image in photographs:
        assert image.mode == "RGB", name
        assert min(image.size) >= 300, name
        pixels = np.asarray(image).astype(int)
        assert np.abs(pixels[..., 0] - pixels[..., 2]).mean() > 2, f"{name} is gray"
    thumbnails = np.stack([np.asarray(image.resize((16, 16))).ravel() for _, image in photographs]).astype(float)
    distances = np.abs(thumbnails[:, None] - thumbnails[None]).mean(-1)
    assert distances[~np.eye(10, dtype=bool)].min() > 10, "two of the photographs are nearly the same"


def test_folder_is_an_image_folder_of_jpegs(photograph_folder, photographs):
    files = sorted(photograph_folder.glob("*/*.jpg"))
    assert len(files) == 50
    assert {file.parent.name for file in files} == {name for name, _ in photographs}
    for file in files:
        with Image.open(file) as image:
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert max(image.size) <= 400
