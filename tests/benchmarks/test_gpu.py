"""The GPU's pieces, each at a small size on the CPU, and the command that runs them one by one."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gpu import page, run
from gpu.correctness import back_to_the_cpu, compilations, float8, resume, same_on_both
from gpu.loading import threads, training
from gpu.pieces import pieces
from gpu.profile import covered, kind_of, measure, union
from gpu.scale import FULL, SMALL


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize("check", [same_on_both, back_to_the_cpu, compilations, float8])
def test_checks_pass_on_a_cpu(check: Any, work: Path) -> None:
    assert check(SMALL, "cpu", work)["passed"]


def test_a_resumed_run_is_compared_bit_by_bit(work: Path) -> None:
    found = resume(SMALL, "cpu", work, deterministic=True)
    assert found == {"passed": True, "largest_difference": 0, "bound": 0}


def test_steps_are_measured_for_all_contenders() -> None:
    found = pieces(SMALL)["step: tiny, eager, mask 0.9, 64 80 px"](SMALL, "cpu", Path())
    for row in found["resolutions"].values():
        for contender in ("ours", "stock", "plain torch"):
            assert row[contender]["images_per_second"] > 0
        # Stock resamples its positions off the native size, and its decoder's along the wrong axis.
        assert row["plain torch"]["largest_loss_difference"] < 1e-4


def test_the_loader_is_measured_by_threads_and_training_beside_the_step(work: Path) -> None:
    rates = threads(SMALL, "cpu", work)["images_per_second"]
    assert {mode: sorted(by_threads) for mode, by_threads in rates.items()} == {"jpg": ["1", "2"], "dct": ["1", "2"]}
    found = training(SMALL, "cpu", work, model="tiny")
    assert found["of_step_alone"] > 0
    assert 0 <= found["with_loader"]["data_wait"] <= 1


def test_a_profile_tells_kinds_of_kernels_and_what_of_the_copies_is_hidden() -> None:
    assert measure(SMALL, "cpu", Path(), model="tiny", steps=1)["eager"]["fraction_of_wall"]["matrix products"] > 0
    assert kind_of("void flash_fwd_kernel<...>") == "attention"
    assert kind_of("sm90_xmma_gemm_bf16bf16") == "matrix products"
    assert union([(0, 2), (1, 3), (5, 6)]) == [(0, 3), (5, 6)]
    assert covered([(0, 4)], by=[(1, 2), (1.5, 3)]) == 0.5


def test_every_setting_of_the_full_scale_is_a_piece() -> None:
    names = list(pieces(FULL))
    for model in ("base", "large"):
        for mode in ("eager", "compiled", "graphs"):
            for ratio in ("0.75", "0.9"):
                those = [name for name in names if name.startswith(f"step: {model}, {mode}, mask {ratio}, ")]
                assert sorted(" ".join(those).count(f" {size}") for size in (224, 192, 160, 128)) == [1, 1, 1, 1]


def arguments(out: Path, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(out=out, scale="small", device="cpu", again=False, **{"seconds": 60.0, **changes})


def test_a_second_call_runs_what_the_first_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []

    def start(args: Any, name: str, seconds: float) -> dict[str, Any]:
        began.append(name)
        return (
            {"status": "failed", "error": "Traceback\nOutOfMemoryError: full"} if name == "b" else {"status": "cut off"}
        )

    monkeypatch.setattr(run, "start_piece", start)
    assert run.run_all(arguments(tmp_path, seconds=0), ["a", "b"]) == 3  # no time: all is left
    assert run.run_all(arguments(tmp_path), ["b"]) == 1
    assert run.run_all(arguments(tmp_path), ["b"]) == 1
    assert began == ["b"]  # what failed is not tried again unless asked
    run.run_all(arguments(tmp_path), ["a"])
    run.run_all(arguments(tmp_path), ["a"])
    assert began == ["b", "a", "a"]  # what the end of a call cut off is
    assert "- b: failed, OutOfMemoryError: full" in (tmp_path / "gpu.md").read_text()


def test_a_piece_is_a_process_and_leaves_its_result_and_the_page(tmp_path: Path) -> None:
    words = ["--scale", "small", "--device", "cpu", "--out", str(tmp_path), "--only", "correctness: float8"]
    assert run.main(words) == 0
    [(name, answer)] = json.loads((tmp_path / "gpu.json").read_text())["pieces"].items()
    assert (name, answer["status"]) == ("correctness: float8", "done")
    assert "| float8 | yes | refused float8: " in (tmp_path / "gpu.md").read_text()


def test_the_kernel_comes_out_of_a_wheel_where_none_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run.os, "uname", lambda: argparse.Namespace(machine="x86_64"))
    native = tmp_path / "dailymae_hf" / "_native"
    native.mkdir(parents=True)
    (tmp_path / "dist").mkdir()
    with zipfile.ZipFile(tmp_path / "dist" / "dailymae_hf-1-py3-none-manylinux_2_28_x86_64.whl", "w") as wheel:
        wheel.writestr("dailymae_hf/_native/_kernel.so", b"kernel")
    run.find_kernel()
    assert (native / "_kernel.so").read_bytes() == b"kernel"


def test_the_page_has_a_row_for_each_contender(tmp_path: Path) -> None:
    figures = {"images_per_second": 1234.5, "mfu": 0.4, "peak_memory_mib": 99, "ours_is_faster_by": 1.5}
    step = {"batch": 4, "resolutions": {"224": {"peak_tflops": 1.0, "stock": figures}}}
    facts = dict.fromkeys(("python", "torch", "transformers", "ffcv", "cores", "commit", "date"), "x")
    answers = {
        "step: base, eager, mask 0.75, 224 px": {
            "status": "done",
            "result": step,
            "device": "H100",
            "environment": facts,
        }
    }
    text = page.write(tmp_path, answers).read_text()
    assert "| base, eager, mask 0.75, 224 px, batch 4 | stock | 1,234 | 0.4 | 99 | 1.5 |" in text
