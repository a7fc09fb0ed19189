"""The loader alone by threads, and whole training with it beside the step alone."""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import bench_step
import torch
from torch.profiler import ProfilerActivity

from dailymae_hf.cli.run import run_recipe
from dailymae_hf.data import BetonLoader
from gpu.images import betons
from gpu.profile import covered, intervals
from gpu.scale import Scale
from gpu.steps import step_arguments


def threads(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """Images/s of the loader at the native resolution, by storage mode and threads; batches end on the device."""
    batch = min(256, scale.images // 2)
    target = device if device == "cuda" else None
    rates: dict[str, dict[str, float]] = {}
    for mode, path in betons(work, scale).items():
        for number in scale.threads:
            loader = BetonLoader(
                path, batch, resolution=scale.resolutions[0], num_workers=number, return_index=True, device=target
            )
            _load(loader, scale.seconds / 4)  # the file's pages, and the first buffers
            rates.setdefault(mode, {})[str(number)] = round(_load(loader, 2 * scale.seconds))
    return {"images_per_second": rates, "batch": batch, "cores": len(os.sched_getaffinity(0))}


def _load(loader: BetonLoader, seconds: float) -> float:
    images, start = 0, time.perf_counter()
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        for batch in loader:
            images += len(batch["pixel_values"])
        if time.perf_counter() - start >= seconds:
            return images / (time.perf_counter() - start)
    raise AssertionError


def training(scale: Scale, device: str, work: Path, *, model: str) -> dict[str, Any]:
    """A recipe's run beside the step alone: images/s, data wait, cores, and how much of the copies a step hides."""
    path = betons(work, scale)["dct"]
    folder = work / f"training-{model}"
    args = step_arguments(scale, device, model, scale.resolutions[:1], scale.mask_ratios[0])
    recipe = write_recipe(
        folder,
        scale,
        model=model,
        beton=path,
        per_device_train_batch_size=min(args.batch, scale.images // 2),
        max_steps=scale.train_steps,
        logging_steps=max(1, scale.train_steps // 4),
        torch_compile=device == "cuda",
    )
    wall, processor = time.perf_counter(), time.process_time()
    code = run_recipe("pretrain", [str(recipe)])
    if code:
        raise SystemExit(f"dailymae pretrain ended with {code}")
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line.get("images_per_second")][-1]
    dtype = "bfloat16" if device == "cuda" else "float32"
    args.contenders = ["ours"]
    torch._dynamo.reset()
    alone = bench_step.measure(args, dtype, "compiled" if device == "cuda" else "eager", scale.resolutions[0])["ours"]
    return {
        "with_loader": {key: last[key] for key in ("images_per_second", "data_wait", "mfu") if key in last},
        "step_alone": alone,
        "of_step_alone": round(last["images_per_second"] / alone["images_per_second"], 3),
        "cores_used": round(processor / wall, 2),
        "copies_hidden": _copies_hidden(scale, device, path, args, dtype),
    }


def write_recipe(folder: Path, scale: Scale, *, model: str, beton: Path, **keys: Any) -> Path:
    """A pretraining recipe that only trains; `keys` win."""
    values = {
        "model_size": model,
        "image_size": scale.resolutions[0],
        "train_beton": str(beton),
        "output_dir": str(folder / "run"),
        "online_probe": False,
        "reconstruction_every_n_epochs": 0,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
        **keys,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))  # JSON is YAML
    return path


def _copies_hidden(scale: Scale, device: str, path: Path, args: Any, dtype: str) -> float | None:
    """The fraction of the time of copies to the GPU during which it computes, over 20 steps; None on a CPU."""
    if device != "cuda":
        return None
    resolution = scale.resolutions[0]
    contender = bench_step.Contender("ours", args, dtype, "eager")
    loader = BetonLoader(path, min(args.batch, scale.images // 2), resolution=resolution, device=device)
    _, noise = bench_step.make_batch(args, resolution)
    batches = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
    steps = ((batch["pixel_values"].float() / 255 - 0.5) / 0.25 for batch in batches)
    for images in itertools.islice(steps, 3):
        contender.step((images, noise[: len(images)]))
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profile:
        for images in itertools.islice(steps, 20):
            contender.step((images, noise[: len(images)]))
        torch.cuda.synchronize()
    copies = intervals(profile, lambda name: "HtoD" in name)
    return round(covered(copies, intervals(profile, lambda name: "Mem" not in name)), 3)
