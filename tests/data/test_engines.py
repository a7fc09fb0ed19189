"""The two engines: the same bytes, the choice between them, and what each alone has to keep."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dailymae_hf._native import UNREADABLE
from dailymae_hf.data import BetonLoader, convert_beton
from dailymae_hf.data.beton import open_beton
from dailymae_hf.data.crop import Failures, center_crop
from dailymae_hf.data.engines import native
from dailymae_hf.data.engines.native import NativeEngine
from dailymae_hf.errors import BetonError, MissingDependencyError, RecipeError


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=200)


def tasks() -> set[str]:
    return set(os.listdir("/proc/self/task"))


# ---- the same bytes


@pytest.mark.parametrize("options", [{"center_crop": 224 / 256, "drop_last": False}, {"rank": 1, "world_size": 2}])
@pytest.mark.parametrize("storage", ["ours", "stock", "packed"])
def test_both_engines_give_the_same_bytes(
    storage: str, options: dict[str, Any], our_beton: Path, stock_beton: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ffcv", reason="compares with it")
    path = {"ours": our_beton, "stock": stock_beton, "packed": tmp_path / "packed.beton"}[storage]
    if storage == "packed":
        convert_beton(our_beton, path, "dct", workers=1, progress=False)
    loaders = [
        BetonLoader(path, 3, resolution=96, num_workers=2, return_index=True, engine=engine, **options)
        for engine in ("ffcv", "native")
    ]
    for epoch, resolution in ((0, 96), (5, 63)):
        epochs = []
        for loader in loaders:
            loader.set_epoch(epoch)
            loader.set_resolution(resolution)
            epochs.append(list(loader))
        for a, b in zip(*epochs, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[name], b[name]) for name in a)


# ---- the choice


def test_auto_is_ffcv_where_it_is_installed(our_beton: Path) -> None:
    pytest.importorskip("ffcv", reason="needs ffcv")
    assert type(BetonLoader(our_beton, 2, resolution=32)._engine).__name__ == "FFCVEngine"


def test_an_unknown_engine_is_named(our_beton: Path) -> None:
    with pytest.raises(RecipeError, match="engine: 'opencv'"):
        BetonLoader(our_beton, 2, resolution=32, engine="opencv")


def test_ffcv_asked_for_and_missing_is_an_error(our_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("dailymae_hf.data.ffcv_ext")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "dailymae_hf.data.engines.ffcv", raising=False)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dailymae-hf\[ffcv\]'"):
        BetonLoader(our_beton, 2, resolution=32, engine="ffcv")


def test_loading_needs_neither_ffcv_nor_numba_nor_opencv(our_beton: Path) -> None:
    done = run(
        "import sys\n"
        "for name in ('ffcv', 'numba', 'cv2'): sys.modules[name] = None\n"
        "from dailymae_hf.data import BetonLoader\n"
        "print(sum(len(batch['labels']) for batch in BetonLoader(sys.argv[1], 5, resolution=32)))\n",
        our_beton,
    )
    assert (done.returncode, done.stdout) == (0, "50\n"), done.stderr


# ---- native: threads


def test_threads_live_as_long_as_the_loader(our_beton: Path) -> None:
    before = tasks()
    loader = BetonLoader(our_beton, 5, resolution=32, num_workers=3, engine="native")
    ours = tasks() - before
    assert len(ours) == 3
    for _ in range(2):
        list(loader)
        loader.close()
    assert ours <= tasks()
    del loader
    deadline = time.monotonic() + 5
    while ours & tasks() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not ours & tasks()


def test_a_forked_process_loads_with_threads_of_its_own(our_beton: Path) -> None:
    """The child has the parent's memory but none of its threads: waiting for those would hang, ending them too."""
    done = run(
        "import os, sys, torch; from dailymae_hf.data import BetonLoader\n"
        "loader = BetonLoader(sys.argv[1], 5, resolution=32, num_workers=2, shuffle=False, engine='native')\n"
        "left = iter(loader); whole = [next(left), *left]\n"
        "under_way = iter(loader); next(under_way)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    pairs = zip(whole, loader, strict=True)\n"
        "    same = all(torch.equal(a['pixel_values'], b['pixel_values']) for a, b in pairs)\n"
        "    sys.exit(0 if same else 3)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(under_way)))\n",
        our_beton,
    )
    assert (done.returncode, done.stdout) == (0, "0 9\n"), done.stderr


