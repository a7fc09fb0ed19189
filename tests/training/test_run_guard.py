"""A run that diverges or is asked to stop: what it has is kept, what is not a number is never written."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from dailymae_hf.errors import DivergenceError, ResumeError, RunLockError
from dailymae_hf.run_files import read_log
from dailymae_hf.training.checkpoint_folders import checkpoints_of, newest_whole
from dailymae_hf.training.manifest import write_manifest
from dailymae_hf.training.run_lock import RunLock
from dailymae_hf.training.stop_signals import Preempted
from tests.support.rank_run import build

torch.set_num_threads(1)


class At(TrainerCallback):
    """Does something after some optimizer step, once."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step and self.action is not None:
            action, self.action = self.action, None
            action()


def poison(trainer, *steps):
    """The loss of these optimizer steps is not a number, each the first time that it is done."""
    compute, left = trainer.compute_loss, set(steps)

    def poisoned(*args, **kwargs):
        step = trainer.state.global_step + 1
        factor = float("nan") if step in left else 1.0
        left.discard(step)
        return compute(*args, **kwargs) * factor

    trainer.compute_loss = poisoned
    return trainer


def finite(folder):
    return all(bool(torch.isfinite(value).all()) for value in load_file(folder / "model.safetensors").values())


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_checkpoints(tmp_path):
    trainer = poison(build({"out": str(tmp_path)}), 7)
    with pytest.raises(DivergenceError, match=r"step 7: loss nan.*last finite checkpoint is .*checkpoint-6.*on_nan"):
        trainer.train()
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-3", "checkpoint-6"]
    assert finite(tmp_path / "checkpoint-6")


def test_the_last_step_is_looked_at_as_well(tmp_path):
    trainer = poison(build({"out": str(tmp_path), "save_steps": 100, "probe": False}), 12)
    with pytest.raises(DivergenceError, match=r"step 12: loss nan.*there is no checkpoint yet"):
        trainer.train()


@pytest.mark.parametrize("every", [1, 2])
def test_no_checkpoint_is_written_of_what_is_no_number(tmp_path, every):
    """The loss is looked at a step later, but before every checkpoint; the weights as well."""
    trainer = poison(build({"out": str(tmp_path), "save_steps": every}), 4)
    with pytest.raises(DivergenceError, match="step 4"):
        trainer.train()
    assert {path.name for path in checkpoints_of(tmp_path)} <= {"checkpoint-1", "checkpoint-2", "checkpoint-3"}
    assert all(finite(path) for path in checkpoints_of(tmp_path))


def test_weights_that_are_no_numbers_are_not_written_whatever_the_loss_was(tmp_path):
    trainer = build({"out": str(tmp_path)})

    def ruin():
        with torch.no_grad():
            trainer.model.decoder.decoder_pred.bias[0] = float("inf")

    trainer.add_callback(At(3, ruin))
    with pytest.raises(DivergenceError, match="there is no checkpoint yet"):
        trainer.train()
    assert checkpoints_of(tmp_path) == []
    assert not list(tmp_path.glob("_*")), "the weights are looked at while they are written"


