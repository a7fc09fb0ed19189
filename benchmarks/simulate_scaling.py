"""What a step takes on 1 to 64 machines, by simulation: loading, computing, all-reduce, and what breaks first.

    python benchmarks/simulate_scaling.py [--out benchmarks/results/scaling.json] [--picture docs/images/scaling.png]

DDP sends the gradients in buckets while the backward pass still runs. The simulation follows one step: when each bucket
is ready, when the network is free for it, and how long the slowest of all ranks takes. `Assumptions` holds every
number that goes in, with its origin; benchmarks/bench_overlap.py compares the bucket model with DDP itself.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment

LARGEST_BATCH = 512  # images per GPU at once; `gpu_images_per_second` holds there, the fixed cost included
MACHINES = (1, 2, 4, 8, 16, 32, 64)


LOADER = Path(__file__).with_name("results") / "loader.json"


def measured_loader() -> float:
    """Images per second and core in mode jpg at 224 pixels, as last measured."""
    record = json.loads(LOADER.read_text())
    return record["results"]["ours, jpg"]["224"]["images_per_second"] / record["workers"]


def given(value: float, origin: str) -> Any:
    """A field with a default and where that default comes from."""
    return field(default=value, metadata={"origin": origin})


@dataclass(frozen=True)
class Assumptions:
    """Every number of the simulation. Seconds, bytes, images; rates per second."""

    gpus_per_machine: int = given(8, "the recipe")
    global_batch: int = given(4096, "the recipe")
    images: int = given(1_281_167, "ImageNet-1K")
    epochs: int = given(800, "the recipe")
    gpu_images_per_second: float = given(1980.0, "paper: 18 hours, 800 epochs, 8 A100 at 512 each; arithmetic ours")
    step_fixed_seconds: float = given(0.01, "assumed: launching the kernels and the optimizer, whatever the batch")
    forward_fraction: float = given(1 / 3, "a backward pass costs two forward passes")
    gradient_bytes: float = given(4 * 111.7e6, "trainable parameters of ViT-B/16 MAE in float32")
    decoder_flops_fraction: float = given(0.55, "counted: 10.8 of 19.6 GFLOP")
    decoder_bytes_fraction: float = given(0.23, "counted: 25.9 of 111.7 million parameters")
    bucket_bytes: float = given(25 * 2**20, "DDP's default")
    gpu_link_bytes_per_second: float = given(200e9, "assumed: between the GPUs of one machine")
    network_bytes_per_second: float = given(12.5e9, "assumed: 100 Gbit/s per machine")
    hop_seconds: float = given(20e-6, "assumed: latency of one hop of a ring between machines")
    step_noise: float = given(0.01, "assumed: standard deviation of one rank's step over its mean")
    cores_per_machine: int = given(96, "assumed")
    core_images_per_second: float = given(measured_loader(), "measured: results/loader.json, mode jpg at 224, per core")
    bytes_per_image: float = given(110e3, "assumed: ImageNet at 500 pixels")
    storage_bytes_per_second: float = given(10e9, "assumed: a shared file system, all machines together")


@dataclass(frozen=True)
class Step:
    """One step, in seconds. `exposed` is the part of the all-reduce that nothing hides."""

    machines: int
    batch_per_gpu: float
    compute: float
    allreduce: float
    exposed: float
    waiting_for_slowest: float
    load: float
    shared_storage: float

    @property
    def seconds(self) -> float:
        """Loading overlaps the step; the slower of both sets the pace (with .beton files on local disks)."""
        return max(self.compute + self.exposed + self.waiting_for_slowest, self.load)


def allreduce_seconds(size: float, machines: int, a: Assumptions) -> float:
    """One bucket: reduced within each machine, then between the machines, and handed back within the machine.

    The bytes are those of a ring, 2 (n - 1) / n of the bucket through each member's link (Patarasuk and Yuan 2009); the
    hops are those of a ring or a binary tree, whichever has fewer, as NCCL chooses between both.
    """
    inside = ring_bytes(size, a.gpus_per_machine) / a.gpu_link_bytes_per_second
    across = ring_bytes(size, machines) / a.network_bytes_per_second
    hops = 2 * min(machines - 1, math.ceil(math.log2(machines)))
    return inside + across + hops * a.hop_seconds


def ring_bytes(size: float, members: int) -> float:
    """Bytes that a ring all-reduce of `size` bytes sends through each member's link."""
    return 2 * (members - 1) / members * size


