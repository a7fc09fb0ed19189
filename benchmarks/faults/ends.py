"""Runs that are asked to stop, that diverge, or whose ranks differ, stand still or die."""

import os
import shutil
import signal
import time
from collections.abc import Iterator

from faults.outcomes import Try
from faults.workplace import (
    ACCELERATE,
    FAULTY,
    PYTHON,
    TWO_RANKS,
    Ended,
    Workplace,
    last_step,
    newest_step,
    weights,
)

_EXIT_PREEMPTED = 75


def signals(place: Workplace, tries: int) -> Iterator[Try]:
    """SIGTERM, SIGUSR1 and Ctrl-C to one rank and to two; after each the same command goes on to the same weights."""
    expected = _reference(place, "one", ())
    two = _reference(place, "two", ("--per_device_train_batch_size", "2"), launcher=TWO_RANKS)
    for number in range(tries):
        for name in ("SIGTERM", "SIGUSR1", "SIGINT"):
            yield _signalled(place, name, 30 + 40 * number, PYTHON, expected)
        yield _signalled(place, "SIGTERM", 30 + 40 * number, TWO_RANKS, two)
        yield _signalled(place, "SIGUSR1 to one rank", 30 + 40 * number, TWO_RANKS, two)
        yield _signalled(place, "SIGTERM", 30 + 40 * number, ACCELERATE, expected)
    yield _second_signal(place)


def _reference(place: Workplace, name: str, words: tuple[str, ...], launcher: tuple[str, ...] = PYTHON) -> bytes:
    out = place.folder / f"undisturbed-{name}"
    if not (out / "model.safetensors").exists():
        place.finish("--output_dir", out.name, "--overwrite_output_dir", "true", *words, launcher=launcher)
    return weights(out)


def _name(launcher: tuple[str, ...]) -> str:
    if launcher == TWO_RANKS:
        return "two ranks"
    return "accelerate launch" if launcher == ACCELERATE else "one rank"


def _signalled(place: Workplace, name: str, step: int, launcher: tuple[str, ...], expected: bytes) -> Try:
    fault, out = f"{name}, {_name(launcher)}", place.folder / "signalled"
    shutil.rmtree(out, ignore_errors=True)
    words = ["--output_dir", out.name, "--resume_from_checkpoint", "auto"]
    words += ["--per_device_train_batch_size", "2"] if launcher == TWO_RANKS else []
    run = place.start_slow(*words, launcher=launcher)
    if not run.wait_for_step(step, out.name):
        return Try(fault, "did not start", run.end(1).said[-300:])
    target = run.ranks()[1] if name.endswith("to one rank") else run.process.pid
    os.kill(target, signal.Signals[name.partition(" ")[0]])
    ended = run.end()
    deadline = time.monotonic() + 60  # accelerate leaves at once; its process ends itself
    while "continues" not in run.said and time.monotonic() < deadline:
        time.sleep(0.1)
    lost = last_step(out) - newest_step(out)
    if ended.status is None:
        return Try(fault, "hung", ended.said[-300:], lost, ended.seconds)
    good = {_EXIT_PREEMPTED, 128 + signal.SIGINT} if launcher == PYTHON else set(range(-64, 256)) - {0}
    if ended.status not in good or lost:
        return Try(fault, "lost", f"status {ended.status}: {run.said[-300:]}", lost, ended.seconds)
    again = place.finish(*words, launcher=launcher)
    if again.status != 0:
        return Try(fault, "lost", again.said[-300:], lost, ended.seconds)
    verdict = "survived" if weights(out) == expected else "silent"
    return Try(fault, verdict, f"status {ended.status}", lost, ended.seconds)


def _second_signal(place: Workplace) -> Try:
    out = place.folder / "signalled"
    shutil.rmtree(out, ignore_errors=True)
    run = place.start("--output_dir", out.name, script=FAULTY, FAULT="slow:30")
    if not run.wait_for((out / "log.jsonl").exists):
        return Try("a second SIGTERM", "did not start", run.end(1).said[-300:])
    os.kill(run.process.pid, signal.SIGTERM)
    time.sleep(6)
    os.kill(run.process.pid, signal.SIGTERM)
    ended = run.end(60)
    verdict = "stopped as asked" if ended.status == -signal.SIGTERM and ended.seconds < 10 else "hung"
    return Try("a second SIGTERM", verdict, f"status {ended.status}", None, ended.seconds)


