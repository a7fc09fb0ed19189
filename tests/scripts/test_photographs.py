"""The photographs that tests and demo stand on: in the wheels, in colour, and not twice the same."""

import numpy as np
from PIL import Image

from scripts.demo_photographs import SMALLEST_TILE, cut_tiles, half, half_box, tile_boxes


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


def test_training_and_validation_halves_share_no_pixel(photographs):
    for name, photograph in photographs:
        owner = np.zeros((photograph.height, photograph.width), int)
        for split in ("train", "validation"):
            left, top, right, bottom = half_box(photograph.size, split)
            owner[top:bottom, left:right] += 1
            part = half(photograph, split)
            assert max(part.size) <= 640
            assert min(part.size) >= 224, f"{name}: no room for the largest tile"
            if max(right - left, bottom - top) <= 640:
                assert part.tobytes() == photograph.crop((left, top, right, bottom)).tobytes()
        assert (owner == 1).all(), f"{name}: the halves overlap or leave pixels out"


def test_tile_boxes_fill_the_picture_and_stay_inside():
    boxes = np.array(tile_boxes((300, 240), 200, np.random.default_rng(1)))
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= 300).all()
    assert (bottom <= 240).all()
    assert (right - left == bottom - top).all()
    assert (right - left).min() >= SMALLEST_TILE
    assert len(np.unique(boxes, axis=0)) > 150
    seen = np.zeros((240, 300), bool)
    for x0, y0, x1, y1 in boxes:
        seen[y0:y1, x0:x1] = True
    assert seen.mean() > 0.9


def test_tiles_are_an_image_folder_and_the_same_each_time(tmp_path):
    for run in ("a", "b"):
        assert cut_tiles(tmp_path / run, {"train": 3, "validation": 2}) == {"train": 30, "validation": 20}
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").glob("*/*/*.jpg"))
    assert len(files) == 50
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_cutting_again_leaves_nothing_of_the_last_time(tmp_path):
    cut_tiles(tmp_path, {"train": 4})
    assert cut_tiles(tmp_path, {"train": 2}) == {"train": 20}
