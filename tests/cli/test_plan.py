"""`dailymae plan`: from a recipe and a results file to a table, a picture, a plan that a run can follow."""

import json
import re

import pytest
from PIL import Image

from dailymae_hf.cli.main import main
from dailymae_hf.plan import read_throughput
from dailymae_hf.training.callbacks import PlanCallback

RECIPE = """
model_size: base
train_beton: nowhere.beton
output_dir: out
num_train_epochs: 800
per_device_train_batch_size: 512
resolution_schedule: {kind: palindrome, resolutions: [224, 192, 224]}
use_cpu: true
"""
SPEEDS = {
    "step": [{"resolution": 224, "mask_ratio": 0.75, "images_per_second": 1000.0}],
    "loader": [{"resolution": 224, "images_per_second_per_core": 100.0}],
    "source": "a test's figures",
}


@pytest.fixture
def plan(tmp_path, capsys):
    """`plan(*words)`: exit code, stdout and stderr of the command for ImageNet on 8 devices."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "speeds.json").write_text(json.dumps(SPEEDS))

    def run(*words, speeds=("--throughput", str(tmp_path / "speeds.json"))):
        where = ["--recipe", str(tmp_path / "recipe.yaml"), "--images", "1281167", "--gpus", "8"]
        code = main(["plan", *where, *speeds, *words])
        return code, *capsys.readouterr()

    return run


def test_hours_are_images_over_images_per_second(plan):
    code, out, _ = plan("--cores-per-gpu", "16")
    assert code == 0
    # 312 steps of 4096 images, 800 times, at 8,000 images/s: 35 h 30 min
    assert "constant 224: 35 h 30 min for 800 epochs" in out
    assert "this recipe: " in out
    assert "palindrome 224-192-224: " in out
    assert "increasing 160-192-224: " in out
    assert "a test's figures" in out
    assert "as fast among others as alone" in out


def test_too_few_cores_are_told(plan):
    _, out, _ = plan("--cores-per-gpu", "5")
    row = next(line for line in out.splitlines() if line.strip().startswith("224"))
    assert row.split()[-2:] == ["loader", "10.0"]


def test_a_budget_is_fitted_drawn_and_written(plan, tmp_path):
    picture, written = tmp_path / "plan.png", tmp_path / "plan.json"
    code, out, _ = plan("--cores-per-gpu", "16", "--budget", "33h", "--picture", str(picture), "--out", str(written))
    assert code == 0
    assert "fits 33h: 3" in out
    schedule = json.loads(next(line for line in out.splitlines() if line.startswith("resolution_schedule"))[21:])
    assert [stage["resolution"] for stage in schedule["stages"]][-1] == 224
    assert Image.open(picture).width > 300
    assert PlanCallback.from_file(written).plan.budget_seconds == 33 * 3600
    assert PlanCallback.from_file(written).plan.seconds < 33 * 3600
    assert read_throughput(written).source == "a test's figures"


def test_loading_on_the_steps_cores_is_said_to_be_in_the_step(plan, tmp_path):
    """As on a CPU; the table said that the loader was not measured."""
    (tmp_path / "shared.json").write_text(json.dumps({"step": SPEEDS["step"], "shared_cores": True}))
    _, out, _ = plan("--cores-per-gpu", "1", speeds=("--throughput", str(tmp_path / "shared.json")))
    row = next(line for line in out.splitlines() if line.strip().startswith("224"))
    assert "in the step  shared cores" in row
    assert "not measured" not in row
    assert "8 devices, 1 core each" in out


def test_energy_and_cost(plan):
    _, out, _ = plan("--cores-per-gpu", "16", "--watts-per-gpu", "1000", "--price-per-gpu-hour", "2")
    # 35.5 hours on 8 devices
    assert "284.0 kWh, cost 567.98" in out


def test_a_stated_utilisation_is_marked_as_not_measured(plan):
    _, out, _ = plan(speeds=("--mfu", "0.37", "--peak-tflops", "312"))
    assert "Throughput: not measured: 37%" in out
    # the paper's run: about 18 hours
    hours = next(line for line in out.splitlines() if line.startswith("constant 224"))
    assert "18 h" in hours


def test_dropped_decoder_tokens_shorten_a_stated_run(plan, tmp_path):
    """At the same share of the peak: by the 21 % that half of the hidden patches save ViT-B."""
    hours = []
    for line in ("", "decoder_keep: 0.5"):
        (tmp_path / "recipe.yaml").write_text(RECIPE + line)
        _, out, _ = plan(speeds=("--mfu", "0.37", "--peak-tflops", "312"))
        whole, minutes = map(int, re.search(r"constant 224: (\d+) h (\d+) min", out).groups())
        hours.append(whole + minutes / 60)
    assert hours[1] / hours[0] == pytest.approx(0.79, abs=0.005)


def test_keys_of_the_recipe_can_follow(plan):
    """As after `dailymae pretrain`; they were unrecognized."""
    code, out, _ = plan("--cores-per-gpu", "16", "--num_train_epochs", "400", "--resolution_schedule", "null")
    assert code == 0
    assert "constant 224: 17 h 45 min for 400 epochs" in out
    assert "this recipe" not in out
    code, _, err = plan("--num_train_epoch", "400")
    assert (code, "unknown key 'num_train_epoch'" in err) == (2, True)


def test_a_file_that_is_missing_is_named_with_its_key(tmp_path, capsys):
    """`make demo` makes the demo's alone."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "speeds.json").write_text(json.dumps(SPEEDS))
    words = ["plan", "--recipe", str(tmp_path / "recipe.yaml"), "--throughput", str(tmp_path / "speeds.json")]
    for file, command in (("nowhere.beton", "dailymae write"), ("outputs/demo/train.beton", "make demo")):
        assert main([*words, "--train_beton", str(tmp_path / file)]) == 2
        err = capsys.readouterr().err
        assert re.search(f"train_beton: there is no file .*{file}; .*`{command}` makes such files", err)


@pytest.mark.parametrize(
    ("words", "speeds", "message"),
    [
        (["--budget", "18"], None, "--budget: '18' is not a duration"),
        ([], ("--mfu", "0.4"), "needs both"),
        ([], ("--throughput", "missing.json"), "missing.json"),
    ],
)
def test_mistakes_are_one_line(plan, words, speeds, message):
    code, _, err = plan(*words, **({} if speeds is None else {"speeds": speeds}))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
