"""Training steps per second: ours, stock ViTMAEForPreTraining and MAE's own formulation in plain torch, interleaved.

    python benchmarks/bench_step.py --resolutions 224 192 160 128 --out benchmarks/results/step.json
    python benchmarks/bench_step.py --size base --batch 256 --resolutions 224 192 160 128 --out ...     (on a GPU)

It can be run in parts (`--dtypes float32 --modes eager`): a file of the same device, size and batch is added to.

A step is what the stock Trainer does with a batch that is on the device: forward under autocast, backward, fused AdamW,
gradients cleared. All start from the same weights and see the same images and masks; that their losses agree is part of
the result. A round visits every contender once, so that a slow minute of the machine hits all alike; ratios are taken
round by round. Beside the wall clock stands processor time on a CPU, which other programs on the machine disturb less.
MFU is MAE's FLOP count (dailymae_hf/model/flops.py) over what a large matrix product reaches on the same device
just before.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from environment import commit, environment
from plain_mae import PlainMAE
from transformers import ViTMAEForPreTraining

from dailymae_hf.model.flops import TRAINING_FACTOR, mae_flops
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config

CONTENDERS = ("ours", "stock", "plain torch")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MODES = {"eager": None, "compiled": "default", "graphs": "reduce-overhead"}  # torch.compile's modes; CUDA graphs
LOSS_STEPS = 8


class Contender:
    """One model with its optimizer, ready to step."""

    def __init__(self, name: str, args: argparse.Namespace, dtype: str, mode: str) -> None:
        torch.manual_seed(0)
        start = DailyMAEForPreTraining(mae_config(args.size, mask_ratio=args.mask_ratio))
        if name == "ours":
            model: Any = start
        elif name == "stock":
            model = ViTMAEForPreTraining(start.config)
            model.load_state_dict(start.state_dict())
        else:
            model = PlainMAE(start, args.resolutions)
        self.name, self.args, self.dtype = name, args, DTYPES[dtype]
        self.native = start.config.image_size
        self.model = model.to(args.device).train()
        if args.checkpointing and name == "ours":
            model.gradient_checkpointing_enable()
        self.run: Callable[..., Any] = self.model if mode == "eager" else torch.compile(self.model, mode=MODES[mode])
        self.graphs = mode == "graphs"
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=1e-4, betas=(0.9, 0.95), fused=True
        )

    def loss(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        if self.name == "plain torch":
            return self.run(images, noise)
        # Stock takes other sizes only when told to, and then resamples its positions in every step.
        other = {"interpolate_pos_encoding": True} if self.name == "stock" and images.shape[-1] != self.native else {}
        return self.run(images, noise=noise, **other).loss

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if self.graphs:  # what the last step's graph left may be overwritten
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(self.args.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            loss = self.loss(*batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone() if self.graphs else loss.detach()

    def steps(self, batch: tuple[torch.Tensor, torch.Tensor], count: int) -> None:
        for _ in range(count):
            self.step(batch)


def make_batch(args: argparse.Namespace, resolution: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    patches = (resolution // mae_config(args.size).patch_size) ** 2
    images = torch.randn(args.batch, 3, resolution, resolution, generator=generator)
    noise = torch.rand(args.batch, patches, generator=generator)
    return images.to(args.device), noise.to(args.device)


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(device: str, work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of `work`."""
    synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


def matmul_flops(device: str, dtype: str) -> float:
    """FLOP/s of a large square matrix product, the best of ten."""
    side = 8192 if device == "cuda" else 2048
    matrix = torch.randn(side, side, device=device, dtype=DTYPES[dtype])
    for _ in range(2):
        matrix @ matrix
    return 2 * side**3 / min(timed(device, lambda: matrix @ matrix)[0] for _ in range(10))


