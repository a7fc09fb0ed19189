"""A Hub for the tests of this room, and this process pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from dailymae_hf.data import write_beton
from tests.support.loopback_hub import LoopbackHub


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        yield server


@pytest.fixture
def online(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """The Hub, with this process's client talking to it as its user; the client's own waits take no time."""
    constants = huggingface_hub.constants
    for name, value in {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "no-token"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    return hub


@pytest.fixture(scope="module")
def files(tmp_path_factory, photograph_folder):
    folder = tmp_path_factory.mktemp("betons")
    for name, options in (("train", {"quality": 90, "max_resolution": 160}), ("validation", {"label_column": None})):
        write_beton(photograph_folder, folder / f"{name}.beton", workers=1, progress=False, **options)
    return folder
