"""The simulation's bucket model beside DDP itself: ranks in network namespaces, with links of a known speed.

    sudo python benchmarks/bench_overlap.py [--out benchmarks/results/overlap.json] [--ranks 2 4] [--gigabits 1]

Each rank lives in a network namespace of its own; `tc` limits its link, so that the network and not the processor
decides. The model's backward pass sleeps a known time per layer. The link's speed and latency come from all-reduces of
two sizes between 2 ranks; with them the simulation forecasts the step on 2 and on 4 ranks, and DDP (gloo) is timed.
Needs Linux, root, `ip` and `tc`; the namespaces and the bridge are removed at the end.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from environment import environment
from simulate_scaling import network_done, ring_bytes

BRIDGE = "dmaebench"
SUBNET = "10.213.77"
LAYERS, LAYER_BYTES, BUCKET_MB = 16, 4 << 20, 8
SLEEPS = (0.0, 0.01, 0.03, 0.06)  # seconds of backward pass per layer


def shell(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


@contextlib.contextmanager
def namespaces(count: int, gigabits: float) -> Iterator[list[str]]:
    """`count` network namespaces on one bridge, each sending at most `gigabits` per second."""
    names = [f"{BRIDGE}{i}" for i in range(count)]
    try:
        shell(f"ip link add {BRIDGE} type bridge")
        shell(f"ip link set {BRIDGE} up")
        for i, name in enumerate(names):
            shell(f"ip netns add {name}")
            shell(f"ip link add {name}o type veth peer name eth0 netns {name}")
            shell(f"ip link set {name}o master {BRIDGE} up")
            shell(f"ip netns exec {name} ip addr add {SUBNET}.{i + 1}/24 dev eth0")
            shell(f"ip netns exec {name} ip link set eth0 up")
            shell(f"ip netns exec {name} ip link set lo up")
            shell(f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate {gigabits}gbit burst 1mb latency 50ms")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


def worker(out: str) -> None:
    """One rank: times all-reduces of two sizes, then steps of a model whose backward pass sleeps."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo")

    class Sleep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, seconds: float) -> torch.Tensor:
            ctx.seconds = seconds
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
            time.sleep(ctx.seconds)
            return grads[0], None

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList(nn.Parameter(torch.zeros(LAYER_BYTES // 4)) for _ in range(LAYERS))
            self.seconds = 0.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for weight in self.weights:
                x = Sleep.apply(x + weight.mean(), self.seconds)
            return x

    def median_seconds(run: Any, repeats: int = 7) -> float:
        times = []
        for _ in range(repeats + 2):
            dist.barrier()
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        return statistics.median(times[2:])

    result: dict[str, Any] = {"allreduce": {}, "steps": {}}
    for size in (LAYER_BYTES, 4 * LAYER_BYTES):
        buffer = torch.zeros(size // 4)
        result["allreduce"][size] = median_seconds(lambda buffer=buffer: dist.all_reduce(buffer))
    layers = Layers()
    model = DistributedDataParallel(layers, bucket_cap_mb=BUCKET_MB, gradient_as_bucket_view=True)
    for seconds in SLEEPS:
        layers.seconds = seconds

        def backward(synchronised: bool) -> None:
            with contextlib.nullcontext() if synchronised else model.no_sync():
                model(torch.zeros(1)).sum().backward()

        alone = median_seconds(lambda: backward(False))
        result["steps"][seconds] = {"alone": alone, "together": median_seconds(lambda: backward(True))}
    if dist.get_rank() == 0:
        Path(out).write_text(json.dumps(result))
    dist.destroy_process_group()


def measure(ranks: int, gigabits: float, out: Path) -> dict[str, Any]:
    """What `worker` wrote for `ranks` ranks."""
    with namespaces(ranks, gigabits) as names:
        processes = []
        for rank, name in enumerate(names):
            variables = {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": f"{SUBNET}.1", "MASTER_PORT": 29511}
            environ = (
                os.environ | {key: str(value) for key, value in variables.items()} | {"GLOO_SOCKET_IFNAME": "eth0"}
            )
            command = ["ip", "netns", "exec", name, sys.executable, __file__, "--worker", str(out)]
            processes.append(subprocess.Popen(command, env=environ))
        if any(process.wait(300) for process in processes):
            raise SystemExit("a rank failed; its error is above")
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def forecast(alone: float, sleep: float, ranks: int, link: tuple[float, float]) -> float:
    """Seconds of a step that takes `alone` without a network; link is (bytes per second, seconds per all-reduce)."""
    per_bucket = BUCKET_MB * 2**20 // LAYER_BYTES
    start = alone - LAYERS * sleep  # the forward pass, before the first layer's backward pass begins
    buckets = [(start + (i + 1) * per_bucket * sleep, per_bucket * LAYER_BYTES) for i in range(LAYERS // per_bucket)]
    done = network_done(buckets, lambda size: link[1] + ring_bytes(size, ranks) / link[0])
    return max(alone, done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "overlap.json")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--gigabits", type=float, default=1.0)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    raw = arguments.out.with_suffix(".raw")
    pair = measure(2, arguments.gigabits, raw)
    (small, fast), (large, slow) = ((int(size), seconds) for size, seconds in pair["allreduce"].items())
    speed = (ring_bytes(large, 2) - ring_bytes(small, 2)) / (slow - fast)
    latency = max(0.0, fast - ring_bytes(small, 2) / speed)
    rows = []
    for ranks in arguments.ranks:
        measured = pair if ranks == 2 else measure(ranks, arguments.gigabits, raw)
        for sleep, times in measured["steps"].items():
            predicted = forecast(times["alone"], float(sleep), ranks, (speed, latency))
            rows.append({"ranks": ranks, "sleep": float(sleep), **times, "forecast": predicted})
            error = predicted / times["together"] - 1
            print(
                f"{ranks} ranks, {sleep} s per layer: {times['together']:.3f} s, "
                f"by forecast {predicted:.3f} s ({error:+.1%})"
            )
    raw.unlink()
    content = {"environment": environment(), "gigabits": arguments.gigabits, "link_bytes_per_second": speed}
    arguments.out.write_text(json.dumps({**content, "latency_seconds": latency, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
