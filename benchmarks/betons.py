"""The .beton files that benchmarks read: the same photographs written by stock ffcv and by us in both modes."""

from pathlib import Path
from typing import Any


class Photos:
    """Indexable (image, label) pairs of JPEG files, as stock ffcv's writer asks for them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        from PIL import Image

        return Image.open(self.paths[i]).convert("RGB"), 0


def write_stock(paths: list[Path], out: Path, *, workers: int = -1, quality: int = 90) -> None:
    """Write `paths` with stock ffcv, longest side 500."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField("jpg", max_resolution=500, jpeg_quality=quality), "label": IntField()}
    DatasetWriter(str(out), fields, num_workers=workers).from_indexed_dataset(Photos(paths))


def write_ours(
    paths: list[Path], out: Path, mode: str, *, workers: int | None = None, quality: int = 90, transcode: str = "auto"
) -> None:
    """Write `paths` with write_beton in storage mode `mode`; JPEGs' coefficients are carried over where they can be."""
    from dailymae_hf.data import write_beton

    listed = out.with_suffix(".csv")
    listed.write_text("path,label\n" + "".join(f"{path.resolve()},photograph\n" for path in paths))
    write_beton(
        listed,
        out,
        mode=mode,
        max_resolution=500,
        workers=workers,
        quality=quality,
        transcode=transcode,
        progress=False,
    )


def ensure_betons(data: Path, paths: list[Path]) -> dict[str, float]:
    """Write stock.beton, jpg.beton and dct.beton into `data` where missing; return bytes per image of each kind."""
    sizes = {"photos": sum(path.stat().st_size for path in paths) / len(paths)}
    for name in ("stock", "jpg", "dct"):
        beton = data / f"{name}.beton"
        if not beton.exists():
            write_stock(paths, beton) if name == "stock" else write_ours(paths, beton, name)
        sizes[name] = beton.stat().st_size / len(paths)
    return sizes
