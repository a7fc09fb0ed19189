"""The demo's data: colour photographs that packages ship, cut into an image folder of tiles.

    python scripts/demo_photographs.py outputs/demo/photographs

writes `train/CLASS/*.jpg` and `validation/CLASS/*.jpg`. The class is the photograph that a tile was cut from; training
tiles come from its first half and validation tiles from its second, so no pixel is in both. Nothing is downloaded:
scikit-image and scikit-learn carry these ten photographs inside their wheels (`skimage.data` has more, but only
behind pooch and the network).
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

# Every colour photograph in the two wheels, once: the motorcycle is a stereo pair (its left picture serves), and the
# colour wheel, the logo and the phantom are drawings. By name in `skimage.data`, or file in scikit-learn.
_SKIMAGE = {
    "astronaut": "astronaut",
    "cat": "cat",
    "coffee": "coffee",
    "hubble_deep_field": "hubble_deep_field",
    "immunohistochemistry": "immunohistochemistry",
    "motorcycle": "stereo_motorcycle",
    "retina": "retina",
    "rocket": "rocket",
}
_SKLEARN = {"china": "china.jpg", "flower": "flower.jpg"}

TILES_PER_PHOTOGRAPH = {"train": 100, "validation": 30}
LONGEST_SIDE = 640
SMALLEST_TILE, LARGEST_TILE = 112, 224  # pixels; 224 is all that fits into half of the smallest photograph

Box = tuple[int, int, int, int]  # left, top, right, bottom, as Pillow's crop takes it


def photographs() -> list[tuple[str, Image.Image]]:
    """Load them as `(name, RGB image)`, sorted by name; the sizes run from 451x300 to 1411x1411."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    pixels = {name: getattr(data, function)() for name, function in _SKIMAGE.items()}
    pixels["motorcycle"] = pixels["motorcycle"][0]  # (left, right, disparity)
    pixels |= {name: load_sample_image(file) for name, file in _SKLEARN.items()}
    return [(name, Image.fromarray(pixels[name])) for name in sorted(pixels)]


def half_box(size: tuple[int, int], split: str) -> Box:
    """The part of a photograph of `size` (width, height) that `split` may see: half of its longer side."""
    width, height = size
    if width >= height:
        return (0, 0, width // 2, height) if split == "train" else (width // 2, 0, width, height)
    return (0, 0, width, height // 2) if split == "train" else (0, height // 2, width, height)


def half(photograph: Image.Image, split: str) -> Image.Image:
    """`split`'s half, scaled down to a longest side of 640 pixels: a tile of more would show a plain surface."""
    part = photograph.crop(half_box(photograph.size, split))  # first: scaling mixes neighbouring pixels
    part.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return part


def tile_boxes(size: tuple[int, int], count: int, rng: np.random.Generator) -> list[Box]:
    """`count` squares of random size and place in a picture of `size` (width, height); they overlap each other."""
    boxes = []
    for _ in range(count):
        side = int(rng.integers(SMALLEST_TILE, min(LARGEST_TILE, *size), endpoint=True))
        left, top = (int(rng.integers(0, length - side, endpoint=True)) for length in size)
        boxes.append((left, top, left + side, top + side))
    return boxes


def cut_tiles(folder: Path, tiles_per_photograph: dict[str, int]) -> dict[str, int]:
    """Write `folder/SPLIT/CLASS/NUMBER.jpg`, replacing what is there; the same tiles each time. Returns the counts."""
    counts = {}
    for split, count in tiles_per_photograph.items():
        shutil.rmtree(folder / split, ignore_errors=True)
        rng = np.random.default_rng(0)
        for name, photograph in photographs():
            target = folder / split / name
            target.mkdir(parents=True)
            part = half(photograph, split)
            for number, box in enumerate(tile_boxes(part.size, count, rng)):
                part.crop(box).save(target / f"{number:03d}.jpg", quality=95)
        counts[split] = len(list((folder / split).glob("*/*.jpg")))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the image folders train/ and validation/ go")
    arguments = parser.parse_args()
    for split, count in cut_tiles(arguments.folder, TILES_PER_PHOTOGRAPH).items():
        print(f"{arguments.folder / split}: {count} tiles of {len(_SKIMAGE) + len(_SKLEARN)} photographs")


if __name__ == "__main__":
    main()
