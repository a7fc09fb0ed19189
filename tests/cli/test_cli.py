"""The command line: what it prints, its exit codes, and errors in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dailymae_hf.cli.main import main
from dailymae_hf.data.beton import open_beton


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        folder = tmp_path / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((60 + number, 40), 50).convert("RGB").save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def beton(photos: Path, tmp_path: Path) -> Path:
    assert main(["write", str(photos), str(tmp_path / "x.beton"), "--workers", "1"]) == 0
    return tmp_path / "x.beton"


def test_write_and_inspect(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beton = tmp_path / "x.beton"
    assert main(["write", str(photos), str(beton), "--workers", "1"]) == 0
    assert "6 images" in capsys.readouterr().out
    assert main(["inspect", str(beton)]) == 0
    out = capsys.readouterr().out
    assert "6 in 2 classes" in out
    assert "6 jpg" in out
    assert "60 to 65, median 62.5" in out
    assert '["cat", "dog"]' in out


def test_inspect_as_json(beton: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(beton), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["num_samples"], info["facts"]["class_names"]) == (6, ["cat", "dog"])


def test_write_options_reach_the_writer(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    options = [
        "--mode",
        "smart",
        "--smart-threshold",
        "7300",
        "--max-resolution",
        "64",
        "--no-labels",
        "--workers",
        "1",
    ]
    assert main(["write", str(photos), str(out), *options]) == 0
    file = open_beton(out)
    assert file.labels is None
    assert file.images["width"].max() == 64
    assert set(file.images["mode"].tolist()) == {0, 1}
    assert main(["write", str(photos), str(out), "--max-resolution", "0", "--workers", "1"]) == 0
    assert open_beton(out).images["width"].max() == 65


def test_write_stops_or_skips(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat" / "0.png").write_bytes(b"junk")
    arguments = ["write", str(photos), str(tmp_path / "x.beton"), "--workers", "1"]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dailymae: ")
    assert "image 0 is broken" in error
    assert main([*arguments, "--on-error", "skip"]) == 0
    assert "1 broken images skipped:" in capsys.readouterr().out
    assert len(open_beton(tmp_path / "x.beton")) == 5


def test_shards(photos: Path, tmp_path: Path) -> None:
    for part in ("0/2", "1/2"):
        assert main(["write", str(photos), str(tmp_path / "x.beton"), "--shard", part, "--workers", "1"]) == 0
    assert [len(open_beton(path)) for path in sorted(tmp_path.glob("*.beton"))] == [3, 3]


def test_verify(beton: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(beton)]) == 0
    assert "6 samples, 0 broken" in capsys.readouterr().out
    file = open_beton(beton)
    with beton.open("r+b") as stream:
        os.pwrite(stream.fileno(), bytes(100), int(file.images["data_ptr"][2]))
    assert main(["verify", str(beton)]) == 1
    out = capsys.readouterr().out
    assert "6 samples, 1 broken" in out
    assert "\n  2: " in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "nowhere.beton"],
        ["verify", "{folder}"],
        ["write", "{folder}", "{folder}/x.beton"],
        ["write", "{folder}", "{folder}/x.beton", "--quality", "200"],
        ["recipes", "nowhere"],
        ["write", "{folder}", "x.beton", "--workers", "-3"],
        ["write", "{folder}", "x.beton", "--shard", "3/3"],
        ["write", "{folder}", "x.beton", "--split-off", "1.5"],
        ["write", "{folder}", "x.beton", "--compress-probability", "nan"],
        ["verify", "x.beton", "--workers", "-1"],
        ["verify", "x.beton", "--workers", "two"],
        ["convert", "x.beton", "y.beton", "--mode", "dct", "--workers", "0"],
        ["plan", "--recipe", "demo", "--mfu", "0.4", "--peak-tflops", "100", "--gpus", "0"],
        ["plan", "--recipe", "demo", "--mfu", "nan", "--peak-tflops", "100"],
        ["plan", "--recipe", "demo", "--mfu", "0.4", "--peak-tflops", "-1"],
        ["plan", "--recipe", "demo", "--mfu", "0.4", "--peak-tflops", "1", "--images", "0"],
        ["plan", "--recipe", "nowhere", "--mfu", "0.4", "--peak-tflops", "1"],
        ["export", "nowhere", "out", "--to", "keras"],
        ["export", "nowhere", "out", "--to", "timm"],
        ["push", "nowhere", "--repo", "a/b"],
    ],
)
def test_errors_are_one_line(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("dailymae: ")
    assert "Traceback" not in captured.err
    wrong = next((word for word in arguments if word.startswith("--") and "--" + word[2:] in captured.err), None)
    numbers = {"--workers", "--shard", "--split-off", "--compress-probability", "--gpus"} & set(arguments)
    assert not numbers or wrong in numbers, "the option is named"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["write", "only-a-source"]])
def test_usage_errors(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_help_needs_neither_torch_nor_ffcv() -> None:
    script = (
        "import sys\n"
        "from dailymae_hf.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'ffcv', 'numba', 'datasets', 'cv2'} & set(sys.modules))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.endswith("set()\n")
