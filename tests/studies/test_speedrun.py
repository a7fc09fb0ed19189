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


def test_a_slower_one_is_no_record_whatever_its_score():
    arms = [_arm("faithful", [0.15, 0.151], 100), _arm("first", [0.19, 0.191], 50), _arm("slower", [0.29, 0.291], 60)]
    assert [row.name for row in records(arms) if row.stands] == ["first"]


def test_the_clock_ends_with_the_training():
    faithful, entry = _arm("faithful", [0.15, 0.151, 0.152], 102), _arm("entry", [0.19, 0.191, 0.192], 52)
    for arm, seconds in ((faithful, 100), (entry, 40)):
        for seed in (0, 1):  # the third run is older than the clock
            arm.lines[seed]["training_seconds"] = seconds
    rows = records([faithful, entry])
    assert rows[1].seconds.mean == 40
    assert (rows[1].speed_up.mean, rows[1].speed_up.count) == (2.5, 2)


def test_the_table_says_so():
    text = markdown(records([_arm("faithful", [0.15, 0.152], 100), _arm("one", [0.2], 50)]))
    assert "| 0 | faithful | 2 | 15.10 ± 1.27 | target | 1,000 |" in text
    assert "| 1 | one | 1 | 20.00 | one seed |" in text
    assert text.rstrip().endswith("| no |")
