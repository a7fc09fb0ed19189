"""What mae_base_in1k_fast.yaml's cuts cost, on the demo's photographs: a shallow decoder, half of the masked patches.

    make demo    # writes the photographs' .beton files
    python benchmarks/bench_fast_recipe.py --seeds 0 1 2 --out benchmarks/results/fast_recipe.json

Three short runs of recipes/configs/demo.yaml per seed, each with its own learning-rate schedule to the end: `faithful`
(a decoder that takes half of the FLOPs, as ViT-B's takes 55 %), `fast` with as many images (a quarter of the decoder's
layers, decoder keep .5, as in the recipe), and `fast` with as many images more as the faithful run's processor time
pays for. Scores are the online probe's and the nearest neighbours' on tiles that no training saw, at the last epoch.
Can be run seed by seed: a file that is there is added to.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import commit, environment

from dailymae_hf.model.flops import mae_flops
from dailymae_hf.recipe.build import build_trainer
from dailymae_hf.recipe.recipe import PretrainRecipe, load_recipe
from dailymae_hf.run_files import read_log

RECIPE = Path(__file__).parents[1] / "recipes" / "configs" / "demo.yaml"
KINDS = {
    "faithful": ["--model_overrides.decoder_num_hidden_layers", "4"],
    "fast": ["--model_overrides.decoder_num_hidden_layers", "1", "--decoder_keep", "0.5"],
}
SCORES = ("probe_accuracy", "knn_accuracy", "eval_loss")


def train(kind: str, seed: int, epochs: int, folder: Path) -> dict[str, Any]:
    """One run: its scores, its processor and wall seconds, and an image's FLOPs at full size."""
    words = [*KINDS[kind], "--seed", str(seed), "--num_train_epochs", str(epochs), "--output_dir", str(folder)]
    words += ["--warmup_epochs", str(epochs / 20), "--eval_strategy", "no", "--save_strategy", "no"]
    words += ["--reconstruction_every_n_epochs", "0", "--report_to", "none", "--probe_every_n_epochs", str(epochs)]
    recipe: PretrainRecipe = load_recipe(RECIPE, words)
    trainer = build_trainer(recipe)
    wall, processor = time.perf_counter(), time.process_time()
    trainer.train()
    seconds = {"wall_seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    trainer.evaluate()
    found: dict[str, float] = {}
    for line in read_log(folder / "log.jsonl"):
        found |= {name: line[name] for name in SCORES if line.get(name) is not None}
    flops = mae_flops(trainer.model.config, decoder_keep=recipe.training.decoder_keep)
    scores = {name: round(found[name], 4) for name in SCORES}
    return {"epochs": epochs, **scores, **{k: round(v, 1) for k, v in seconds.items()}, "forward_mflop": flops / 1e6}


def three_runs(seed: int, epochs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        train("fast", seed, 1, Path(folder) / "warm-up")  # what a process does once belongs to none of the three
        faithful = train("faithful", seed, epochs, Path(folder) / "faithful")
        fast = train("fast", seed, epochs, Path(folder) / "fast")
        more = round(epochs * faithful["processor_seconds"] / fast["processor_seconds"])
        longer = train("fast", seed, more, Path(folder) / "longer")
    return {"commit": commit(), "faithful": faithful, "fast, equal images": fast, "fast, equal time": longer}


def summary(seeds: dict[str, Any]) -> dict[str, Any]:
    """Mean and range over the seeds of each run's scores and processor time."""
    table: dict[str, Any] = {}
    for name in ("faithful", "fast, equal images", "fast, equal time"):
        table[name] = {}
        for score in (*SCORES, "processor_seconds", "epochs"):
            values = [runs[name][score] for runs in seeds.values()]
            mean = round(statistics.fmean(values), 4)
            table[name][score] = {"mean": mean, "lowest": min(values), "highest": max(values)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10, help="of the faithful run; the demo itself has 40")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    seeds = json.loads(args.out.read_text())["seeds"] if args.out.is_file() else {}
    for seed in args.seeds:
        seeds[str(seed)] = three_runs(seed, args.epochs)
        result = {"environment": environment(), "summary": summary(seeds), "seeds": seeds}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in result["summary"].items():
        print(name, {score: cell["mean"] for score, cell in row.items()})


if __name__ == "__main__":
    main()
