"""Facts of a wrong type are an error where the file is opened, not where they are used."""

import math
from pathlib import Path
from typing import Any

import pytest

from dailymae_hf.data.beton import MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.errors import BetonError

WRONG: list[tuple[str, Any]] = [
    ("mean", "abc"),
    ("mean", [0.5, 0.5]),
    ("mean", [0.5, 0.5, 2.0]),
    ("mean", [True, 0.5, 0.5]),
    ("std", [0.1, -0.1, 0.1]),
    ("std", None),
    ("class_names", 5),
    ("class_names", ["a", 5]),
    ("shard", [0, 0]),
    ("shard", [2, 2]),
    ("shard", [0]),
    ("shard", None),
    ("quality", "90"),
    ("quality", 0),
    ("max_resolution", -1),
    ("carried_over", -3),
    ("skipped", 1.5),
    ("skipped_images", [[0]]),
    ("measured_images", [1]),
    ("measured_pixels", 0),
    ("measured_sums", {"totals": [1, 2, 3]}),
    ("mode", 1),
    ("written_by", {}),
]


def file_with(folder: Path, facts: dict[str, Any]) -> Path:
    path = folder / "x.beton"
    with BetonOutput(path, 1, with_labels=True) as output:
        output.append(MODE_RAW, 1, 1, bytes(3), 0)
        output.commit(facts)
    return path


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_fact_of_a_wrong_kind_is_named(name: str, value: Any, tmp_path: Path) -> None:
    path = file_with(tmp_path, {name: value})
    with pytest.raises(BetonError, match=f"^{path}: the facts block at byte [0-9]+: {name} is .*, not "):
        open_beton(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["mean", "a fact of tomorrow"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    path = file_with(tmp_path, {name: [value] * 3})
    with pytest.raises(BetonError, match=r"facts block.*(NaN|Infinity)"):
        open_beton(path)


def test_facts_of_other_versions_are_kept(tmp_path: Path) -> None:
    facts = {"class_names": None, "a fact of tomorrow": {"deep": [1, None]}, "max_resolution": None}
    assert open_beton(file_with(tmp_path, facts)).facts == facts
