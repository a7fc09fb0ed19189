"""The set-up script's choice of torch, with a package index that is a shell function."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bootstrap.sh"


def install_torch(asked_for: str, given: str) -> tuple[int, list[str], str]:
    """The function of that name, where the index gives the kind of torch `given`: exit code, calls of pip, message."""
    program = f"""
set -euo pipefail
source <(sed -n '/^torch_is_wanted()/p; /^install_torch()/,/^}}/p' {SCRIPT})
venv=/nonexistent TORCH={asked_for}
say() {{ :; }}
fail() {{ echo "$*" >&2; exit 1; }}
torch_kind() {{ echo {given}; }}
nvidia-smi() {{ return 1; }}
pip() {{ echo "$*"; [[ "$*" != *+cpu* ]] || [ {given} = cpu ]; }}
install_torch
"""
    done = subprocess.run(["bash", "-c", program], check=False, capture_output=True, text=True, cwd=SCRIPT.parents[1])
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_cuda_can_be_asked_for_where_there_is_no_gpu() -> None:
    code, calls, message = install_torch("cuda", "cuda")
    assert code == 0, message
    assert calls
    assert not any("+cpu" in call for call in calls)


@pytest.mark.parametrize(("asked_for", "given"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_the_other_kind_than_asked_for_is_an_error(asked_for: str, given: str) -> None:
    code, _, message = install_torch(asked_for, given)
    assert code == 1
    assert message.startswith(f"TORCH={asked_for}: ")


def test_where_nothing_is_said_and_no_cpu_wheel_is_to_be_had_the_plain_one_serves() -> None:
    code, calls, _ = install_torch("''", "cuda")
    assert code == 0
    assert "+cpu" not in calls[-1]


def test_another_word_is_refused_at_once() -> None:
    done = subprocess.run(["bash", SCRIPT], check=False, env={"TORCH": "gpu"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "set-up stopped: TORCH=gpu is neither cpu nor cuda\n"
