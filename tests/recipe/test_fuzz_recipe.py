"""Some hundreds of damaged recipes of the fuzzer in `fuzz_recipe.py`."""

from pathlib import Path

from tests.recipe.fuzz_recipe import fuzz


def test_damaged_recipes_are_refused_or_read(tmp_path: Path) -> None:
    count = 600
    accepted = fuzz(count, 20261124, tmp_path)
    assert 0 < accepted < count / 4, "the damage reaches the checks"
