"""What the checks of docs/reliability.md cost: per step beside the demo's step, per checkpoint beside a ViT-B's.

    python benchmarks/bench_checks.py --out benchmarks/results/checks.json

The step is that of recipes/configs/demo.yaml, without loading and probe; its checks are the copy of loss and gradient
norm and the look at them. The checkpoint is that of a ViT-B/16 autoencoder with AdamW's moments: what the run waits for
is writing, checking the weights meanwhile, and settings; bringing it to the disk and the manifest go on beside the run.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from environment import environment
from safetensors.torch import save_file

from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.recipe.build import model_config
from dailymae_hf.recipe.recipe import PretrainRecipe, load_recipe
from dailymae_hf.training.finite import WeightsCheck, all_finite
from dailymae_hf.training.manifest import damage, write_manifest
from dailymae_hf.training.run_guard import RunGuard

ROOT = Path(__file__).parents[1]


def median_seconds(work: Callable[[], Any], tries: int) -> float:
    """Median wall seconds of `work`, after one call that is not timed."""
    times = []
    for number in range(tries + 1):
        start = time.perf_counter()
        work()
        if number:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def step_costs() -> dict[str, float]:
    recipe: PretrainRecipe = load_recipe(
        ROOT / "recipes" / "configs" / "demo.yaml", ["--train_beton", "none", "--use_cpu", "true"]
    )
    model = DailyMAEForPreTraining(model_config(recipe))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    pixels = torch.randn(recipe.training.per_device_train_batch_size, 3, 96, 96)
    loss = torch.zeros(())

    def step() -> None:
        nonlocal loss
        loss = model(pixels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    guard = RunGuard(SimpleNamespace(device=torch.device("cpu"), fp16=False), SimpleNamespace(look=lambda: None))
    guard.begin(0, 0.0)
    done, norm = 0, torch.ones(())

    def thousand_looks() -> None:
        nonlocal done
        for _ in range(1000):
            done += 1
            guard.after_step(done, loss.detach(), norm, restarted=True)

    return {"step_seconds": median_seconds(step, 40), "checks_seconds": median_seconds(thousand_looks, 9) / 1000}


def checkpoint_costs(folder: Path) -> dict[str, float]:
    model = DailyMAEForPreTraining(mae_config("base"))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    moments = [{"exp_avg": torch.rand_like(p), "exp_avg_sq": torch.rand_like(p)} for p in model.parameters()]

    def write() -> None:
        save_file(weights, folder / "model.safetensors")
        torch.save(moments, folder / "optimizer.pt")

    plain: list[float] = []
    checked: list[float] = []
    waited: list[float] = []
    for number in range(6):  # by turns, as a disk's speed wanders
        start = time.perf_counter()
        check = WeightsCheck(model) if number % 2 else None
        write()
        written = time.perf_counter()
        if check is not None:
            check.all_finite()
            waited.append(time.perf_counter() - written)
        (checked if check else plain).append(time.perf_counter() - start)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
    finite = median_seconds(lambda: all_finite(model), 5)
    start = time.perf_counter()
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    synced = time.perf_counter() - start
    return {
        "gigabytes": size,
        "write_seconds": statistics.median(plain),
        "write_with_weights_check_seconds": statistics.median(checked),
        "weights_check_waited_for_seconds": statistics.median(waited),
        "weights_check_alone_seconds": finite,
        "beside_the_run_sync_seconds": synced,
        "beside_the_run_manifest_seconds": median_seconds(lambda: write_manifest(folder), 3),
        "resume_verify_seconds": median_seconds(lambda: damage(folder), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="write the checkpoint on this disk")
    given = parser.parse_args()
    torch.set_num_threads(1)  # the weights are looked at by another one while the first one writes
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = {"step": step_costs(), "checkpoint": checkpoint_costs(Path(folder))}
    content = {**environment(), "load": os.getloadavg()[0], **found}
    given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