def network_done(buckets: Sequence[tuple[float, float]], seconds_of: Callable[[float], float]) -> float:
    """When the last bucket is reduced: one after the other, each from when it is ready and the network is free."""
    free = 0.0
    for ready, size in buckets:
        free = max(free, ready) + seconds_of(size)
    return free


def bucket_ready_times(backward: float, a: Assumptions) -> list[tuple[float, float]]:
    """(seconds after the backward pass began, bytes) of each bucket. The decoder's gradients come first: a quarter of
    the bytes for half of the time; the encoder's follow in the rest."""
    buckets = []
    done = 0.0
    while done < a.gradient_bytes - 1:
        size = min(a.bucket_bytes, a.gradient_bytes - done)
        done += size
        sent = done / a.gradient_bytes
        if sent <= a.decoder_bytes_fraction:
            when = sent / a.decoder_bytes_fraction * a.decoder_flops_fraction
        else:
            encoder = (sent - a.decoder_bytes_fraction) / (1 - a.decoder_bytes_fraction)
            when = a.decoder_flops_fraction + encoder * (1 - a.decoder_flops_fraction)
        buckets.append((when * backward, size))
    return buckets


def slowest_of(ranks: int) -> float:
    """Mean of the largest of `ranks` standard normal numbers, by numeric integration."""
    z = np.linspace(-8, 8, 4001)
    below = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z]) ** ranks
    return float(np.sum(0.5 * (z[1:] + z[:-1]) * np.diff(below)))


def simulate_step(machines: int, a: Assumptions) -> Step:
    """One optimizer step on `machines` machines."""
    ranks = machines * a.gpus_per_machine
    batch = a.global_batch / ranks
    accumulation = math.ceil(batch / LARGEST_BATCH)
    per_image = 1 / a.gpu_images_per_second - a.step_fixed_seconds / LARGEST_BATCH
    compute = accumulation * a.step_fixed_seconds + batch * per_image
    backward = compute / accumulation * (1 - a.forward_fraction)  # only the last one's gradients are sent
    buckets = bucket_ready_times(backward, a) if ranks > 1 else []
    rate = a.cores_per_machine * a.core_images_per_second
    return Step(
        machines=machines,
        batch_per_gpu=batch,
        compute=compute,
        allreduce=math.fsum(allreduce_seconds(size, machines, a) for _, size in buckets),
        exposed=max(0.0, network_done(buckets, lambda size: allreduce_seconds(size, machines, a)) - backward),
        waiting_for_slowest=slowest_of(ranks) * a.step_noise * compute,
        load=batch * a.gpus_per_machine / rate,
        shared_storage=a.global_batch * a.bytes_per_image / a.storage_bytes_per_second,
    )


def summary(step: Step, a: Assumptions) -> dict[str, Any]:
    """A row of the table: the step, its images/s, hours of the whole run, and efficiency against perfect scaling."""
    ideal = a.global_batch / (a.gpu_images_per_second * a.gpus_per_machine * step.machines)
    steps = a.images // a.global_batch * a.epochs
    return {
        **asdict(step),
        "seconds": step.seconds,
        "images_per_second": a.global_batch / step.seconds,
        "hours": steps * step.seconds / 3600,
        "efficiency": ideal / step.seconds,
        "limit": limit(step),
    }


def limit(step: Step) -> str:
    """What takes the largest part of the time beyond computing images."""
    if step.load > step.compute + step.exposed + step.waiting_for_slowest:
        return "loader"
    parts = {"all-reduce": step.exposed, "slowest rank": step.waiting_for_slowest}
    name, seconds = max(parts.items(), key=lambda part: part[1])
    return name if seconds > 0.1 * step.compute else "compute"