def test_a_batch_has_its_own_failures(our_beton: Path, tmp_path: Path) -> None:
    """Two batches are decoded at once; what fails in the second is no fault of the first."""
    path = tmp_path / "damaged.beton"
    path.write_bytes(our_beton.read_bytes())
    beton = open_beton(path)
    with path.open("r+b", buffering=0) as stream:
        os.pwrite(stream.fileno(), bytes(int(beton.sizes[7])), int(beton.images["data_ptr"][7]))
    engine = NativeEngine(open_beton(path), center_crop(1.0), 2, pin=False)
    batches = np.arange(12, dtype=np.uint64).reshape(3, 4)
    failures = [decoded.failures for decoded in engine.decode(batches, 4, epoch=0, resolution=32)]
    assert failures[0] is failures[2] is None
    assert failures[1] is not None
    assert (failures[1].count, failures[1].index) == (1, 7)


def test_closing_an_epoch_takes_back_what_is_under_way(our_beton: Path) -> None:
    engine = NativeEngine(open_beton(our_beton), center_crop(1.0), 1, pin=False)
    batches = np.arange(50, dtype=np.uint64).reshape(10, 5)
    whole = list(engine.decode(batches, 5, epoch=0, resolution=64))
    for _ in range(20):
        decoding = engine.decode(batches, 5, epoch=0, resolution=64)
        next(decoding)
        decoding.close()
    again = list(engine.decode(batches, 5, epoch=0, resolution=64))
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole, again, strict=True))


# ---- native: reading ahead


