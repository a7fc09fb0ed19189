"""The speedrun's table: what counts as a record."""

from typing import Any

from studies.report import Arm
from studies.speedrun.table import markdown, records


def _arm(name: str, scores: list[float], seconds: float) -> Arm:
    lines: dict[int, dict[str, Any]] = {
        seed: {
            "scores": {"linear": score},
            "processor_seconds": seconds + seed,
            "images": 1000,
            "date": "2026-11-24T00:00:00",
        }
        for seed, score in enumerate(scores)
    }
    return Arm(name, lines)


def test_a_record_is_above_the_target_beyond_doubt():
    faithful = _arm("faithful", [0.150, 0.152, 0.154], 100)
    sure = _arm("sure", [0.160, 0.161, 0.162], 50)
    doubtful = _arm("doubtful", [0.150, 0.160, 0.154], 50)
    single = _arm("single", [0.9], 10)
    rows = {row.name: row for row in records([faithful, sure, doubtful, single, Arm("not run")])}
    assert [name for name, row in rows.items() if row.stands] == ["sure"]
    assert rows["single"].p is None
    assert 1.9 < rows["sure"].speed_up.mean < 2.0
    assert "not run" not in rows


def test_the_table_says_so():
    text = markdown(records([_arm("faithful", [0.15, 0.152], 100), _arm("one", [0.2], 50)]))
    assert "| 0 | faithful | 2 | 15.10 ± 1.27 | target | 1,000 |" in text
    assert "| 1 | one | 1 | 20.00 | one seed |" in text
    assert text.rstrip().endswith("| no |")