def measure(args: argparse.Namespace, dtype: str, mode: str, resolution: int) -> dict[str, Any]:
    """Speeds of all contenders at one setting, interleaved."""
    names = [name for name in CONTENDERS if name in args.contenders]
    contenders = {name: Contender(name, args, dtype, mode) for name in names}
    batch = make_batch(args, resolution)
    losses = {
        name: [contender.step(make_batch(args, resolution, seed)).item() for seed in range(LOSS_STEPS)]
        for name, contender in contenders.items()
    }
    memory = {}
    if args.device == "cuda":
        for name, contender in contenders.items():
            others = torch.cuda.memory_allocated() - held(contender)
            torch.cuda.reset_peak_memory_stats()
            contender.step(batch)
            memory[name] = (torch.cuda.max_memory_allocated() - others) / 2**20
    else:
        memory = {name: peak_memory(args, name, dtype, resolution) for name in names} if args.memory else {}
    steps = {name: steps_for(args, contenders[name], batch) for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            seconds = timed(args.device, partial(contenders[name].steps, batch, steps[name]))
            wall[name].append(steps[name] * args.batch / seconds[0])
            processor[name].append(steps[name] * args.batch / seconds[1])
    work = TRAINING_FACTOR * mae_flops(mae_config(args.size), resolution, args.mask_ratio)
    peak = args.peak * 1e12 if args.peak else matmul_flops(args.device, dtype)
    row: dict[str, Any] = {}
    for name in names:
        speed = statistics.median(wall[name])
        row[name] = {
            "images_per_second": round(speed, 2),
            "lowest": round(min(wall[name]), 2),
            "highest": round(max(wall[name]), 2),
            "mfu": round(speed * work / peak, 3),
            "peak_memory_mib": round(memory[name]) if name in memory else None,
            "largest_loss_difference": max(abs(a - b) for a, b in zip(losses[name], losses[names[0]], strict=True)),
        }
        if args.device == "cpu":
            row[name]["images_per_processor_second"] = round(statistics.median(processor[name]), 2)
        if name != "ours" and "ours" in names:
            row[name]["ours_is_faster_by"] = ratio(wall["ours"], wall[name])
            if args.device == "cpu":
                row[name]["ours_is_faster_by_in_processor_time"] = ratio(processor["ours"], processor[name])
    return {"peak_tflops": round(peak / 1e12, 3), **row}


def ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def held(contender: Contender) -> int:
    """Bytes that weights and optimizer state of one contender take."""
    tensors = [*contender.model.parameters(), *contender.model.buffers()]
    tensors += [t for state in contender.optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.device.type == "cuda")


def steps_for(args: argparse.Namespace, contender: Contender, batch: tuple[torch.Tensor, torch.Tensor]) -> int:
    seconds, _ = timed(args.device, lambda: contender.step(batch))
    return max(1, round(args.seconds / seconds))


def peak_memory(args: argparse.Namespace, name: str, dtype: str, resolution: int) -> float:
    """MiB that three eager steps add to a process of their own that holds weights and batch."""
    command = [sys.executable, __file__, "--peak-memory", name, "--dtypes", dtype, "--size", args.size]
    command += ["--batch", str(args.batch), "--resolutions", str(resolution), "--mask-ratio", str(args.mask_ratio)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak_memory(args: argparse.Namespace) -> None:
    contender = Contender(args.peak_memory, args, args.dtypes[0], "eager")
    batch = make_batch(args, args.resolutions[0])
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far: building the model took more than it holds
    before = resident("VmRSS")
    for _ in range(3):
        contender.step(batch)
    print((resident("VmHWM") - before) / 1024)


def resident(field: str) -> int:
    """KiB of memory that this process holds (VmRSS), or held at most (VmHWM), as Linux counts them."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="small", help="mae_config's name")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[224])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--modes", nargs="+", default=["eager", "compiled"], choices=MODES)
    parser.add_argument("--mask-ratio", type=float, default=0.75)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="measured per round and contender, one step at least")
    parser.add_argument("--threads", type=int, help="of a CPU; all by default")
    parser.add_argument("--peak", type=float, help="TFLOP/s to take MFU of; measured by a matrix product otherwise")
    parser.add_argument("--checkpointing", action="store_true", help="activation checkpointing in ours")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak-memory", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.peak_memory is None:
        args.memory = args.device == "cuda" or "eager" in args.modes
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.peak_memory:
        print_peak_memory(args)
        return
    device = torch.cuda.get_device_name() if args.device == "cuda" else environment()["processor"]
    setting = {
        "device": device,
        "threads": torch.get_num_threads() if args.device == "cpu" else None,
        "size": args.size,
        "batch": args.batch,
    }
    table = earlier_results(args.out, setting)
    for dtype in args.dtypes:
        for mode in args.modes:
            for resolution in args.resolutions:
                torch._dynamo.reset()
                row = {
                    "commit": commit(),
                    "rounds": args.rounds,
                    **measure(args, dtype, mode, resolution),
                }
                table.setdefault(f"{dtype}, {mode}", {})[str(resolution)] = row
                print(f"{dtype}, {mode}, {resolution} px: {json.dumps(row)}", flush=True)
                if args.out:
                    write(args, setting, table)


def earlier_results(out: Path | None, setting: dict[str, Any]) -> dict[str, Any]:
    """The table of an earlier part in the same file, or an empty one."""
    if out is None or not out.is_file():
        return {}
    content = json.loads(out.read_text())
    different = [name for name, value in setting.items() if content.get(name) != value]
    if different:
        raise SystemExit(f"{out} was measured with another {different[0]}: give another file, or remove it")
    return content["results"]


def write(args: argparse.Namespace, setting: dict[str, Any], table: dict[str, Any]) -> None:
    """All rows so far, and what `dailymae plan --throughput` reads: the fastest of our modes at each size."""
    ratio_shown = args.mask_ratio
    fastest: dict[str, float] = {}
    for mode in table.values():
        for resolution, row in mode.items():
            if "ours" in row:
                fastest[resolution] = max(fastest.get(resolution, 0.0), row["ours"]["images_per_second"])
    step = [
        {"resolution": int(resolution), "mask_ratio": ratio_shown, "images_per_second": speed}
        for resolution, speed in fastest.items()
    ]
    source = f"bench_step.py, {args.size}, batch {args.batch}, {setting['device']}"
    result = {
        "environment": environment(),
        **setting,
        "results": table,
        "throughput": {"step": step, "source": source},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
