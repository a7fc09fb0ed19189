"""What must hold on a GPU as it holds on a CPU."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from dailymae_hf.cli.run import run_recipe
from dailymae_hf.errors import DailyMAEError
from dailymae_hf.model.float8 import use_float8
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from gpu.images import betons
from gpu.loading import write_recipe
from gpu.scale import Scale

# Float32 sums of some thousand terms, added in another order: 2**-24 * sqrt(4096) a layer, and three dozen of them.
_LOSS_BOUND, _GRADIENT_BOUND = 1e-4, 1e-3
_BATCH = 8


def _model(scale: Scale) -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    return DailyMAEForPreTraining(mae_config(scale.models[0], image_size=scale.resolutions[0])).train()


def _batch(scale: Scale, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    patches = (resolution // mae_config(scale.models[0]).patch_size) ** 2
    images = torch.randn(_BATCH, 3, resolution, resolution, generator=generator)
    return images, torch.rand(_BATCH, patches, generator=generator)


def _loss(model: Any, scale: Scale, device: str, resolution: int | None = None) -> torch.Tensor:
    images, noise = _batch(scale, resolution or scale.resolutions[0])
    return model(images.to(device), noise=noise.to(device)).loss


def same_on_both(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """Loss and gradients in float32 (no TF32), at every resolution, on both devices."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows = {}
    for resolution in scale.resolutions:
        losses, gradients = [], []
        for where in ("cpu", device):
            model = _model(scale).to(where)
            loss = _loss(model, scale, where, resolution)
            loss.backward()
            losses.append(loss.item())
            gradients.append([p.grad.cpu() for p in model.parameters() if p.grad is not None])
        worst = max(((a - b).norm() / a.norm().clamp_min(1e-12)).item() for a, b in zip(*gradients, strict=True))
        rows[str(resolution)] = {"loss": abs(losses[0] - losses[1]) / abs(losses[0]), "gradient": worst}
    passed = all(row["loss"] < _LOSS_BOUND and row["gradient"] < _GRADIENT_BOUND for row in rows.values())
    return {"passed": passed, "relative_difference": rows, "bounds": [_LOSS_BOUND, _GRADIENT_BOUND]}


def back_to_the_cpu(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """A model trained for three bfloat16 steps on the device, saved, and loaded on the CPU: the same loss."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = _model(scale).to(device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(3):
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = _loss(model, scale, device)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model.save_pretrained(work / "back")
    loaded = DailyMAEForPreTraining.from_pretrained(work / "back").eval()
    with torch.no_grad():
        there, here = _loss(model, scale, device).item(), _loss(loaded, scale, "cpu").item()
    same = all(
        torch.equal(a.cpu(), b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    difference = abs(there - here) / abs(there)
    return {"passed": same and difference < _LOSS_BOUND, "same_weights": same, "relative_difference": difference}


def compilations(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """A palindrome of resolutions compiles each once: coming back to one costs nothing."""
    torch._dynamo.reset()
    counters.clear()
    model = _model(scale).to(device)
    compiled = torch.compile(model, backend=scale.compiler)
    graphs = []
    for resolution in (*scale.resolutions, *scale.resolutions[::-1], *scale.resolutions):
        _loss(compiled, scale, device, resolution).backward()
        graphs.append(counters["stats"]["unique_graphs"])
    first_pass = graphs[len(scale.resolutions) - 1]
    breaks = sum(counters["graph_break"].values())
    passed = graphs[-1] == first_pass <= len(scale.resolutions) and breaks == 0
    return {"passed": passed, "graphs": graphs, "graph_breaks": breaks, "resolutions": list(scale.resolutions)}


def resume(scale: Scale, device: str, work: Path, *, deterministic: bool) -> dict[str, Any]:
    """A run stopped half-way and resumed, beside the unbroken one and, where bits may differ, beside a repetition.

    Without deterministic kernels the resumed run may be as far from the unbroken one as a repetition is, times four:
    both are single draws of the same noise.
    """
    path = betons(work, scale)["jpg"]
    runs = {}
    half = scale.resume_steps // 2
    for name in ("unbroken", *(() if deterministic else ("repeated",)), "resumed"):
        folder = work / f"resume-{'deterministic' if deterministic else 'plain'}" / name
        shutil.rmtree(folder, ignore_errors=True)
        recipe = write_recipe(
            folder,
            scale,
            model=scale.models[0],
            beton=path,
            per_device_train_batch_size=min(32, scale.images // 4),
            max_steps=scale.resume_steps,
            save_strategy="steps",
            save_steps=half,
            logging_steps=1,
            full_determinism=deterministic,
        )
        words = [str(recipe)]
        if name == "resumed":
            checkpoint = folder / "run" / f"checkpoint-{half}"
            shutil.copytree(folder.parent / "unbroken" / "run" / checkpoint.name, checkpoint)
            words += ["--resume_from_checkpoint", str(checkpoint)]
        if run_recipe("pretrain", words):
            raise SystemExit("dailymae pretrain failed")
        runs[name] = load_file(folder / "run" / "model.safetensors")
    torch.use_deterministic_algorithms(False)
    difference = _largest_difference(runs["unbroken"], runs["resumed"])
    if deterministic:
        return {"passed": difference == 0, "largest_difference": difference, "bound": 0}
    bound = 4 * _largest_difference(runs["unbroken"], runs["repeated"])
    return {"passed": difference <= bound, "largest_difference": difference, "bound": bound}


def _largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def float8(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """Products in 8 bits are refused in a line, or their loss follows that of bfloat16."""
    try:
        use_float8(model := _model(scale).to(device))
    except DailyMAEError as error:
        return {"passed": True, "refused": str(error)}
    with torch.autocast(device, dtype=torch.bfloat16):
        eight, sixteen = _loss(model, scale, device).item(), _loss(_model(scale).to(device), scale, device).item()
    difference = abs(eight - sixteen) / abs(sixteen)
    return {"passed": difference < 0.02, "refused": None, "relative_difference": difference}
