"""verify_beton finds every broken sample and no other."""

import os
from pathlib import Path

import pytest

from dailymae_hf.data import verify_beton
from dailymae_hf.data.beton import MODE_JPG, MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.errors import BetonError


@pytest.mark.parametrize("name", ["our_beton", "stock_beton"])
def test_whole_files_are_whole(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name)
    report = verify_beton(path, progress=False)
    assert report.broken == []
    assert report.num_samples == len(open_beton(path))


def test_broken_samples_are_listed(our_beton: Path, tmp_path: Path) -> None:
    """Zeros all over, an end that is missing, a picture of another size, a raw sample and a label out of range."""
    good = open_beton(our_beton)
    path = tmp_path / "x.beton"
    with our_beton.open("rb") as stream, BetonOutput(path, 8, with_labels=True) as output:
        for number in range(6):
            data = good.read(stream, number)
            width, height = good.images["width"][number], good.images["height"][number]
            if number == 1:
                data = bytes(len(data))
            if number == 2:
                data = data[: len(data) // 2] + bytes(len(data) // 2)
            if number == 4:
                width += 8
            output.append(MODE_JPG, width, height, data, 10 if number == 5 else 0)
        output.append(MODE_RAW, 3, 2, bytes(18), 9)
        output.commit({"class_names": list("abcdefghij")})
    for workers in (1, 3):
        report = verify_beton(path, workers=workers, progress=False)
        assert report.num_samples == 7
        assert [index for index, _ in report.broken] == [1, 2, 4, 5]
        assert "label 10" in report.broken[-1][1]


def test_damaged_tables_are_refused(our_beton: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.beton"
    path.write_bytes(our_beton.read_bytes())
    os.truncate(path, path.stat().st_size - 30)
    with pytest.raises(BetonError):
        verify_beton(path, progress=False)
