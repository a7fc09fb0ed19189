"""A study from its file to its table, with runs as commands."""

import json
from pathlib import Path

import pytest
import yaml

from studies import report, runner, study
from studies.__main__ import main
from studies.sources import Sources
from studies.study import Run, StudyError

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
    assert 0 < whole["training_seconds"] < whole["processor_seconds"]
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


def test_a_checkpoint_of_another_study_is_found_and_only_that(tmp_path: Path):
    recipe = {"mask_ratio": 0.75}
    run = Run("named otherwise", 3, recipe, 40, {"module": "judge_segmentation"})
    facts = dict.fromkeys(runner.FACTS, 1)
    results = runner.Results(tmp_path / "results.jsonl")
    results.append({"arm": "a", "recipe": recipe, "seed": 3, "train_images": 40, "judge": {}, "scores": {}, **facts})
    folder = tmp_path / "runs" / "first" / "a-3"
    (folder / "model").mkdir(parents=True)
    whole = recipe | {"train_beton": "elsewhere/train-40.beton", "seed": 3}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(whole | {"output_dir": "moved"}))
    here = whole | {"train_beton": "/data/train-40.beton"}
    assert runner.find_trained(run, here, results, tmp_path / "runs") == (facts, folder / "model")
    coarse = Run("coarse", 3, recipe, 40, {}, {"quality": 50})
    assert runner.find_trained(coarse, here, results, tmp_path / "runs") is None
    assert runner.find_trained(run, here | {"seed": 4}, results, tmp_path / "runs") is None


def test_masks_are_asked_for_before_anything_runs(tmp_path: Path, photograph_folder: Path):
    sources = Sources(str(photograph_folder), str(photograph_folder), tmp_path / "data")
    run = Run("a", 0, {}, 40, {"module": "judge_segmentation"})
    with pytest.raises(StudyError, match="--masks-train"):
        runner.run_all([run], sources, runner.Results(tmp_path / "results.jsonl"), tmp_path / "study", 1)
    assert not (tmp_path / "study").exists()


def test_files_of_other_qualities_are_files_of_their_own(tmp_path: Path, photograph_folder: Path):
    sources = Sources(str(photograph_folder), str(photograph_folder), tmp_path / "data")
    plain, coarse = sources.train_beton(20), sources.train_beton(20, {"quality": 10, "transcode": "never"})
    assert plain.name == "train-20.beton"
    assert coarse.name == "train-20-quality-10-transcode-never.beton"
    assert coarse.stat().st_size < plain.stat().st_size


@pytest.mark.parametrize(
    ("judge", "seed"), [({"finetune": 4}, True), ({"few_labels": True}, False), ({"module": "finetuning"}, True)]
)
def test_what_trains_in_the_judge_gets_the_runs_seed(tmp_path: Path, judge: dict[str, object], seed: bool):
    sources = object.__new__(Sources)
    sources.train_parquet = sources.validation_parquet = tmp_path
    words = runner.judge_command(Run("a", 5, {}, None, judge), sources, tmp_path)
    assert (words[-2:] == ["--seed", "5"]) == seed
