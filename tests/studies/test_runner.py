"""A study from its file to its table, with runs as commands."""

import json
from pathlib import Path

import pytest
import yaml

from studies import report, runner, study
from studies.__main__ import main

RECIPE = {
    "image_size": 32,
    "patch_size": 8,
    "model_overrides": {
        **{f"{part}hidden_size": 32 for part in ("", "decoder_")},
        **{f"{part}intermediate_size": 64 for part in ("", "decoder_")},
        **{f"{part}num_attention_heads": 2 for part in ("", "decoder_")},
        **{f"{part}num_hidden_layers": 1 for part in ("", "decoder_")},
    },
    "num_train_epochs": 1,
    "per_device_train_batch_size": 8,
    "online_probe": False,
    "reconstruction_every_n_epochs": 0,
    "save_strategy": "no",
    "report_to": "none",
}


def test_a_study_runs_resumes_and_keeps_its_failures(
    tmp_path: Path, photograph_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    monkeypatch.setattr(study, "RECIPES", tmp_path)
    asked = tmp_path / "asked.yaml"
    arms = {"whole": {}, "broken": {"mask_ratio": 2.0}}
    keys = {"question": "Does it run?", "recipe": "small.yaml", "seeds": [0], "reference": "whole", "arms": arms}
    asked.write_text(yaml.safe_dump(keys | {"train_images": 40}, sort_keys=False))
    results = tmp_path / "results.jsonl"
    images = str(photograph_folder)
    command = [str(asked), "--train", images, "--validation", images, "--results", str(results)]
    command += ["--folder", str(tmp_path / "runs"), "--jobs", "1"]

    assert main(command) == 0
    whole, broken = (json.loads(line) for line in results.read_text().splitlines())
    assert whole["images"] == 40
    assert whole["processor_seconds"] > 0
    assert 0 <= whole["scores"]["linear"] <= 1
    assert "mask_ratio" in broken["error"]

    capsys.readouterr()
    assert main(command) == 0
    assert len(results.read_text().splitlines()) == 2
    assert not capsys.readouterr().out

    report.main([str(asked), "--results", str(results)])
    text = (tmp_path / "asked.md").read_text()
    assert "| whole | 1 |" in text
    assert "| broken | 0 of 1 |" in text
    assert "- broken, seed 0: training:" in text
    assert (tmp_path / "asked.png").is_file()


def test_judge_options_as_words():
    assert runner.judge_options({"few_labels": True, "finetune": 5}) == ["--few-labels", "--finetune", "5"]


def test_an_unknown_study_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert main(["nothing", "--train", "a", "--validation", "b"]) == 2
    assert "there is no study" in capsys.readouterr().err
