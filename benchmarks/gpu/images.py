"""The images that the pieces load: noise with the fall-off of photographs, written by our own command."""

from pathlib import Path

import numpy as np
from PIL import Image

from dailymae_hf.cli.main import main as dailymae
from gpu.scale import Scale


def betons(work: Path, scale: Scale) -> dict[str, Path]:
    """One .beton per storage mode, with 8 classes; written when first asked for."""
    files = {mode: work / f"images-{scale.images}-{mode}.beton" for mode in ("jpg", "dct")}
    folder = work / f"images-{scale.images}"
    for mode, path in files.items():
        if not path.exists():
            if not folder.exists():
                _draw(folder, scale)
            code = dailymae(["write", str(folder), str(path), "--mode", mode, "--max-resolution", "0"])
            if code:
                raise SystemExit(f"dailymae write ended with {code}")
    return files


def _draw(folder: Path, scale: Scale) -> None:
    """JPEGs of quality 90 whose amplitudes fall with frequency as those of photographs do."""
    side = scale.photo_side
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) + 1 / side
    for number in range(scale.images):
        rng = np.random.default_rng(number)
        gray, colour = (
            np.fft.irfft2(rng.standard_normal(frequency.shape) * np.exp(2j * np.pi * rng.random(frequency.shape)) / f)
            for f in (frequency, frequency**1.5)
        )
        tint = rng.standard_normal(3)
        picture = 128 + 45 * gray[..., None] / gray.std() + 20 * colour[..., None] / colour.std() * tint
        path = folder / f"class_{number % 8}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90)
