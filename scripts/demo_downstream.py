"""Take the demo's checkpoint through everything that comes after pretraining, beside two others of its shape.

    python -m scripts.demo_downstream outputs/demo --stock outputs/demo-stock

Three encoders of one shape go through the same recipes: the demo's, the same run begun from the weights that
transformers' class draws (`make demo-stock`; left out where that folder is missing), and one that was never trained.
Scores are of tiles cut from the other halves of the photographs. What each step writes stays in FOLDER-downstream.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from transformers import AutoConfig, set_seed

from dailymae_hf.downstream.compression_shift import Score, table
from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.run_files import read_result
from scripts.demo_hub import push_and_read_back
from scripts.demo_mosaics import MOSAICS, write_mosaics

RECIPES = Path(__file__).parent.parent / "recipes"
# Column of the table: (entry point, its recipe, what is read from its scores).
STEPS = {
    "20 nearest neighbours": ("knn", "knn_demo", "knn_accuracy_20"),
    "linear probe": ("linear_probe", "linear_demo", "accuracy"),
    "fine-tuned": ("finetune", "finetune_demo", "accuracy"),
    "segmentation, mean IoU": ("segment", "segment_demo", "mean_iou"),
}


def random_encoder(like: Path, folder: Path) -> Path:
    """Save an encoder of the same shape with MAE's first weights; returns its folder."""
    set_seed(0)
    DailyMAEForPreTraining(AutoConfig.from_pretrained(like)).save_pretrained(folder)
    shutil.copy(like / "preprocessor_config.json", folder)
    return folder


def scores(name: str, checkpoint: Path, demo: Path, output: Path) -> dict[str, float]:
    """Run every step on one checkpoint: column -> score in [0, 1]."""
    found = {}
    for column, (script, config, key) in STEPS.items():
        print(f"\n{name}: {column}", flush=True)
        folder = output / config.removesuffix("_demo")
        keys = {"model_name_or_path": checkpoint, "output_dir": folder}
        if script == "segment":
            keys["dataset"] = demo / "mosaics"
        else:
            keys |= {"train_beton": demo / "train.beton", "eval_beton": demo / "validation.beton"}
        run_recipe(script, config, keys)
        result = read_result(folder)
        assert result is not None, "a run that ended well leaves its result"
        found[column] = result.scores[key]
    return found


def compression_shift(demo: Path, output: Path) -> str:
    """The table of the fine-tuned classifier in `output` on other qualities and sizes."""
    keys = {
        "model_name_or_path": output / "finetune",
        "output_dir": output / "evaluate",
        "betons": json.dumps({"the file as trained": str(demo / "validation.beton")}),
        "images": demo / "photographs" / "validation",
    }
    run_recipe("evaluate", "evaluate_demo", keys)
    return table([Score(**row) for row in json.loads((output / "evaluate" / "evaluation.json").read_text())])


def run_recipe(script: str, config: str, keys: dict[str, Any]) -> None:
    """Start a script of recipes/ as by hand, over an earlier demo's output. A run that fails ends this one too."""
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    words += ["--overwrite_output_dir", "true"]
    recipe = RECIPES / "configs" / "downstream" / f"{config}.yaml"
    subprocess.run([sys.executable, RECIPES / f"{script}.py", recipe, *words], check=True)


def comparison(rows: dict[str, dict[str, float]], chance: float) -> str:
    """One line an encoder, one column a score, in per cent."""
    width = max(map(len, rows))
    lines = [" " * width + "  " + "  ".join(STEPS)]
    for name, row in rows.items():
        cells = "  ".join(f"{row[column]:{len(column)}.1%}" for column in STEPS)
        lines.append(f"{name:<{width}}  {cells}")
    return "\n".join([*lines, f"(tiles: chance is {chance:.0%}; segmentation: {MOSAICS['validation']} mosaics)"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="output folder of `make demo`")
    parser.add_argument("--stock", type=Path, help="output folder of `make demo-stock`")
    arguments = parser.parse_args()
    demo, output = arguments.demo, Path(f"{arguments.demo}-downstream")
    write_mosaics(demo / "mosaics", MOSAICS)
    encoders = {"pretrained": demo}
    if arguments.stock is not None and (arguments.stock / "model.safetensors").is_file():
        encoders["pretrained from stock weights"] = arguments.stock
    encoders["never trained"] = random_encoder(demo, output / "random")
    rows = {
        name: scores(name, checkpoint, demo, output if checkpoint == demo else output / checkpoint.name)
        for name, checkpoint in encoders.items()
    }
    shift = compression_shift(demo, output)
    pushed = push_and_read_back(demo, output, demo / "photographs" / "validation")
    print(f"\nThe fine-tuned classifier and compression shift\n{shift}")
    print(f"\nThree encoders on tiles that none has seen\n{comparison(rows, 1 / 10)}")
    print(f"\nTo a Hub on the loopback interface and back\n{pushed}")
    print(f"\nclassifiers, results, logs, and the cards of what was pushed (hub/) are in {output}")


if __name__ == "__main__":
    main()
