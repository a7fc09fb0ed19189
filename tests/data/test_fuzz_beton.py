"""A few thousand damaged files of the fuzzer in `fuzz_beton.py`."""

from pathlib import Path

from tests.data.fuzz_beton import fuzz


def test_damaged_tables_and_facts_are_refused_or_read(tmp_path: Path) -> None:
    count = 3000
    accepted = fuzz(count, 20261124, tmp_path)
    assert 0 < accepted < count / 2, "the damage reaches the checks"
