"""How close crop decode comes to a float reference, per resolution and chroma layout, beside ffcv's own decoder.

    python benchmarks/fidelity.py [--out benchmarks/results/fidelity.json]

The reference decodes the whole photograph with Pillow and resizes the exact box with Pillow's antialiased bilinear
filter in floating point. Reported per group of crops: mean absolute error in levels of 255 and PSNR in dB, averaged
over photographs. Crops at least twice as large as the output in both directions go through the scaled inverse DCT.
"""

import argparse
import io
import json
import random
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from contenders import random_crop_box
from environment import environment
from numpy.typing import NDArray
from photos import write_photos
from PIL import Image

from dailymae_hf._native import crop_decode
from dailymae_hf._native.codec import pack_jpeg

LAYOUTS = {"4:4:4": "4:4:4", "4:2:2": "4:2:2", "4:2:0": "4:2:0", "grayscale": None}
RESOLUTIONS = (224, 192, 160, 128, 96)
Box = tuple[float, float, float, float]


def encode(image: Image.Image, layout: str, quality: int) -> bytes:
    """`image` as a JPEG with the chroma layout's sampling."""
    out = io.BytesIO()
    subsampling = LAYOUTS[layout]
    if subsampling is None:
        image.convert("L").save(out, "JPEG", quality=quality)
    else:
        image.save(out, "JPEG", quality=quality, subsampling=subsampling)
    return out.getvalue()


def reference(decoded: Image.Image, box: Box, resolution: int) -> NDArray[np.float32]:
    """(3, resolution, resolution) float32 levels: `decoded` resized on `box` without rounding."""
    planes = [
        channel.convert("F").resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
        for channel in decoded.split()
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def ffcv_resize(decoded: Image.Image, box: tuple[int, ...], resolution: int) -> NDArray[np.uint8]:
    """What ffcv's RandomResizedCropRGBImageDecoder makes of the decoded photograph: OpenCV's area filter."""
    from ffcv.libffcv import resize_crop

    source = np.ascontiguousarray(np.asarray(decoded))
    out = np.empty((resolution, resolution, 3), np.uint8)
    left, top, right, bottom = box
    resize_crop(source, top, bottom, left, right, out)
    return out.transpose(2, 0, 1)


def errors(image: NDArray[Any], exact: NDArray[np.float32]) -> tuple[float, float]:
    """Mean absolute error in levels and PSNR in dB."""
    difference = image.astype(np.float64) - exact
    return float(np.abs(difference).mean()), float(10 * np.log10(255**2 / max((difference**2).mean(), 1e-12)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--folder", type=Path, help="JPEG photographs of yours")
    parser.add_argument("--count", type=int, default=200, help="photographs")
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    paths = write_photos(args.data / "4x3" / "photos", count=1000, folder=args.folder)[: args.count]
    found: dict[tuple[str, int, str], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for number, path in enumerate(paths):
        photograph = Image.open(path).convert("RGB")
        for layout in LAYOUTS:
            data = encode(photograph, layout, args.quality)
            packed = pack_jpeg(data)
            decoded = Image.open(io.BytesIO(data)).convert("RGB")
            width, height = decoded.size
            for resolution in RESOLUTIONS:
                rng = random.Random(number)
                box = random_crop_box(width, height, (0.2, 1.0), rng)
                crop = (box[0], box[1], box[2] - box[0], box[3] - box[1])
                scaled = min(crop[2:]) >= 2 * resolution
                exact = reference(decoded, tuple(map(float, box)), resolution)  # type: ignore[arg-type]
                group = found[layout, resolution, "scaled DCT" if scaled else "full DCT"]
                for mode, stored in (("jpg", data), ("dct", packed)):
                    size = (resolution, resolution)
                    ours = crop_decode(stored, crop, size, mode=mode, height=height, width=width)  # type: ignore[arg-type]
                    group[f"ours, {mode}"].append(errors(ours, exact))
                group["ffcv"].append(errors(ffcv_resize(decoded, box, resolution), exact))

    rows = []
    for (layout, resolution, scale), contenders in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])):
        for name, values in contenders.items():
            row = {
                "layout": layout,
                "resolution": resolution,
                "inverse_dct": scale,
                "decoder": name,
                "crops": len(values),
                "mean_absolute_error": round(statistics.mean(v[0] for v in values), 3),
                "psnr_db": round(statistics.mean(v[1] for v in values), 2),
            }
            rows.append(row)
            print(
                f"{layout:10s} {resolution:4d} {scale:10s} {name:10s} {row['crops']:4d} crops  "
                f"MAE {row['mean_absolute_error']:6.3f}  PSNR {row['psnr_db']:6.2f} dB"
            )
    if args.out:
        args.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
