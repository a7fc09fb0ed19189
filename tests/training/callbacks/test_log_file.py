"""log.jsonl can be read as a table, whatever happened to the run."""

import json
import math

import pandas
from transformers import TrainerState, TrainingArguments

from dailymae_hf.run_files import KEYS, read_log
from dailymae_hf.training.callbacks import LogFileCallback, ReadableProgressCallback, ThroughputCallback
from dailymae_hf.training.callbacks.progress import describe
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from tests.support.in_memory import tiny_model
from tests.support.runs import arguments, loader, validation


def test_every_line_has_the_promised_keys(tmp_path):
    trainer = DailyMAETrainer(
        tiny_model(),
        arguments(tmp_path, eval_strategy="epoch"),
        train_beton=loader(),
        eval_beton=validation(),
        callbacks=[LogFileCallback(), ThroughputCallback()],
    )
    trainer.train()
    promised = {"epoch", "step", "loss", "resolution", "mask_ratio", "images_per_second", "data_wait"}
    assert promised | {"probe_accuracy", "knn_accuracy"} == set(KEYS)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(set(KEYS) <= line.keys() for line in lines)
    training = [line for line in lines if line["loss"] is not None]
    assert [line["step"] for line in training] == list(range(1, 11))
    assert all(line[key] is not None for line in training for key in promised)
    assert [line["epoch"] for line in lines if "eval_loss" in line] == [1, 2]
    table = pandas.read_json(tmp_path / "log.jsonl", lines=True)
    assert list(table.columns[: len(KEYS)]) == list(KEYS)


def _written(tmp_path, step, logs):
    callback, args = LogFileCallback(), TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    state = TrainerState(global_step=step, epoch=1.0)
    callback.on_train_begin(args, state, None)
    for entry in logs:
        state.global_step += 1
        callback.on_log(args, state, None, logs=entry)
    return read_log(tmp_path / "log.jsonl")


def test_a_resumed_run_drops_what_it_will_do_again(tmp_path):
    assert len(_written(tmp_path, 0, [{"loss": float(i)} for i in range(6)])) == 6
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"epoch": 1.0, "step": 7, "lo')  # the crash
    lines = _written(tmp_path, 4, [{"loss": 40.0}])
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 40)]
    assert len(_written(tmp_path, 0, [])) == 0, "a run from the start begins a new log"


def test_a_diverged_loss_is_null_and_the_file_stays_json(tmp_path):
    lines = _written(tmp_path, 0, [{"loss": math.nan, "grad_norm": math.inf}])
    assert lines[0]["loss"] is None
    assert lines[0]["grad_norm"] is None


def test_other_ranks_write_nothing(tmp_path):
    callback, args = LogFileCallback(), TrainingArguments(str(tmp_path / "x"), use_cpu=True, report_to="none")
    state = TrainerState(is_world_process_zero=False)
    callback.on_train_begin(args, state, None)
    callback.on_log(args, state, None, logs={"loss": 1.0})
    assert not (tmp_path / "x" / "log.jsonl").exists()


def test_the_progress_line_is_short(tmp_path):
    shown = {"loss": 0.51234, "learning_rate": 1.5e-4, "resolution": 96, "images_per_second": 1234.5}
    shown |= {"data_wait": 0.0123, "probe_accuracy": 0.5}
    text = describe({**shown, "stage": 2, "total_flos": 1e18, "grad_norm": 3.0})
    assert text == "loss 0.5123  lr 1.50e-04  px 96  images/s 1,234  wait 1.2%  probe 50.0%"
    assert describe({"total_flos": 1e18}) == ""
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, disable_tqdm=False), train_beton=loader())
    names = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    bars = [name for name in names if "Progress" in name]
    assert bars == [ReadableProgressCallback.__name__]
