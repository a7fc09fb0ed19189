"""Ranks on the CPU under torchrun, with DDP and FSDP2: one rank's result at the same global batch, an exact resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForPreTraining, ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.run_files import read_log
from tests.support.in_memory import tiny_model
from tests.support.rank_run import run

SCRIPT = Path(__file__).parents[1] / "support" / "rank_run.py"
# Adam divides a gradient by its own size: where that is rounding noise, so is the update's sign. A large epsilon bounds
# the amplification of a gradient's error d to (sum of learning rates) * d / epsilon, and a tolerance can be derived.
EPSILON = 1e-3
SMOOTH = {"arguments": {"adam_epsilon": EPSILON}}


def launch(*runs: dict, ranks: int = 2) -> None:
    """Ranks that do one run after the other."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(ranks),
        str(SCRIPT),
    ]
    done = subprocess.run(
        [*command, *(json.dumps({**SMOOTH, **run}) for run in runs)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def training_log(folder: Path) -> list[dict]:
    return [line for line in read_log(folder / "log.jsonl") if line["loss"] is not None]


def results(folder: Path, rank: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    weights = load_file(folder / f"weights-{rank}.safetensors")
    probe = load_file(folder / f"probe-{rank}.safetensors")
    scores = json.loads((folder / f"scores-{rank}.json").read_text())
    return weights | {f"probe.{name}": value for name, value in probe.items()}, scores


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of an unbroken run, of one that died after step 7, and of one that accumulates."""
    folder = tmp_path_factory.mktemp("two")
    names = ("whole", "broken", "accumulated")
    folders = {name: folder / name for name in names}
    launch(
        {"out": str(folders["whole"]), "batch": 4},
        {"out": str(folders["broken"]), "batch": 4, "stop_at": 7},
        {"out": str(folders["accumulated"]), "batch": 2, "accumulation": 2, "images": 45, "epochs": 1},
    )
    return folders


def test_two_ranks_hold_the_same_model_probe_and_scores(two_ranks):
    (weights, scores), (other_weights, other_scores) = (results(two_ranks["whole"], rank) for rank in (0, 1))
    assert [name for name, value in weights.items() if not torch.equal(value, other_weights[name])] == []
    assert scores == other_scores
    assert {"eval_loss", "probe_accuracy", "knn_accuracy", "rankme", "alpha_req"} == scores.keys()


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same run on one rank."""
    folder = tmp_path_factory.mktemp("one")
    run({"out": str(folder), "batch": 8, **SMOOTH})
    return folder


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four")
    launch({"out": str(folder), "batch": 2}, ranks=4)
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two ranks under FSDP2: an unbroken run, one that died after step 7 and was continued, and one with Muon."""
    folder = tmp_path_factory.mktemp("sharded")
    folders = {name: folder / name for name in ("whole", "broken", "muon")}
    launch(
        {"out": str(folders["whole"]), "batch": 4, "fsdp": True},
        {"out": str(folders["broken"]), "batch": 4, "fsdp": True, "stop_at": 7},
        {"out": str(folders["muon"]), "batch": 4, "fsdp": True, "arguments": {"optim": "muon"}},
    )
    launch({"out": str(folders["broken"]), "batch": 4, "fsdp": True, "resume": True})
    return folders


def test_muon_orthogonalises_whole_matrices_where_they_are_sharded(sharded, tmp_path):
    """Halves of a matrix made orthogonal each for itself would be another step. Muon computes in bfloat16, whose
    rounding depends on how products are cut."""
    run({"out": str(tmp_path), "batch": 8, **SMOOTH, "arguments": {"optim": "muon"}})
    one, many = ([line["loss"] for line in training_log(folder)] for folder in (tmp_path, sharded["muon"]))
    assert many == pytest.approx(one, rel=1e-4)
    assert max(many) - min(many) > 0.05


@pytest.mark.parametrize("kind", ["two", "four", "sharded"])
def test_ranks_train_to_the_result_of_one_with_the_same_global_batch(kind, one_rank, request):
    """Ranks add the same gradients in another order: a float32 sum of about 1e3 terms of at most the largest gradient
    differs by some 1e3 * 2**-24 of it, 6e-5, and no step turns more than (learning rate) / epsilon of that into weight.
    """
    made = request.getfixturevalue({"two": "two_ranks", "four": "four_ranks", "sharded": "sharded"}[kind])
    folder = made if isinstance(made, Path) else made["whole"]
    (one, scores), (many, many_scores) = results(one_rank), results(folder)
    logs = [training_log(folder) for folder in (one_rank, folder)]
    assert [line["loss"] for line in logs[1]] == pytest.approx([line["loss"] for line in logs[0]], rel=1e-5)
    assert many_scores["eval_loss"] == pytest.approx(scores["eval_loss"], rel=1e-5)
    assert [line["resolution"] for line in logs[1]] == [32] * 4 + [24] * 4 + [32] * 4
    learning_rates = sum(line["learning_rate"] for line in logs[0])
    largest_gradient = max(line["grad_norm"] for line in logs[0])
    bound = learning_rates / EPSILON * largest_gradient * 1e3 * 2**-24
    model = {name: value for name, value in one.items() if not name.startswith("probe.")}
    worst = max((value - many[name]).abs().max().item() for name, value in model.items())
    assert worst < bound
    moved = max((value - start).abs().max().item() for value, start in zip(model.values(), _start(model), strict=True))
    assert bound < moved / 10, "the bound is too loose to mean anything"
    assert many_scores["probe_accuracy"] == pytest.approx(scores["probe_accuracy"], abs=1 / 13 + 1e-6)


def _start(names):
    weights = tiny_model().state_dict()
    return [weights[name] for name in names]


def test_two_ranks_resume_in_the_middle_of_an_epoch_bit_for_bit(two_ranks):
    broken = two_ranks["broken"]
    assert (broken / "checkpoint-6").is_dir()
    assert not (broken / "weights-0.safetensors").exists()
    launch({"out": str(broken), "batch": 4, "resume": True})
    expected, scores = results(two_ranks["whole"])
    got, got_scores = results(broken)
    assert [name for name, value in expected.items() if not torch.equal(value, got[name])] == []
    assert scores == got_scores
    assert [line["step"] for line in training_log(broken)] == list(range(1, 13))


def test_shards_leave_a_plain_checkpoint(sharded):
    """Of the whole weights, with names and class that plain transformers knows, at every save."""
    weights, _ = results(sharded["whole"])
    model = AutoModelForPreTraining.from_pretrained(sharded["whole"] / "checkpoint-12")
    assert type(model) is ViTMAEForPreTraining
    assert model.config.architectures == ["ViTMAEForPreTraining"]
    state = model.state_dict()
    assert [name for name, value in state.items() if not torch.equal(value, weights[name])] == []


def test_shards_resume_bit_for_bit(sharded):
    expected, scores = results(sharded["whole"])
    got, got_scores = results(sharded["broken"])
    assert [name for name, value in expected.items() if not torch.equal(value, got[name])] == []
    assert scores == got_scores


def test_accumulation_on_two_ranks_equals_the_larger_batch(two_ranks, tmp_path):
    """DDP's static graph fails when the first backward pass is one of `no_sync`: accumulation must switch it off."""
    run({"out": str(tmp_path), "batch": 8, "images": 45, "epochs": 1, **SMOOTH})
    one, two = ([line["loss"] for line in training_log(folder)] for folder in (tmp_path, two_ranks["accumulated"]))
    assert len(one) == 4
    assert two == pytest.approx(one, rel=1e-5)


def test_processes_that_would_train_apart_are_refused(tmp_path, monkeypatch):
    """The stock arguments only warn when torch.distributed runs and they take this process for the only one."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(RecipeError, match="2 processes were started, but this one takes itself for one of 1"):
        run({"out": str(tmp_path)})
