"""Damage to checkpoints, disks that fill or go away, folders used twice, data that change under a run."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.outcomes import Try
from faults.workplace import STEPS, Ended, Workplace, last_step, newest_step, weights


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _judged(fault: str, ended: Ended, *wanted: str) -> Try:
    verdict = ended.verdict or "silent"
    if verdict == "refused in one line" and not all(word in ended.said for word in wanted):
        verdict = "refused, but not as promised"
    return Try(fault, verdict, ended.error[-300:], None, ended.seconds)


def _finished(place: Workplace, out: str) -> Path:
    """A run that has ended, made once and copied."""
    whole = place.folder / "whole"
    if not (whole / "model.safetensors").exists():
        place.finish("--output_dir", whole.name, "--overwrite_output_dir", "true")
    shutil.rmtree(place.folder / out, ignore_errors=True)
    shutil.copytree(whole, place.folder / out)
    return place.folder / out


def damage(place: Workplace, tries: int) -> Iterator[Try]:
    """Each file of the newest checkpoint damaged: naming it is refused with the file; `auto` takes the one before."""
    names = sorted(path.name for path in (_finished(place, "damaged") / f"checkpoint-{STEPS}").iterdir())
    expected = weights(place.folder / "whole")
    for number, name in enumerate(names * tries):
        kind, harm = (("truncated", _truncate), ("emptied", _empty), ("flipped", _flip))[number % 3]
        out = _finished(place, "damaged")
        file = out / f"checkpoint-{STEPS}" / name
        harm(file)
        words = ["--output_dir", out.name, "--resume_from_checkpoint"]
        ended = place.finish(*words, f"{out.name}/checkpoint-{STEPS}")
        yield _judged(f"a checkpoint's file {kind}, resumed by name", ended, str(file.relative_to(place.folder)))
        ended = place.finish(*words, "auto")
        good = ended.status == 0 and weights(out) == expected and str(file.relative_to(place.folder)) in ended.said
        verdict = "survived" if good else ended.verdict or "silent"
        yield Try(f"a checkpoint's file {kind}, resumed with auto", verdict, ended.error[-300:], 20)


def disks(place: Workplace, tries: int) -> Iterator[Try]:
    """A disk that is full, becomes read-only, or goes away while a run writes to it. Needs the right to mount."""
    for _ in range(tries):
        for fault, size, change in (
            ("the disk is full", "3m", None),
            ("the disk becomes read-only", "64m", ("mount", "-o", "remount,ro")),
            ("the disk goes away", "64m", ("umount", "-l")),
        ):
            yield _on_a_disk(place, fault, size, change)


def _on_a_disk(place: Workplace, fault: str, size: str, change: tuple[str, ...] | None) -> Try:
    disk = place.folder / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    try:
        run = place.start_slow("--output_dir", "disk/out")
        if change is not None:
            if not run.wait_for_step(45, "disk/out"):
                return Try(fault, "did not start", run.end(1).said[-300:])
            subprocess.run([*change, str(disk)], check=True)
        ended = run.end()
        kept = newest_step(disk / "out") if change is None or "umount" not in change else 0
        return _judged(fault + (f" (step {kept} kept)" if kept else ""), ended, "disk")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def may_mount(place: Workplace) -> bool:
    disk = place.folder / "disk"
    disk.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=False, capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", str(disk)], check=True)
    return done.returncode == 0


def _state(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.lock"}


def folders(place: Workplace, tries: int) -> Iterator[Try]:
    """An output folder that holds a run, or is being written to."""
    for _ in range(tries):
        out = _finished(place, "twice")
        before = _state(out)
        ended = place.finish("--output_dir", out.name)
        yield _unchanged(
            _judged("a start without a word into a run's folder", ended, "overwrite_output_dir"), out, before
        )
        shutil.rmtree(out)
        run = place.start_slow("--output_dir", out.name, pause=2.0)
        run.wait_for_step(30, out.name)
        for words in ((), ("--resume_from_checkpoint", "auto"), ("--overwrite_output_dir", "true")):
            ended = place.finish("--output_dir", out.name, *words)
            yield _judged("a second run into the same folder", ended, f"process {run.process.pid}")
        alive = run.process.poll() is None
        os.killpg(run.process.pid, signal.SIGKILL)
        run.end()
        lost = last_step(out) - newest_step(out)
        ended = place.finish("--output_dir", out.name, "--resume_from_checkpoint", "auto")
        good = alive and ended.status == 0 and last_step(out) == STEPS
        yield Try("the lock of a killed run", "survived" if good else "lost", ended.error[-300:], lost)
        yield _beside_a_damaged_one(place)


def _unchanged(one: Try, out: Path, before: dict[str, bytes]) -> Try:
    after = _state(out)
    if after == before:
        return one
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    return Try(one.fault, "changed files", ", ".join(changed), None, one.seconds)


def _beside_a_damaged_one(place: Workplace) -> Try:
    fault, out = "a damaged old checkpoint beside a healthy run", place.folder / "beside"
    shutil.rmtree(out, ignore_errors=True)
    run = place.start_slow("--output_dir", out.name)
    if not run.wait_for((out / "checkpoint-20").exists):
        return Try(fault, "did not start", run.end(1).said[-300:])
    for name in ("run_settings.json", "trainer_state.json", "manifest.json"):
        (out / "checkpoint-20" / name).write_bytes(b"")
    ended = run.end()
    good = ended.status == 0 and newest_step(out) == STEPS
    return Try(fault, "survived" if good else ended.verdict or "lost", ended.error[-300:], 0)


def data(place: Workplace, tries: int) -> Iterator[Try]:
    """The training file replaced or cut short under a run, and another one for its continuation."""
    for _ in range(tries):
        yield _while_it_runs(place, "the training file is replaced", _replace, 0)
        yield _while_it_runs(place, "the training file shrinks", lambda path: os.truncate(path, 4096), None)
        out = _finished(place, "continued")
        shutil.rmtree(out / f"checkpoint-{STEPS}")
        for words in _CHANGES:
            before = _state(out)
            ended = place.finish("--output_dir", out.name, "--resume_from_checkpoint", "auto", *words)
            yield _unchanged(
                _judged("a continuation with another recipe or other data", ended, "ResumeError"), out, before
            )


_CHANGES = (
    *(("--train_beton", "other.beton"), ("--crop_scale", "[0.5, 1.0]"), ("--hflip", "false")),
    *(("--image_mean", "[0.1, 0.1, 0.1]"), ("--model_overrides.norm_pix_loss", "false"), ("--max_grad_norm", "1.0")),
    *(("--bf16", "true"), ("--adam_epsilon", "1e-4"), ("--seed", "7")),
)


def _replace(path: Path) -> None:
    shutil.copy(path.with_name("other.beton"), path.with_name("new"))
    path.with_name("new").rename(path)


def _while_it_runs(place: Workplace, fault: str, change: Callable[[Path], None], status: int | None) -> Try:
    """`status` 0: the run may go on with the file that it has open; or it is refused by the file's name."""
    path, out = place.folder / "changing.beton", place.folder / "changing"
    shutil.copy(place.folder / "train.beton", path)
    shutil.rmtree(out, ignore_errors=True)
    run = place.start_slow("--train_beton", path.name, "--output_dir", out.name)
    if not run.wait_for_step(30, out.name):
        return Try(fault, "did not start", run.end(1).said[-300:])
    change(path)
    start = time.monotonic()
    ended = run.end()
    seconds = time.monotonic() - start
    if status == 0 and ended.status == 0:
        same = weights(out) == weights(place.folder / "whole") if (place.folder / "whole").exists() else False
        return Try(fault, "survived" if same else "silent", "", 0, None)
    one = _judged(fault, ended, path.name)
    return Try(fault, one.verdict, one.detail, last_step(out) - newest_step(out), seconds)
