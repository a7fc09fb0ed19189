"""Files that the data tests share: the demo's photographs as .beton, written by us and by stock ffcv."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dailymae_hf.data import BetonLoader, write_beton


@pytest.fixture(params=["native", "ffcv"])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test once with every engine as the loader's default."""
    if request.param == "ffcv":
        pytest.importorskip("ffcv", reason="needs ffcv")
    monkeypatch.setitem(BetonLoader.__init__.__kwdefaults__, "engine", request.param)
    return request.param


@pytest.fixture(scope="session")
def our_beton(photograph_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 photographs in 10 classes, jpg mode."""
    path = tmp_path_factory.mktemp("ours") / "ours.beton"
    write_beton(photograph_folder, path, workers=2, progress=False)
    return path


@pytest.fixture(scope="session")
def stock_write() -> Callable[..., None]:
    """`stock_write(path, RGB images, mode="jpg")`: stock ffcv's writer, the label being the image's number."""
    pytest.importorskip("ffcv", reason="needs ffcv")
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    def write(path: Path, images: list[Image.Image], *, mode: str = "jpg") -> None:
        fields = {
            "picture": RGBImageField(write_mode=mode, jpeg_quality=90, smart_threshold=60_000),
            "number": IntField(),
        }
        samples = [(np.asarray(image), i) for i, image in enumerate(images)]
        DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(samples)

    return write


@pytest.fixture(scope="session")
def stock_beton(
    photographs: list[tuple[str, Image.Image]],
    stock_write: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The ten photographs at 300 pixels, JPEG and raw mixed, as stock ffcv writes them; label = number."""
    path = tmp_path_factory.mktemp("stock") / "stock.beton"
    images = []
    for number, (_, photograph) in enumerate(photographs):
        small = photograph.copy()
        small.thumbnail((300, 300) if number % 2 else (120, 120))
        images.append(small)
    stock_write(path, images, mode="smart")
    return path
