"""Resume: what the stock Trainer does to a ViTMAE first, then exactness, strictness and refusals of ours."""

import json
import pickle
import shutil
import traceback
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments, ViTMAEForPreTraining
from transformers.trainer import skip_first_batches

from dailymae_hf.errors import CheckpointError, RecipeError, ResumeError
from dailymae_hf.run_files import read_log
from dailymae_hf.training.checkpoint_folders import newest_whole
from dailymae_hf.training.manifest import write_manifest
from dailymae_hf.training.weights import load_weights
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model
from tests.support.rank_run import build

torch.set_num_threads(1)


def states(trainer):
    """Everything that a next step would depend on, as one flat dictionary of tensors."""
    found = dict(trainer.model.state_dict())
    for number, moments in trainer.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    found["learning_rate"] = torch.tensor(trainer.lr_scheduler.get_last_lr())
    for callback in trainer.callback_handler.callbacks:
        if hasattr(callback, "probe"):
            found |= {f"probe.{name}": value for name, value in callback.probe.state_dict().items()}
    return found


def newest_checkpoint(folder):
    return newest_whole(folder)[0]


def crash(options):
    with pytest.raises(KeyboardInterrupt):
        build(options).train(resume_from_checkpoint=options.get("resume"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A run of 5 steps an epoch that died after step 7, with a checkpoint of step 6, in the second epoch's middle."""
    out = tmp_path_factory.mktemp("run")
    crash({"out": str(out), "stop_at": 7})
    return out / "checkpoint-6"


def test_every_file_of_a_checkpoint_is_as_readable_as_the_next(checkpoint):
    assert len({path.stat().st_mode for path in checkpoint.iterdir()}) == 1


# ---- what stock does --------------------------------------------------------------------------------------------


def test_stock_resume_keeps_random_weights(tmp_path):
    """The reason for strict loading: the stock Trainer reports success with most of the model untouched."""
    config = tiny_model().config
    torch.manual_seed(1)
    ViTMAEForPreTraining(config).save_pretrained(tmp_path)
    saved = ViTMAEForPreTraining.from_pretrained(tmp_path).state_dict()
    torch.manual_seed(2)
    fresh = ViTMAEForPreTraining(config)
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    Trainer(fresh, args)._load_from_checkpoint(str(tmp_path))
    wrong = [name for name, value in fresh.state_dict().items() if not torch.equal(value, saved[name])]
    assert any("layers" in name for name in wrong), "stock resume got strict: this trap is gone"

    torch.manual_seed(2)
    fresh = ViTMAEForPreTraining(config)
    load_weights(fresh, tmp_path)
    assert all(torch.equal(value, saved[name]) for name, value in fresh.state_dict().items())


def test_stock_skipping_fails_on_a_loader_of_ours():
    images, labels = coloured_images(16)
    with pytest.raises(AttributeError):
        skip_first_batches(ArrayLoader(images, labels, 8), 1)


def test_stock_takes_a_half_written_checkpoint_for_the_newest(tmp_path):
    from transformers.trainer_utils import get_last_checkpoint

    for step in (3, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    write_manifest(tmp_path / "checkpoint-3")
    assert Path(get_last_checkpoint(str(tmp_path))).name == "checkpoint-6"
    assert newest_checkpoint(tmp_path).name == "checkpoint-3"


# ---- exact ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "stop_at"),
    [
        ({}, 7),
        ({}, 5),
        ({"batch": 4, "accumulation": 2, "save_steps": 4}, 6),
        ({"batch": 3, "accumulation": 2}, 8),
        ({"arguments": {"optim": "muon"}}, 7),
    ],
    ids=["middle of an epoch", "end of an epoch", "accumulation", "an epoch that ends in half a step", "muon"],
)
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, options, stop_at):
    """Weights, Adam's moments, learning rate, probe and log file, over three epochs of a palindrome."""
    whole = build({**options, "out": str(tmp_path / "whole")})
    whole.train()
    broken = {**options, "out": str(tmp_path / "broken")}
    crash({**broken, "stop_at": stop_at})
    torch.manual_seed(999)  # a new process starts with another random state
    resumed = build(broken)
    resumed.train(resume_from_checkpoint=True)

    expected, got = states(whole), states(resumed)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    steps_seen = [line["step"] for line in read_log(tmp_path / "broken" / "log.jsonl") if line["loss"] is not None]
    assert steps_seen == list(range(1, whole.state.global_step + 1)), "a step is missing or twice in log.jsonl"
    measured = ("loss", "resolution", "mask_ratio", "probe_accuracy", "knn_accuracy", "learning_rate")
    logs = [read_log(tmp_path / run / "log.jsonl") for run in ("whole", "broken")]
    for a, b in zip(*logs, strict=True):
        assert {k: a.get(k) for k in measured} == {k: b.get(k) for k in measured}


def test_resume_gives_the_loader_the_stage_and_the_rest_of_the_epoch(tmp_path, checkpoint):
    shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    trainer = build({"out": str(tmp_path)})
    trainer.train(resume_from_checkpoint=True)
    seen = trainer.train_beton.seen
    unbroken = ArrayLoader(*coloured_images(39), 8, seed=3)
    unbroken.set_epoch(1)
    rest = [batch["index"].tolist() for batch in unbroken][2:]
    assert [(epoch, size, batch) for epoch, size, batch in seen[:2]] == [(1, 24, rest[0]), (1, 24, rest[1])]


# ---- strict -----------------------------------------------------------------------------------------------------


def _without(tensors):
    tensors.pop("vit.encoder.layer.1.output.dense.weight")


def _with_another(tensors):
    tensors["decoder.decoder_layers.9.output.dense.weight"] = torch.zeros(2, 2)


def _with_another_shape(tensors):
    tensors["decoder.decoder_pred.bias"] = torch.zeros(7)


@pytest.mark.parametrize(
    ("damage", "named"),
    [(_without, "output.dense|fc2"), (_with_another, "decoder_layers.9"), (_with_another_shape, "decoder_pred.bias")],
)
@pytest.mark.parametrize("best", [False, True], ids=["resume", "best model"])
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path, checkpoint, damage, named, best):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_manifest(folder)
    trainer = build({"out": str(tmp_path)})
    trainer.state.best_model_checkpoint = str(folder)
    read = trainer._load_best_model if best else lambda: trainer.train(resume_from_checkpoint=str(folder))
    with pytest.raises(ResumeError, match=named):
        read()