def divergence(place: Workplace, tries: int) -> Iterator[Try]:
    """A loss that is no number: the run ends with one line, keeps its finite checkpoints, or goes back and on."""
    out = place.folder / "diverged"
    for number in range(tries):
        step = 31 + 20 * number
        for launcher in (PYTHON, TWO_RANKS):
            shutil.rmtree(out, ignore_errors=True)
            ended = place.finish("--output_dir", out.name, launcher=launcher, script=FAULTY, FAULT=f"nan:{step}")
            fault = f"a loss that is not a number, {_name(launcher)}"
            named = f"step {step}" in ended.said and f"checkpoint-{step // 20 * 20}" in ended.said
            yield _refused(fault, ended, named and _finite(place, out.name))
        shutil.rmtree(out, ignore_errors=True)
        ended = place.finish("--output_dir", out.name, "--on_nan", "rewind", script=FAULTY, FAULT=f"nan_once:{step}")
        survived = ended.status == 0 and _finite(place, out.name) and last_step(out) == 200
        verdict = "survived" if survived else "lost"
        yield Try("the same with on_nan: rewind", verdict, ended.said[-300:] if ended.status else "", step % 20)
    shutil.rmtree(out, ignore_errors=True)
    ended = place.finish("--output_dir", out.name, "--learning_rate", "1e6", "--warmup_epochs", "19")
    yield _refused("a learning rate that diverges by itself", ended, _finite(place, out.name))


def _finite(place: Workplace, out: str) -> bool:
    """Whether every kept checkpoint holds numbers only."""
    import torch
    from safetensors.torch import load_file

    files = [*(place.folder / out).glob("checkpoint-*/model.safetensors"), place.folder / out / "model.safetensors"]
    return all(bool(torch.isfinite(t).all()) for path in files if path.exists() for t in load_file(path).values())


def _refused(fault: str, ended: Ended, as_wanted: bool, seconds: float | None = None) -> Try:
    verdict = ended.verdict or "silent"
    if verdict == "refused in one line" and not as_wanted:
        verdict = "refused, but not as promised"
    return Try(fault, verdict, ended.error, None, ended.seconds if seconds is None else seconds)


def ranks(place: Workplace, tries: int) -> Iterator[Try]:
    """Ranks that were given other things, that die, that stand still, whose launcher is killed."""
    out = place.folder / "ranks"
    words = ["--output_dir", out.name, "--per_device_train_batch_size", "2", "--rank_timeout", "10"]
    for _ in range(tries):
        for name, fault, named in (
            ("rank 1 reads a longer file", "data:longer.beton", "rank 1 on"),
            ("rank 1 reads other pictures, as many", "data:other.beton", "rank 1 on"),
            ("rank 1 runs other code", "code:", "code of dailymae_hf"),
        ):
            shutil.rmtree(out, ignore_errors=True)
            ended = place.finish(*words, launcher=TWO_RANKS, script=FAULTY, FAULT=fault)
            yield _refused(name, ended, named in ended.said)
        for name, number, whom in (
            ("a rank is killed", signal.SIGKILL, 1),
            ("a rank is stopped (SIGSTOP)", signal.SIGSTOP, 1),
            ("the first rank is stopped (SIGSTOP)", signal.SIGSTOP, 0),
            ("the launcher is killed", signal.SIGKILL, None),
        ):
            yield _ended_rank(place, name, number, whom, words)


def _ended_rank(place: Workplace, name: str, number: int, whom: int | None, words: list[str]) -> Try:
    out = place.folder / "ranks"
    shutil.rmtree(out, ignore_errors=True)
    run = place.start_slow(*words, launcher=TWO_RANKS)
    if not run.wait_for_step(30, out.name):
        return Try(name, "did not start", run.end(1).said[-300:])
    processes = run.ranks()
    os.kill(run.process.pid if whom is None else processes[whom], number)
    start = time.monotonic()
    ended = run.end()
    while any(os.path.exists(f"/proc/{process}") for process in processes) and time.monotonic() - start < 120:
        time.sleep(0.05)
    seconds = time.monotonic() - start
    if any(os.path.exists(f"/proc/{process}") for process in processes):
        for process in processes:
            os.kill(process, signal.SIGKILL)
        return Try(name, "hung", "a rank goes on", None, seconds)
    lost = last_step(out) - newest_step(out)
    if ended.status in (None, 0):
        return Try(name, "hung" if ended.status is None else "silent", ended.said[-300:], lost, seconds)
    cause = {signal.SIGKILL: "SIGKILL", signal.SIGSTOP: "no sign of life"}[signal.Signals(number)]
    named = cause in run.said if whom is not None else "the launcher" in run.said
    return Try(name, "survived" if named and lost <= 20 else "cause not named", run.said[-300:], lost, seconds)