def test_a_checkpoint_of_what_is_no_number_is_not_continued(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build({"out": str(tmp_path), "stop_at": 4}).train()
    file = tmp_path / "checkpoint-3" / "model.safetensors"
    tensors = load_file(file)
    tensors[next(iter(tensors))].view(-1)[0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    write_manifest(file.parent)
    with pytest.raises(ResumeError, match="weights are not numbers"):
        build({"out": str(tmp_path)}).train(resume_from_checkpoint="auto")


def test_rewind_goes_back_and_on_with_other_samples(tmp_path):
    options = {"out": str(tmp_path), "arguments": {"on_nan": "rewind"}}
    trainer = poison(build(options), 8)
    trainer.train()
    assert trainer.state.global_step == trainer.state.max_steps == 12
    assert trainer.guard.rewinds == [{"step": 8, "to": 6}]
    assert trainer.run_facts()["rewinds"] == [{"step": 8, "to": 6}]
    lines = [line for line in read_log(tmp_path / "log.jsonl") if line["loss"] is not None]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line.get("rewinds") for line in lines] == [None] * 6 + [1] * 6
    seen = [indices for epoch, _, indices in trainer.train_beton.seen if epoch == 1]
    assert len(seen) >= 6
    assert seen[2:4] != seen[-2:], "the same samples came again"
    assert json.loads((tmp_path / "checkpoint-12" / "run_settings.json").read_text())["rewinds"] == [
        {"step": 8, "to": 6}
    ]


def test_a_run_that_went_back_is_continued_on_the_samples_that_it_went_on_with(tmp_path):
    def went_back(out, **more):
        return poison(build({"out": str(out), **more, "arguments": {"on_nan": "rewind"}}), 5)

    whole = went_back(tmp_path / "whole")
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        went_back(tmp_path / "broken", stop_at=7).train()
    resumed = build({"out": str(tmp_path / "broken"), "arguments": {"on_nan": "rewind"}})
    resumed.train(resume_from_checkpoint="auto")
    weights = (trainer.model.state_dict() for trainer in (whole, resumed))
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_going_back_has_an_end(tmp_path):
    options = {"out": str(tmp_path), "arguments": {"on_nan": "rewind", "max_rewinds": 2}}
    trainer = build(options)
    compute = trainer.compute_loss
    trainer.compute_loss = lambda *a, **k: compute(*a, **k) * (float("nan") if trainer.state.global_step == 7 else 1)
    with pytest.raises(DivergenceError, match=r"step 8: .* after going back 2 times \(max_rewinds\)") as raised:
        trainer.train()
    assert "or on_nan: rewind" not in str(raised.value), "what is set already is no advice"


def test_an_error_has_a_line_of_its_own_below_the_progress_bar(tmp_path, capsys):
    trainer = build({"out": str(tmp_path), "arguments": {"disable_tqdm": False}})
    compute = trainer.compute_loss
    trainer.compute_loss = lambda *a, **k: compute(*a, **k) * (float("nan") if trainer.state.global_step == 3 else 1)
    with pytest.raises(DivergenceError):
        trainer.train()
    shown = capsys.readouterr().err
    assert "/12 [" in shown
    assert shown.endswith("\n")


def test_a_learning_rate_far_too_high_is_caught_by_itself(tmp_path):
    with pytest.raises(DivergenceError, match=r"step \d+: loss"):
        build({"out": str(tmp_path), "base_learning_rate": 1e15, "save_steps": 1}).train()
    assert all(finite(path) for path in checkpoints_of(tmp_path))


def test_a_loss_spike_is_logged(tmp_path):
    trainer = build({"out": str(tmp_path), "epochs": 8})
    compute = trainer.compute_loss
    trainer.compute_loss = lambda *a, **k: compute(*a, **k) * (5 if trainer.state.global_step == 24 else 1)
    trainer.train()
    assert trainer.guard.spikes == [25]
    lines = {line["step"]: line.get("loss_spikes") for line in read_log(tmp_path / "log.jsonl") if line["loss"]}
    assert (lines[24], lines[27]) == (None, 1)


# ---- asked to stop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_to_the_same_bits(tmp_path, number):
    """Between two checkpoints; of a signal the stock Trainer saves nothing."""
    whole = build({"out": str(tmp_path / "whole")})
    whole.train()
    trainer = build({"out": str(tmp_path / "asked")})
    trainer.add_callback(At(4, lambda: os.kill(os.getpid(), number)))
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Preempted) as caught:
        trainer.train()
    newest, _ = newest_whole(tmp_path / "asked")
    assert newest.name == "checkpoint-5"
    if number != signal.SIGINT:
        assert caught.value.code == 75
        assert f"stopped by {number.name} at step 5" in str(caught.value)
    again = build({"out": str(tmp_path / "asked")})
    again.train(resume_from_checkpoint="auto")
    assert all(torch.equal(a, b) for a, b in zip(*(t.model.state_dict().values() for t in (whole, again)), strict=True))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_run_that_lost_its_folder_to_another_does_not_write_there(tmp_path):
    trainer = build({"out": str(tmp_path)})

    def taken():
        (tmp_path / "run.lock").unlink()
        other = RunLock(tmp_path)
        other.acquire()

    trainer.add_callback(At(2, taken))
    with pytest.raises(RunLockError, match="was taken by"):
        trainer.train()
    assert checkpoints_of(tmp_path) == []