def test_best_model_is_loaded_whole(tmp_path, checkpoint):
    trainer = build({"out": str(tmp_path)})
    trainer.state.best_model_checkpoint = str(checkpoint)
    trainer._load_best_model()
    expected = type(trainer.model).from_pretrained(checkpoint).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "named", "why"),
    [
        ({"batch": 4}, "per_device_train_batch_size 8", "number of images"),
        ({"accumulation": 2}, "gradient_accumulation_steps 1", "number of images"),
        ({"seed": 4}, "seed 3", "order, crops and masks"),
        ({"images": 60}, "dataset_length 39", "permutation"),
        ({"arguments": {"data_seed": 8}}, "data_seed None", "order of an epoch"),
        ({"epochs": 4}, "num_train_epochs 3", "one curve"),
        ({"base_learning_rate": 0.2}, "learning_rate 0.000625", "one curve"),
        ({"arguments": {"weight_decay": 0.1}}, "weight_decay 0.05", "optimizer's state"),
        ({"arguments": {"decoder_keep": 0.5}}, "decoder_keep 1.0", "first part of the run"),
    ],
)
def test_a_changed_setting_is_refused_with_the_reason(tmp_path, checkpoint, changed, named, why):
    trainer = build({"out": str(tmp_path), **changed})
    with pytest.raises(ResumeError, match=named) as caught:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    assert why in str(caught.value)


def test_another_world_size_is_refused_with_the_reason(tmp_path, checkpoint):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    settings = json.loads((folder / "run_settings.json").read_text())
    settings["settings"]["world_size"] = 8
    (folder / "run_settings.json").write_text(json.dumps(settings))
    write_manifest(folder)
    with pytest.raises(ResumeError, match="world_size 8, this run has 1: each process would skip"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))


def test_a_checkpoint_without_the_probe_is_refused(tmp_path, checkpoint):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    (folder / "online_probe.safetensors").unlink()
    write_manifest(folder)
    with pytest.raises(ResumeError, match="without the online probe"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_what_the_stock_trainer_would_begin_anew_is_missed_by_name(tmp_path, checkpoint, name):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    (folder / name).unlink()
    write_manifest(folder)
    with pytest.raises(ResumeError, match=f"no {name}"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))


