"""The SLURM script's arithmetic, run with stand-ins for srun and scontrol that show what would be launched."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "slurm" / "pretrain.sbatch"


@pytest.fixture
def submit(tmp_path):
    """`submit(nodes, *words, **settings)`: the script's result, with SLURM's programs replaced."""
    programs = {
        "scontrol": "printf 'first\\nsecond\\n'",
        "srun": 'shift; for node in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_NODEID=$node "$@"; done',
        "accelerate": 'echo LAUNCH "$@"',
    }
    for name, body in programs.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def run(nodes, *words, **settings):
        slurm = {"SLURM_NNODES": nodes, "SLURM_JOB_NODELIST": "first,second", "SLURM_JOB_ID": 1234567}
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": ""}
        environ |= {k: str(v) for k, v in (slurm | settings).items()}
        return subprocess.run(
            ["bash", str(SCRIPT), *words], env=environ, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def option(line, name):
    words = line.split()
    return words[words.index(f"--{name}") + 1]


@pytest.mark.parametrize(
    ("nodes", "gpus", "per_gpu", "accumulation"),
    [(1, 8, 512, 1), (2, 8, 256, 1), (4, 8, 128, 1), (16, 8, 32, 1), (1, 4, 512, 2), (64, 8, 8, 1), (1, 1, 512, 8)],
)
def test_the_global_batch_stays(submit, nodes, gpus, per_gpu, accumulation):
    done = submit(nodes, "recipe.yaml", GPUS_PER_MACHINE=gpus)
    assert done.returncode == 0, done.stderr
    launches = [line for line in done.stdout.splitlines() if line.startswith("LAUNCH")]
    assert [option(line, "machine_rank") for line in launches] == [str(node) for node in range(nodes)]
    for line in launches:
        assert (option(line, "num_machines"), option(line, "num_processes")) == (str(nodes), str(nodes * gpus))
        assert option(line, "per_device_train_batch_size") == str(per_gpu)
        assert option(line, "gradient_accumulation_steps") == str(accumulation)
        assert option(line, "main_process_ip") == "first"
        assert 20000 <= int(option(line, "main_process_port")) < 30000
    assert nodes * gpus * per_gpu * accumulation == 4096


def test_what_fits_a_gpu_is_kept(submit):
    done = submit(2, "recipe.yaml", GPUS_PER_MACHINE=8, MAX_BATCH_PER_GPU=100)
    assert "--per_device_train_batch_size 64 --gradient_accumulation_steps 4" in done.stdout


def test_a_batch_that_cannot_be_dealt_out_is_refused(submit):
    done = submit(3, "recipe.yaml", GPUS_PER_MACHINE=8)
    assert done.returncode == 2
    assert "GLOBAL_BATCH=4096 cannot be dealt out equally to 24 ranks" in done.stderr


def test_overrides_and_the_local_folder_reach_the_recipe(submit):
    done = submit(1, "recipe.yaml", "--run_name", "two words", GPUS_PER_MACHINE=8, LOCAL_FOLDER="/scratch/me")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("LAUNCH"))
    assert "recipes/pretrain.py recipe.yaml --run_name two words --resume_from_checkpoint auto --per_device" in line
    assert line.endswith("--local_folder /scratch/me")


def test_no_recipe_is_a_usage_error(submit):
    done = submit(1)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_a_word_about_resuming_is_left_alone(submit):
    done = submit(1, "recipe.yaml", "--resume_from_checkpoint", "out/checkpoint-8", GPUS_PER_MACHINE=8)
    assert done.stdout.count("--resume_from_checkpoint") == 1


def test_a_virtual_environment_that_is_missing_is_named(submit):
    done = submit(1, "recipe.yaml", VENV="/no/where")
    assert done.returncode == 2
    assert "VENV=/no/where" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_that_is_asked_to_stop_lets_the_run_save_and_queues_up_again(tmp_path, number):
    """SLURM's signal reaches the step as SIGTERM; the step takes its time, and only then the job is queued again."""
    programs = {
        "scontrol": f'if [ "$1" = requeue ]; then echo "requeue $2" >> {tmp_path}/said; else echo first; fi',
        "srun": f"""
trap 'sleep 1; echo saved >> {tmp_path}/said; exit 75' TERM
echo started >> {tmp_path}/said
while true; do sleep 0.1; done""",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "first", "SLURM_JOB_ID": "77", "GPUS_PER_MACHINE": "1"}
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": "", **slurm}
    job = subprocess.Popen(["bash", str(SCRIPT), "recipe.yaml"], env=environ, stdout=subprocess.DEVNULL)
    said, deadline = tmp_path / "said", time.monotonic() + 60
    while not said.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(number)
    assert job.wait(timeout=60) == 75
    assert said.read_text().splitlines() == ["started", "saved", "requeue 77"]