def first_break(a: Assumptions) -> dict[str, int | None]:
    """Machines at which each part first costs over a tenth of the compute time (None: not up to 64)."""
    steps = [simulate_step(machines, a) for machines in range(1, 65)]
    fixed = a.step_fixed_seconds
    tests = {
        "all-reduce exposed": lambda s: s.exposed > 0.1 * s.compute,
        "fixed cost of a step": lambda s: fixed > 0.1 * s.compute,
        "slowest rank": lambda s: s.waiting_for_slowest > 0.1 * s.compute,
        "loader": lambda s: s.load > s.compute + s.exposed,
        "shared storage": lambda s: s.shared_storage > s.compute + s.exposed,
    }
    return {name: next((s.machines for s in steps if broken(s)), None) for name, broken in tests.items()}


def scenarios(a: Assumptions) -> dict[str, Assumptions]:
    return {
        "100 Gbit/s": a,
        "8 x 200 Gbit/s": replace(a, network_bytes_per_second=200e9),
        "100 Gbit/s, batch 4 x larger": replace(a, global_batch=4 * a.global_batch),
    }


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (name, rows) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        x = range(len(rows))
        bottom = np.zeros(len(rows))
        for part, label, color in (
            ("compute", "compute", "#1b6ca8"),
            ("exposed", "all-reduce that nothing hides", "#d98c3f"),
            ("waiting_for_slowest", "waiting for the slowest rank", "#8f8f8f"),
        ):
            values = np.array([1000 * row[part] for row in rows])
            axes.bar(x, values, bottom=bottom, color=color, label=label)
            bottom += values
        axes.plot(x, [1000 * row["load"] for row in rows], "k.--", label="loading, beside it")
        axes.set_xticks(x, [row["machines"] for row in rows])
        for i, row in enumerate(rows):
            axes.text(i, bottom[i], f"{row['efficiency']:.0%}", ha="center", va="bottom", fontsize=7)
        axes.set_xlabel("machines of 8 GPUs")
        axes.set_title(name, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("milliseconds per step")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    canvas.print_png(str(path))


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=here / "results" / "scaling.json")
    parser.add_argument("--picture", type=Path, default=here.parent / "docs" / "images" / "scaling.png")
    for f in fields(Assumptions):
        parser.add_argument(f"--{f.name}", type=float, default=f.default, help=f.metadata["origin"])
    arguments = vars(parser.parse_args())
    out, picture = arguments.pop("out"), arguments.pop("picture")
    a = Assumptions(**{f.name: type(f.default)(arguments[f.name]) for f in fields(Assumptions)})  # type: ignore[misc]
    results = {name: [summary(simulate_step(m, s), s) for m in MACHINES] for name, s in scenarios(a).items()}
    breaks = {name: first_break(s) for name, s in scenarios(a).items()}
    origins = {f.name: {"value": getattr(a, f.name), "origin": f.metadata["origin"]} for f in fields(Assumptions)}
    content = {"environment": environment(), "assumptions": origins, "results": results, "first_break": breaks}
    out.write_text(json.dumps(content, indent=1) + "\n")
    draw(results, picture)
    for name, rows in results.items():
        print(f"\n{name}")
        print(
            "machines  batch/GPU  compute  all-reduce  exposed  slowest   load  step (ms)  images/s  hours  efficiency"
        )
        for row in rows:
            times = [
                1000 * row[k] for k in ("compute", "allreduce", "exposed", "waiting_for_slowest", "load", "seconds")
            ]
            print(
                f"{row['machines']:8d}  {row['batch_per_gpu']:9.0f}  {times[0]:7.1f}  {times[1]:10.1f}  {times[2]:7.1f}"
                f"  {times[3]:7.1f}  {times[4]:5.1f}  {times[5]:9.1f}  {row['images_per_second']:8,.0f}"
                f"  {row['hours']:5.1f}  {row['efficiency']:10.0%}  {row['limit']}"
            )
        print("first costs a tenth:", breaks[name])


if __name__ == "__main__":
    main()
