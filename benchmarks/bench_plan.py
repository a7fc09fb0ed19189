"""A plan beside the run that it forecasts: the demo, planned from a measurement of a minute, then trained.

    make demo    # writes the photographs' .beton files
    python benchmarks/bench_plan.py plan --out benchmarks/results/plan.json
    python benchmarks/bench_plan.py run --out benchmarks/results/plan.json

Two commands, as a user would give them: `dailymae plan --measure` and the recipe. The run's time is that of its whole
process, from start to exit. `data_wait` is the fraction of training time that the step waited for the loader.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import commit, environment

from dailymae_hf.plan.forecast import Plan
from dailymae_hf.run_files import read_log

ROOT = Path(__file__).parents[1]
RECIPE = "recipes/configs/demo.yaml"


def seconds_of(*words: str) -> float:
    """Wall seconds of a Python process that must end well."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
    return time.perf_counter() - start


def make_plan() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        took = seconds_of("-m", "dailymae_hf.cli.main", "plan", "--recipe", RECIPE, "--measure", "--out", str(out))
        content = json.loads(out.read_text())
    planned = Plan.from_json(content["plan"]).seconds
    return {"commit": commit(), "seconds": round(planned, 1), "measuring_took_seconds": round(took, 1), **content}


def train(planned: dict[str, Any]) -> dict[str, Any]:
    """The whole demo, held beside the plan."""
    with tempfile.TemporaryDirectory() as folder:
        plan, out = Path(folder) / "plan.json", Path(folder) / "run"
        plan.write_text(json.dumps(planned))
        took = seconds_of("recipes/pretrain.py", RECIPE, "--output_dir", str(out), "--plan", str(plan))
        lines = [line for line in read_log(out / "log.jsonl") if line["images_per_second"]]
        scores = {name: lines[-1][name] for name in ("probe_accuracy", "knn_accuracy")}
    seconds = [1 / line["images_per_second"] for line in lines]  # all lines cover equally many images
    waited = sum(s * line["data_wait"] for s, line in zip(seconds, lines, strict=True)) / sum(seconds)
    forecasts = [line["forecast_seconds"] for line in lines]
    return {
        "commit": commit(),
        "seconds": round(took, 1),
        "planned_over_real": round(planned["seconds"] / took, 3),
        "forecast_after_a_tenth": forecasts[len(forecasts) // 10],
        "forecast_at_the_end": forecasts[-1],
        "data_wait": round(waited, 4),
        **scores,
        "images_per_second": {
            str(size): round(sum(on) / len(on), 1)
            for size in sorted({line["resolution"] for line in lines})
            if (on := [line["images_per_second"] for line in lines if line["resolution"] == size])
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["plan", "run"])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    content = json.loads(args.out.read_text()) if args.out.is_file() else {}
    content["environment"] = environment()
    if args.part == "plan":
        content["planned"] = make_plan()
        print(f"planned: {content['planned']['seconds']:.0f} s")
    else:
        content["run"] = train(content["planned"])
        print(json.dumps(content["run"]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
