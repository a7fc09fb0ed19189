"""The demo's data for segmentation: mosaics of four tiles, and masks that say which photograph each came from.

    python -m scripts.demo_mosaics outputs/demo/mosaics

writes `train/` and `validation/` as image folders that `datasets.load_dataset` opens with the columns "image" and
"mask". Tiles are cut as `demo_photographs.py` cuts them: no pixel is in both splits.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.demo_photographs import half, photographs, tile_boxes

MOSAICS = {"train": 300, "validation": 100}
SIDE = 128


def mosaic(tiles: list[Image.Image], classes: list[int], rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Four tiles around a random point, and their classes as a mask (mode L)."""
    x, y = (int(value) for value in rng.integers(SIDE // 4, 3 * SIDE // 4, 2))
    image, mask = Image.new("RGB", (SIDE, SIDE)), Image.new("L", (SIDE, SIDE))
    corners = [(0, 0, x, y), (x, 0, SIDE, y), (0, y, x, SIDE), (x, y, SIDE, SIDE)]
    for tile, number, (left, top, right, bottom) in zip(tiles, classes, corners, strict=True):
        image.paste(tile.resize((SIDE, SIDE)).crop((left, top, right, bottom)), (left, top))
        mask.paste(number, (left, top, right, bottom))
    return image, mask


def write_mosaics(folder: Path, counts: dict[str, int]) -> None:
    """Write `folder/SPLIT/NUMBER.jpg`, their masks and `metadata.jsonl`, replacing what is there."""
    for split, count in counts.items():
        pictures = [half(photograph, split) for _, photograph in photographs()]
        target = folder / split
        shutil.rmtree(target, ignore_errors=True)
        (target / "masks").mkdir(parents=True)
        rng = np.random.default_rng(1)
        rows = []
        for number in range(count):
            classes = [int(value) for value in rng.choice(len(pictures), 4, replace=False)]
            tiles = [pictures[c].crop(tile_boxes(pictures[c].size, 1, rng)[0]) for c in classes]
            image, mask = mosaic(tiles, classes, rng)
            image.save(target / f"{number:03d}.jpg", quality=95)
            mask.save(target / "masks" / f"{number:03d}.png")
            rows.append({"file_name": f"{number:03d}.jpg", "mask_file_name": f"masks/{number:03d}.png"})
        (target / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train/ and validation/ go")
    folder = parser.parse_args().folder
    write_mosaics(folder, MOSAICS)
    print(f"{folder}: {', '.join(f'{count} {split}' for split, count in MOSAICS.items())} mosaics")


if __name__ == "__main__":
    main()
