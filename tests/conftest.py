"""What every test room shares: no network, the packages' own photographs, and the GPU mark."""

import os
import signal

# A shell starts background jobs with SIGINT ignored, and their processes inherit that: tests of Ctrl-C would wait.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any Hugging Face package is imported, which read these once. A test that talks to a Hub on the loopback
# interface starts a process of its own with other values.
for _offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_offline, "1")

from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from scripts.demo_photographs import photographs as load_photographs  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def photographs() -> list[tuple[str, Image.Image]]:
    """Ten colour photographs as `(name, RGB image)`, 451x300 to 1411x1411 pixels. Do not change them in place."""
    return load_photographs()


@pytest.fixture(scope="session")
def photograph_folder(photographs: list[tuple[str, Image.Image]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of 50 JPEGs: per photograph (= class) the whole at 400 pixels or less, and its four quarters."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photograph in photographs:
        (folder / name).mkdir()
        whole = photograph.copy()
        whole.thumbnail((400, 400))
        width, height = whole.size
        left, top = width // 2, height // 2
        boxes = ((0, 0, width, height), (0, 0, left, top), (left, 0, width, top), (0, top, left, height),
                 (left, top, width, height))  # fmt: skip
        for number, box in enumerate(boxes):
            whole.crop(box).save(folder / name / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Somebody who follows the pages in a new folder: `tests.support.newcomer.Newcomer`."""
    from tests.support.loopback_hub import LoopbackHub
    from tests.support.newcomer import Newcomer

    with LoopbackHub() as hub:
        yield Newcomer(tmp_path_factory.mktemp("newcomer"), hub)
