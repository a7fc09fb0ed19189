"""Study files: what they may say, and which runs they mean."""

import json
from pathlib import Path

import pytest
import yaml

from studies.report import RESULTS, collect
from studies.runner import Results
from studies.study import QUESTIONS, Study, StudyError, merged, same

GOOD = {"question": "Why?", "recipe": "tiny64.yaml", "seeds": [0, 1], "reference": "a", "arms": {"a": {}, "b": {}}}


def _written(folder: Path, **changes: object) -> str:
    path = folder / "asked.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (GOOD | changes).items() if value is not None}))
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in QUESTIONS.glob("*.yaml")))
def test_published_studies_load(name: str):
    study = Study.load(name)
    runs = list(study.runs())
    assert {run.arm for run in runs} == set(study.arms)
    keys = [json.dumps(run.key) for run in runs]
    assert len(set(keys)) == len(keys)


def test_runs_go_seed_by_seed(tmp_path: Path):
    assert [(run.seed, run.arm) for run in Study.load(_written(tmp_path)).runs()] == [
        (0, "a"),
        (0, "b"),
        (1, "a"),
        (1, "b"),
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sedes": [1]}, "sedes: unknown key"),
        ({"question": None}, "question is missing"),
        ({"arms": {1.5e-3: {}}}, "0.0015 is no text"),
        ({"reference": "c"}, "'c' is not one of a, b"),
    ],
)
def test_what_a_study_may_not_say(tmp_path: Path, changes: dict[str, object], told: str):
    with pytest.raises(StudyError, match=told):
        Study.load(_written(tmp_path, **changes))


def test_an_arm_changes_parts_of_mappings_but_whole_schedules():
    base = {"model_overrides": {"a": 1, "b": 2}, "resolution_schedule": {"kind": "constant", "resolution": 64}, "x": 1}
    changes = {"model_overrides": {"b": 3}, "resolution_schedule": {"kind": "palindrome"}}
    assert merged(base, changes) == {
        "model_overrides": {"a": 1, "b": 3},
        "resolution_schedule": {"kind": "palindrome"},
        "x": 1,
    }


def test_an_arm_has_seeds_judge_and_training_file_of_its_own(tmp_path: Path):
    arms = {"a": {}, "b": {"seeds": [1], "judge": {"augment": "three"}, "train_file": {"quality": 50}, "bf16": False}}
    study = Study.load(_written(tmp_path, arms=arms, judge={"epochs": 2}))
    assert [(run.seed, run.arm) for run in study.runs()] == [(0, "a"), (1, "a"), (1, "b")]
    a, b = list(study.runs())[1:]
    assert (a.judge, b.judge) == ({"epochs": 2}, {"epochs": 2, "augment": "three"})
    assert (a.train_file, b.train_file) == ({}, {"quality": 50})
    assert b.recipe == a.recipe | {"bf16": False}


def test_lines_of_plain_files_keep_their_runs(tmp_path: Path):
    plain, coarse = Study.load(
        _written(tmp_path, seeds=[0], arms={"a": {}, "b": {"train_file": {"quality": 50}}})
    ).runs()
    line = {key: value for key, value in plain.key.items() if key != "train_file"}
    assert same(plain.key, line)
    assert not same(coarse.key, line)
    assert same(coarse.key, coarse.key)
    assert not same(plain.key, coarse.key)


def test_published_lines_are_still_those_of_the_published_studies():
    lines = Results(RESULTS).lines()
    arms = collect(Study.load("pretraining"), lines)
    assert {0, 1} <= arms["faithful"].lines.keys()
    assert {0, 1} <= arms["never trained"].lines.keys()