def test_a_checkpoint_of_weights_alone_is_not_continued(tmp_path):
    crash({"out": str(tmp_path), "stop_at": 4, "arguments": {"save_only_model": True}})
    with pytest.raises(ResumeError, match="save_only_model"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(("name", "content"), [("run_settings.json", b"{"), ("model.safetensors", b"\x00" * 40)])
def test_a_damaged_file_is_named(tmp_path, checkpoint, name, content):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(ResumeError, match=rf"is not whole: .*{name}"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))


class Advised:
    """What torch's `weights_only` refuses, with the advice to switch that off."""


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_pickle_of_other_things_is_refused_without_the_advice_to_open_it(tmp_path, checkpoint, name):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    torch.save({"state": Advised()}, folder / name)
    write_manifest(folder)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        torch.load(folder / name, weights_only=True)
    before = files_of(tmp_path)
    with pytest.raises(ResumeError, match=rf"{name} holds other objects") as caught:
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))
    assert files_of(tmp_path) == before


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(ResumeError, match="no such checkpoint"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


# ---- whole or not at all ----------------------------------------------------------------------------------------


def test_a_crash_while_saving_costs_only_the_work_since_the_last_checkpoint(tmp_path, monkeypatch):
    options = {"out": str(tmp_path), "arguments": {"save_total_limit": 1}}
    trainer = build(options)
    save = trainer._save_rng_state

    def dies_at_six(folder):
        if trainer.state.global_step == 6:
            raise OSError("disk full")
        save(folder)

    monkeypatch.setattr(trainer, "_save_rng_state", dies_at_six)
    with pytest.raises(
        CheckpointError, match=r"checkpoint-6 could not be written \([\d,]+ MB of the disk are free\): disk full"
    ):
        trainer.train()
    assert not list(tmp_path.glob("_partial*")), "what was half written keeps the disk full"
    assert newest_checkpoint(tmp_path).name == "checkpoint-3"
    resumed = build(options)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == resumed.state.max_steps
    whole = [path.name for path in tmp_path.glob("*-*") if path.is_dir()]
    assert whole == [f"checkpoint-{resumed.state.max_steps}"], "rotation left others, or half-written folders remain"


def test_a_checkpoint_holds_no_pickled_arguments(checkpoint):
    names = {path.name for path in checkpoint.iterdir()}
    assert "training_args.bin" not in names
    assert {"model.safetensors", "preprocessor_config.json", "online_probe.safetensors", "run_settings.json"} <= names


def test_nothing_to_resume_from_is_an_error(tmp_path):
    with pytest.raises(ResumeError, match="holds no checkpoint to resume from"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=True)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("stop_at", "named"), [(10, "checkpoint-9"), (2, "log.jsonl")])
def test_a_start_into_an_earlier_runs_folder_is_refused_and_changes_nothing(tmp_path, stop_at, named):
    crash({"out": str(tmp_path), "stop_at": stop_at})
    before = files_of(tmp_path)
    with pytest.raises(RecipeError, match=rf"holds a run already \({named}.*overwrite_output_dir"):
        build({"out": str(tmp_path)}).train()
    assert files_of(tmp_path) == before


def test_overwriting_removes_the_earlier_run_and_leaves_other_files(tmp_path):
    (tmp_path / "train.beton").write_text("mine")
    crash({"out": str(tmp_path), "stop_at": 10})
    crash({"out": str(tmp_path), "stop_at": 4, "arguments": {"overwrite_output_dir": True}})
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "log.jsonl", "train.beton"}
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl") if line["loss"] is not None] == [1, 2, 3]


def test_a_refused_resume_changes_no_file(tmp_path):
    crash({"out": str(tmp_path), "stop_at": 7})
    before = files_of(tmp_path)
    with pytest.raises(ResumeError, match="seed 3"):
        build({"out": str(tmp_path), "seed": 4}).train(resume_from_checkpoint="auto")
    assert files_of(tmp_path) == before


def test_auto_is_the_first_start_and_every_next_one_and_says_which(tmp_path, caplog):
    crash({"out": str(tmp_path), "stop_at": 4, "resume": "auto"})
    assert "holds no checkpoint: a new run begins" in caplog.text
    again = build({"out": str(tmp_path)})
    again.train(resume_from_checkpoint="auto")
    assert again.state.global_step == 12
    assert f"continuing from {tmp_path / 'checkpoint-3'}" in caplog.text
    last = build({"out": str(tmp_path)})
    last.train(resume_from_checkpoint="auto")
    assert last.state.global_step == 12