@pytest.mark.parametrize(("sample_bytes", "window"), [(100_000, 64), (64 << 20, 1), (2 << 20, 8)])
def test_pages_are_asked_for_only_while_the_disk_is_waited_for(
    sample_bytes: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, asked = 0, []

    class Table:
        def expect_no_order(self) -> None:
            asked.append(-1)

        def read_ahead(self, rows: np.ndarray) -> None:
            asked.append(int(rows[0]))

    monkeypatch.setattr(native, "_major_faults", lambda: faults)
    batches = np.arange(4 * 600, dtype=np.uint64).reshape(600, 4)
    ahead = native._ReadAhead(Table(), np.full(10, sample_bytes, np.uint64), 4)  # type: ignore[arg-type]
    seen = []
    for rows in ahead.watch(batches):
        seen.append(rows)
        faults += len(seen) == 100
    assert np.array_equal(seen, batches)
    first = 100  # the window's oldest batch at the look that finds the fault
    assert asked == [-1, *range(4 * first, 4 * (first + window + native._PATIENCE), 4)]


# ---- a file that shrinks


def test_a_read_past_the_files_end_is_a_status_and_not_the_end(our_beton: Path, tmp_path: Path) -> None:
    """Without the kernel's handler the process ends by SIGBUS, with no output."""
    path = tmp_path / "shrinks.beton"
    path.write_bytes(our_beton.read_bytes())
    script = (
        "import os, signal, sys, numpy as np\n"
        "from dailymae_hf import _native\n"
        "from dailymae_hf.data.beton import open_beton\n"
        "from dailymae_hf._native.pool import Pool, PoolBatch, SampleTable\n"
        "beton = open_beton(sys.argv[1])\n"
        "table = SampleTable(beton.map(), beton.images, beton.sizes)\n"
        "os.truncate(sys.argv[1], int(beton.images['data_ptr'][20]) // 4096 * 4096)\n"
        "if sys.argv[2] == 'guarded': _native.load().dmae_guard_install()\n"
        "batch = PoolBatch(_native.crop_params(), table, np.arange(50, dtype=np.uint64),\n"
        "                  np.empty((50, 3, 16, 16), np.uint8))\n"
        "pool = Pool(2); pool.submit(batch); pool.wait(batch)\n"
        "first = int(batch.params['first_error'][0])\n"
        "print(first & 255, 15 < first >> 8 <= 20, int(batch.params['error_count'][0]) >= 30)\n"
    )
    guarded = run(script, path, "guarded")
    assert guarded.stdout == f"{UNREADABLE} True True\n", guarded.stderr
    path.write_bytes(our_beton.read_bytes())
    assert run(script, path, "bare").returncode == -7


def test_the_loader_names_the_file_that_shrank(
    our_beton: Path, each_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where damaged samples are to be black: what is gone is not damage."""
    loader = BetonLoader(our_beton, 5, resolution=32, num_workers=1, on_error="zero")
    decode: Callable[..., Iterator[Any]] = loader._engine.decode

    def shrunk(*arguments: Any, **options: Any) -> Iterator[Any]:
        for decoded in decode(*arguments, **options):
            yield decoded._replace(failures=Failures(3, 7, UNREADABLE))

    monkeypatch.setattr(loader._engine, "decode", shrunk)
    with pytest.raises(BetonError, match=rf"{our_beton}: sample 7 .* the file was cut"):
        next(iter(loader))


def test_a_file_that_was_cut_is_not_called_damaged(our_beton: Path, tmp_path: Path, each_engine: str) -> None:
    """Of the last page there is a part: its zeros are read as a damaged sample."""
    path = tmp_path / "shrinks.beton"
    path.write_bytes(our_beton.read_bytes())
    loader = BetonLoader(path, 5, resolution=32, num_workers=1, shuffle=False)
    os.truncate(path, int(loader.dataset.images["data_ptr"][20]) + 3)
    with pytest.raises(BetonError, match=rf"{path}: .* while it was read"):
        list(loader)


# ---- memory


def test_a_lost_loader_leaves_no_mapping(our_beton: Path, each_engine: str) -> None:
    """Nor before Python's collector of cycles comes by: until then the file's pages count as the process's memory."""

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(our_beton))

    gc.disable()
    try:
        before = mappings()
        loader = BetonLoader(our_beton, 5, resolution=32, num_workers=2)
        next(iter(loader))
        assert mappings() > before
        loader.close()
        del loader
        assert mappings() == before
    finally:
        gc.enable()


# ---- ffcv


def test_two_loaders_at_once_where_numba_cannot(our_beton: Path) -> None:
    """numba aborts the process when its `workqueue` layer is entered twice: there the loaders take turns."""
    pytest.importorskip("ffcv", reason="needs ffcv")
    done = run(
        "import sys; from dailymae_hf.data import BetonLoader\n"
        "a, b = (BetonLoader(sys.argv[1], 2, resolution=96, num_workers=2, seed=s, engine='ffcv') for s in (0, 1))\n"
        "for _ in range(3):\n"
        "    for _pair in zip(a, b): pass\n"
        "import numba; print(numba.threading_layer())\n",
        our_beton,
        NUMBA_NUM_THREADS="2",
        NUMBA_THREADING_LAYER="workqueue",
    )
    assert (done.returncode, done.stdout) == (0, "workqueue\n"), done.stderr


def test_a_second_loader_compiles_nothing(our_beton: Path, stock_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba compiles stays in memory: 1.7 MB a loader, were each to compile its own."""
    pytest.importorskip("ffcv", reason="needs ffcv")
    from dailymae_hf.data.engines import ffcv

    def epoch(path: Path, **options: Any) -> torch.Tensor:
        loader = BetonLoader(path, 10, resolution=32, num_workers=1, shuffle=False, engine="ffcv", **options)
        return torch.cat([batch["pixel_values"] for batch in loader])

    expected = epoch(our_beton, center_crop=0.5), epoch(our_beton, seed=3)
    monkeypatch.setattr(ffcv, "Graph", None)
    assert torch.equal(epoch(our_beton, seed=3), expected[1])
    assert torch.equal(epoch(our_beton, center_crop=0.5), expected[0])
