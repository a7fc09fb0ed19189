"""`{fit: ...}` in a recipe: fitted before the first step, the same on all ranks, kept by a run that resumes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from dailymae_hf.data import write_beton
from dailymae_hf.errors import RecipeError, ResumeError
from dailymae_hf.plan import Throughput
from dailymae_hf.plan.forecast import Plan, PlannedEpochs
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed
from dailymae_hf.recipe import fit_at_start as startup
from dailymae_hf.recipe.build import Setup
from dailymae_hf.recipe.fit_at_start import PLAN_NAME, fit_at_start, slowest
from dailymae_hf.recipe.measure import measure
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.run_files import read_log
from dailymae_hf.schedule import ResolutionSchedule
from dailymae_hf.training.callbacks import PlanCallback

ROOT = Path(__file__).parents[2]
RECIPE = """
model_size: tiny
image_size: 48
patch_size: 8
model_overrides: {num_hidden_layers: 2, decoder_num_hidden_layers: 1}
train_beton: train.beton
eval_beton: train.beton
output_dir: out
num_train_epochs: 40
per_device_train_batch_size: 8
online_probe: false
reconstruction_every_n_epochs: 0
logging_steps: 6
save_strategy: epoch
report_to: none
use_cpu: true
dataloader_num_workers: 1
resolution_schedule: {fit: 8min}
"""
SPEEDS = Throughput(
    step=(StepSpeed(48, 0.75, 4.0), StepSpeed(40, 0.75, 6.0)),
    epoch_costs=(EpochCost(48, 1.0), EpochCost(40, 0.5)),
    shared_cores=True,
    start_seconds=1.0,
)
TWO_RANKS = """
from dataclasses import replace
from pathlib import Path
import torch
from dailymae_hf.recipe import fit_at_start as startup
from dailymae_hf.recipe.build import Setup
from dailymae_hf.training.ranks import leave_rank
from dailymae_hf.recipe.recipe import load_recipe
from tests.recipe.test_fit_at_start import SPEEDS
recipe = load_recipe("recipe.yaml", ["--per_device_train_batch_size", "4", "--output_dir", "ranks"])
rank = recipe.training.process_index
step = tuple(replace(s, images_per_second=s.images_per_second / (1 + rank)) for s in SPEEDS.step)
startup.measure = lambda *_: replace(SPEEDS, step=step)
fitted = startup.fit_at_start(Setup(recipe))
chosen = f"{fitted.training.num_train_epochs} {fitted.training.resolution_schedule}"
Path(f"chosen-{rank}").write_text(chosen)  # lines that two ranks print at once may be joined
torch.distributed.barrier()
leave_rank()
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, photograph_folder):
    folder = tmp_path_factory.mktemp("fit")
    write_beton(photograph_folder, folder / "train.beton", workers=1, progress=False)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def run(folder, *words):
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=280, env=environ
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def recipe(workplace, monkeypatch):
    """The recipe in its folder, on a machine whose speeds are `SPEEDS`."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(startup, "measure", lambda *_: SPEEDS)
    return lambda *words: load_recipe("recipe.yaml", ["--output_dir", "fitted", *words])


def test_the_fitted_schedule_ends_in_time_at_full_size(recipe):
    fitted = fit_at_start(Setup(recipe()))
    training = fitted.training
    schedule = ResolutionSchedule.from_dict(
        training.resolution_schedule, epochs=training.num_train_epochs, patch_size=8, resolution=48
    )
    stages = [schedule.stage(epoch).resolution for epoch in range(int(training.num_train_epochs))]
    assert stages[-1] == 48
    assert set(stages) == {40, 48}
    # 48 of the 50 photographs fill batches of 8: 13 s an epoch at 48 pixels, 8.5 s at 40
    assert 455 < sum({48: 13.0, 40: 8.5}[size] for size in stages) < 0.97 * 480
    assert training.warmup_epochs == pytest.approx(training.num_train_epochs / 20)
    assert fitted.callbacks.plan == str(Path("fitted") / PLAN_NAME)


def test_a_run_that_resumes_keeps_its_schedule_and_measures_nothing(recipe, monkeypatch):
    first = fit_at_start(Setup(recipe())).training
    monkeypatch.setattr(startup, "measure", lambda *_: pytest.fail("measured again"))
    again = fit_at_start(Setup(recipe("--resume_from_checkpoint", "true"))).training
    assert again.resolution_schedule == first.resolution_schedule
    assert again.num_train_epochs == first.num_train_epochs


def test_a_resume_without_its_plan_is_refused(recipe):
    with pytest.raises(ResumeError, match=r"elsewhere/plan\.json"):
        fit_at_start(Setup(recipe("--output_dir", "elsewhere", "--resume_from_checkpoint", "true")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resolution_schedule.fit", "18"], r"resolution_schedule\.fit: .*18h"),
        (["--resolution_schedule.fit", "5s"], "one epoch of 48 images takes 13 s"),
        (["--max_steps", "10"], "max_steps"),
    ],
)
def test_a_fit_that_cannot_be(recipe, words, message):
    with pytest.raises(RecipeError, match=message):
        fit_at_start(Setup(recipe(*words)))


def test_any_other_recipe_is_left_alone(recipe):
    other = recipe("--resolution_schedule", "{kind: constant}")
    assert fit_at_start(Setup(other)) is other


def test_two_ranks_choose_the_same_from_the_slower_one(workplace):
    (workplace / "two.py").write_text(TWO_RANKS)
    run(workplace, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "two.py")
    choices = [(workplace / f"chosen-{rank}").read_text() for rank in (0, 1)]
    assert choices[0] == choices[1]
    stored = json.loads((workplace / "ranks" / PLAN_NAME).read_text())
    assert [s["images_per_second"] for s in stored["throughput"]["step"]] == [2.0, 3.0]


def test_slowest_takes_each_figure_from_the_rank_that_all_wait_for():
    other = replace(
        SPEEDS,
        step=(StepSpeed(48, 0.75, 3.0), StepSpeed(40, 0.75, 7.0)),
        epoch_costs=(EpochCost(48, 0.5), EpochCost(40, 2.0)),
        start_seconds=9.0,
    )
    loaders = ((LoaderSpeed(48, 10.0),), (LoaderSpeed(48, 20.0),))
    joined = slowest([replace(rank, loader=loader) for rank, loader in zip((SPEEDS, other), loaders, strict=True)])
    assert [s.images_per_second for s in joined.step] == [3.0, 6.0]
    assert [cost.seconds for cost in joined.epoch_costs] == [1.0, 2.0]
    assert joined.loader[0].images_per_second_per_core == 10.0
    assert joined.start_seconds == 9.0


def test_measuring_says_what_was_measured_and_prints_nothing(recipe, capsys):
    """The stock Trainer prints {'train_runtime': ...} at the end of a run without bars."""
    found = measure(Setup(recipe("--save_strategy", "no", "--eval_beton", "null")), [48])
    assert "train_runtime" not in capsys.readouterr().out
    threads = torch.get_num_threads()
    assert found.source == f"measured on this machine (CPU: threads for the step {threads}, for loading 1)"
    assert found.shared_cores
    assert found.step[0].images_per_second > 0


@pytest.mark.slow
def test_a_real_run_measures_itself_and_follows_its_plan(workplace):
    """Nothing replaced: the machine is timed, the schedule fitted, the run trains through it and keeps its plan."""
    words = ["--output_dir", "real", "--num_train_epochs", "4", "--resolution_schedule.fit", "3h"]
    run(workplace, str(ROOT / "recipes" / "pretrain.py"), "recipe.yaml", *words)
    stored = json.loads((workplace / "real" / PLAN_NAME).read_text())
    assert {s["resolution"] for s in stored["throughput"]["step"]} == {48, 40}
    assert all(s["images_per_second"] > 0 for s in stored["throughput"]["step"])
    assert not list(workplace.glob("real/log.jsonl.*"))
    lines = [line for line in read_log(workplace / "real" / "log.jsonl") if line["loss"] is not None]
    assert [line["resolution"] for line in lines] == [48] * len(lines)  # three hours are more than enough
    assert all(line["forecast_seconds"] > 0 for line in lines)


# ---- the callback


@dataclass
class Watch:
    waited: float = 0.0
    paused: float = 0.0


class Trainer:
    """As much of a trainer as the callback looks at."""

    def __init__(self):
        self.state = type("State", (), {"epoch": 0.0})()
        self.stopwatch = Watch()

    def is_world_process_zero(self):
        return True


def play(monkeypatch, plan, seconds_per_epoch, waited, epochs=6):
    """The callback after `epochs` logs, an epoch apart, of a run with a clock of its own."""
    callback, trainer = PlanCallback(plan), Trainer()
    callback.attach(trainer)
    clock = [0.0]
    monkeypatch.setattr("dailymae_hf.training.callbacks.plan.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("dailymae_hf.training.callbacks.plan.process_seconds", lambda: clock[0])
    callback.on_train_begin(None, trainer.state, None)
    for _ in range(epochs):
        clock[0] += seconds_per_epoch
        trainer.state.epoch += 1
        trainer.stopwatch.waited += waited
        logged = callback.log_values()
    return callback, logged


PLAN = Plan((PlannedEpochs(48, 20, 10.0, 0.0, 0.0),), start_seconds=0.0, budget_seconds=220.0)


@pytest.mark.parametrize(
    ("seconds", "waited", "reason"), [(10.0, 0.0, None), (14.0, 0.0, "step time, 1.40"), (14.0, 4.0, "data wait, 29%")]
)
def test_the_callback_warns_once_and_says_why(monkeypatch, seconds, waited, reason):
    callback, logged = play(monkeypatch, PLAN, seconds, waited)
    assert logged["forecast_seconds"] == pytest.approx(20 * seconds)
    assert [reason in warning.sentence() for warning in callback.warnings] == ([] if reason is None else [True])


def test_a_resumed_run_counts_the_time_before(monkeypatch, tmp_path):
    callback, _ = play(monkeypatch, PLAN, 10.0, 0.0)
    callback.save_state(tmp_path)
    resumed = PlanCallback(PLAN)
    resumed.load_state(tmp_path)
    monkeypatch.setattr("dailymae_hf.training.callbacks.plan.process_seconds", lambda: 5.0)
    assert resumed.elapsed == pytest.approx(65.0)


def test_a_file_without_a_plan_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"x\.json holds no plan"):
        PlanCallback.from_file(tmp_path / "x.json")