def test_auto_takes_the_newest_whole_one(tmp_path):
    crash({"out": str(tmp_path), "stop_at": 7})
    content = bytearray((tmp_path / "checkpoint-6" / "optimizer.pt").read_bytes())
    content[-40] ^= 1
    (tmp_path / "checkpoint-6" / "optimizer.pt").write_bytes(content)
    assert newest_checkpoint(tmp_path).name == "checkpoint-3"
    trainer = build({"out": str(tmp_path)})
    trainer.train(resume_from_checkpoint="auto")
    assert trainer.state.global_step == 12
    assert newest_checkpoint(tmp_path).name == "checkpoint-12"


def test_auto_does_not_begin_anew_where_every_checkpoint_is_damaged(tmp_path):
    crash({"out": str(tmp_path), "stop_at": 4})
    (tmp_path / "checkpoint-3" / "scheduler.pt").write_bytes(b"")
    with pytest.raises(ResumeError, match=r"no whole checkpoint .*checkpoint-3/scheduler.pt has 0 bytes"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint="auto")


def test_a_damaged_old_checkpoint_does_not_end_a_healthy_run(tmp_path):
    trainer = build({"out": str(tmp_path), "arguments": {"save_total_limit": 2}})

    def empties(*_):
        for path in tmp_path.glob("checkpoint-3/*.json"):
            path.write_bytes(b"")

    trainer.store_flos = empties
    trainer.train()
    assert newest_checkpoint(tmp_path).name == "checkpoint-12"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"arguments": {"max_grad_norm": 1.0}}, "max_grad_norm 0.0"),
        ({"arguments": {"adam_epsilon": 1e-4}}, "adam_epsilon"),
        ({"arguments": {"optim": "sgd"}}, "optim adamw_torch"),
        ({"arguments": {"bf16": True}}, "bf16 False"),
        ({"model": {"norm_pix_loss": False}}, "norm_pix_loss True"),
        ({"image_mean": (0.1, 0.1, 0.1)}, "image_mean"),
        ({"recipe": {"probe_every_n_steps": 4}}, "probe_every_n_steps None"),
    ],
)
def test_whatever_a_recipe_says_is_compared(tmp_path, checkpoint, changed, named):
    """But for a short list; all of these were continued without a word once, to another end."""
    with pytest.raises(ResumeError, match=f"was written with {named}"):
        build({"out": str(tmp_path), **changed}).train(resume_from_checkpoint=str(checkpoint))


def test_other_images_of_the_same_number_are_refused(tmp_path, checkpoint):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    settings = json.loads((folder / "run_settings.json").read_text())
    settings["data"]["train_beton"][0]["sampled"] = "other"
    (folder / "run_settings.json").write_text(json.dumps(settings))
    write_manifest(folder)
    with pytest.raises(ResumeError, match="train_beton: file 0 is not the one that"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint=str(folder))


def test_what_changes_no_step_may_change(tmp_path):
    crash({"out": str(tmp_path), "stop_at": 4})
    free = {"save_total_limit": 1, "dataloader_num_workers": 2, "run_name": "another", "rank_timeout": 60}
    trainer = build({"out": str(tmp_path), "arguments": free})
    trainer.train(resume_from_checkpoint="auto")
    assert trainer.state.global_step == 12


def test_the_log_goes_on_as_if_the_run_had_never_stopped(tmp_path):
    """With five steps a log and a resume at step 6: the stock first loss is that of four steps, train_loss of six."""
    five = {"arguments": {"logging_steps": 5}}
    build({"out": str(tmp_path / "whole"), **five}).train()
    crash({"out": str(tmp_path / "broken"), "stop_at": 8, **five})
    build({"out": str(tmp_path / "broken"), **five}).train(resume_from_checkpoint="auto")
    logs = [read_log(tmp_path / run / "log.jsonl") for run in ("whole", "broken")]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert logs[0][-1]["train_loss"] == logs[1][-1]["train_loss"]


def test_rotation_keeps_the_best_checkpoint(tmp_path):
    trainer = build({"out": str(tmp_path), "arguments": {"save_total_limit": 2}})

    def first_is_best(*_):
        trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint-3")

    trainer.store_flos = first_is_best
    trainer.train()
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-12"}
