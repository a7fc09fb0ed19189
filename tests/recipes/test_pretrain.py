"""The whole path on photographs: .beton files, the recipe's script under both launchers, files that others load."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForPreTraining

from dailymae_hf.cli.run import run_recipe
from dailymae_hf.data import write_beton
from dailymae_hf.run_files import read_log

ROOT = Path(__file__).parents[2]
RECIPE = """
model_size: tiny
image_size: 48
patch_size: 8
model_overrides: {num_hidden_layers: 2, decoder_num_hidden_layers: 1}
train_beton: train.beton
eval_beton: validation.beton
output_dir: out
num_train_epochs: 3
per_device_train_batch_size: 8
per_device_eval_batch_size: 8
base_learning_rate: 1e-2
resolution_schedule: {kind: palindrome, resolutions: [48, 32, 48]}
reconstruction_every_n_epochs: 3
reconstruction_images: 4
logging_steps: 1
eval_strategy: epoch
save_strategy: steps
save_steps: 4
report_to: none
use_cpu: true
dataloader_num_workers: 1
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, photograph_folder):
    folder = tmp_path_factory.mktemp("pretrain")
    for split in ("train", "validation"):
        write_beton(photograph_folder, folder / f"{split}.beton", workers=1, progress=False)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def pretrain(folder, *words, launcher=(sys.executable,)):
    done = subprocess.run(
        [*launcher, str(ROOT / "recipes" / "pretrain.py"), "recipe.yaml", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def finished(workplace):
    """A run under plain python, from the first step to the last."""
    return pretrain(workplace), workplace / "out"


def test_leaves_a_checkpoint_that_plain_transformers_loads(finished):
    _, out = finished
    model = AutoModelForPreTraining.from_pretrained(out)
    processor = AutoImageProcessor.from_pretrained(out)
    assert type(model).__module__.startswith("transformers.")
    assert processor.size == {"height": 48, "width": 48}
    assert {"README.md", "recipe.yaml", "log.jsonl", "model.safetensors"} <= {path.name for path in out.iterdir()}
    assert [path.name for path in (out / "reconstructions").iterdir()] == ["epoch_0003.png"]
    facts = json.loads((out / "checkpoint-4" / "run_settings.json").read_text())["settings"]
    assert (facts["dataset_length"], facts["world_size"]) == (50, 1)


def test_went_through_the_palindrome_and_scored_it(finished):
    lines = read_log(finished[1] / "log.jsonl")
    training = [line for line in lines if line["loss"] is not None]
    assert [line["resolution"] for line in training] == [48] * 6 + [32] * 6 + [48] * 6
    assert training[-1]["loss"] < training[0]["loss"]
    scored = [line["epoch"] for line in training if line["probe_accuracy"] is not None]
    assert scored == [1, 2, 3]
    assert sum("eval_loss" in line for line in lines) == 3


def test_the_bar_is_short_lines_and_the_end_says_where_things_are(finished):
    done, _ = finished
    assert "model, processor, recipe, card and log.jsonl are in out" in done.stdout
    lines = [line for line in done.stdout.splitlines() if "loss" in line]
    assert len(lines) == 18 + 3, "a line per log and per evaluation"
    assert max(len(line) for line in lines) < 120
    assert "Writing model shards" not in done.stderr


def test_continued_under_accelerate_ends_with_the_same_bits(finished, workplace):
    """Steps 9 to 18 of 18 again, from the middle of the second epoch, in another process under another launcher."""
    _, whole = finished
    out = workplace / "again"
    out.mkdir()
    (whole / "checkpoint-8").rename(out / "checkpoint-8")
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes", "1", "--num_machines"]
    launcher += ["1", "--mixed_precision", "no", "--dynamo_backend", "no", "--cpu"]
    pretrain(workplace, "--output_dir", "again", "--resume_from_checkpoint", "true", launcher=launcher)
    expected, got = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    probes = [load_file(folder / "checkpoint-18" / "online_probe.safetensors") for folder in (whole, out)]
    assert [name for name in probes[0] if not torch.equal(probes[0][name], probes[1][name])] == []


def test_two_ranks_continue_to_the_same_bits_and_see_what_one_saw(finished, workplace):
    """Half the batch on each of two ranks: the loss of one rank's run, and an exact resume from an epoch's middle."""
    whole, again = workplace / "two", workplace / "two_again"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["--per_device_train_batch_size", "4"]
    pretrain(workplace, *words, "--output_dir", "two", launcher=launcher)
    again.mkdir()
    (whole / "checkpoint-8").rename(again / "checkpoint-8")
    pretrain(workplace, *words, "--output_dir", "two_again", "--resume_from_checkpoint", "true", launcher=launcher)
    expected, got = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    losses = [
        [line["loss"] for line in read_log(folder / "log.jsonl") if line["loss"] is not None]
        for folder in (finished[1], whole)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.fixture
def refused(workplace, monkeypatch, capsys):
    """`refused(*words)`: what the command says last, run here with these words; the exit code is 2."""

    def run(*words):
        monkeypatch.chdir(workplace)
        elsewhere = [] if "--output_dir" in words else ["--output_dir", "refused"]  # "out" holds a run already
        with pytest.raises(SystemExit) as caught:
            run_recipe("pretrain", ["recipe.yaml", *elsewhere, *words])
        assert caught.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_train_epoch", "1"], "unknown key 'num_train_epoch'; the nearest known one is 'num_train_epochs'"),
        (["--train_beton", "missing.beton"], "train_beton: there is no file missing.beton"),
        (["--resolution_schedule.resolutions", "[48, 30, 48]"], "resolutions[1]: 30 is not a multiple of the patch"),
        (["--probe_every_n_steps", "0"], "probe_every_n_steps: 0 is below 1"),
        (["--logging_steps", "0"], "logging_steps"),
        (["--model_overrides.num_attention_heads", "5"], "num_attention_heads: 5 do not divide hidden_size 192"),
        (["--model_name_or_path", "no/such/folder", "--output_dir", "out2"], "no/such/folder"),
        (["--output_dir", "recipe.yaml/under"], "recipe.yaml/under"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(refused, words, message):
    assert message in refused(*words)


def test_a_corrupt_image_ends_the_run_with_its_file_and_index(workplace, refused):
    damaged = bytearray((workplace / "train.beton").read_bytes())
    start = damaged.find(b"\xff\xd8\xff")  # the first photograph's first bytes
    damaged[start : start + 2000] = bytes(2000)
    (workplace / "damaged.beton").write_bytes(damaged)
    said = refused("--train_beton", "damaged.beton", "--output_dir", "damaged")
    assert re.search(r"CorruptSampleError: .*damaged.beton: sample \d+ cannot be decoded", said)


def test_zero_filled_samples_are_counted_and_never_scored(workplace):
    """A damaged sample in both files: the run goes on, the log counts it, and no score has it among its images."""
    words = ["--train_beton", "damaged.beton", "--eval_beton", "damaged.beton", "--output_dir", "zero"]
    pretrain(workplace, *words, "--on_error", "zero", "--num_train_epochs", "3")
    lines = read_log(workplace / "zero" / "log.jsonl")
    assert [line["damaged_samples"] for line in lines if line.get("damaged_samples")][-1] >= 2
    scores = [line["knn_accuracy"] for line in lines if line.get("knn_accuracy") is not None]
    assert len(scores) == 3
    assert all(score * 49 == pytest.approx(round(score * 49)) for score in scores), "of 50 images 49 can be scored"


def test_an_interruption_says_how_to_go_on(workplace, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(workplace)
    monkeypatch.setattr("dailymae_hf.recipe.pretrain.Setup", interrupted)
    with pytest.raises(SystemExit) as caught:
        run_recipe("pretrain", ["recipe.yaml", "--output_dir", "interrupted"])
    assert caught.value.code == 130
    assert "--resume_from_checkpoint auto" in capsys.readouterr().err


def test_a_second_start_without_a_word_is_refused_before_anything_else(finished, refused):
    _, out = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    said = refused("--output_dir", "out", "--model_overrides.num_attention_heads", "5")
    assert "output_dir: out holds a run already (checkpoint-18" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
