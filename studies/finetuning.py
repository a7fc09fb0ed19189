"""Fine-tuning by this package's own recipe, with one choice of augmentation.

    python -m studies.finetuning CHECKPOINT --train train.parquet --validation validation.parquet --augment three

Unlike `studies.judge` this runs the package's trainer: the augmentation is what is asked about. `--augment`:

- `none`: random resized crop and flip alone;
- `three`: beside them Three Augment, one of blur, solarise and gray for each image, *before* normalisation;
- `normalised`: the same operations on normalised pixels, where the threshold .5 of solarising is another brightness.

No colour jitter, mixup, CutMix or drop path, which would hide the difference. Prints `finetune`, the top-1 accuracy on
the validation images (0-1) after the last epoch.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from torch import nn

from dailymae_hf.recipe.downstream import FinetuneRecipe
from dailymae_hf.recipe.finetune import build_trainer
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.training.augment import ThreeAugment, unit_pixels
from studies.sources import write_some
from studies.study import RECIPES, read_mapping

AUGMENT = ("none", "three", "normalised")


class OnNormalised(nn.Module):
    """An augmentation that sees normalised pixels; what it gives is turned back, as the trainer normalises last.

    Args:
        augment: called as `augment(pixels, epoch, index)`.
        mean, std: three numbers each, of pixels in 0-1.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, augment: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.augment = augment
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor, epoch: int, index: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), uint8 or in [0, 1] -> floating point, not confined to [0, 1]."""
        normalised = (unit_pixels(pixels) - self.mean) / self.std
        augmented: torch.Tensor = self.augment(normalised, epoch, index)
        return augmented * self.std + self.mean


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the score of one checkpoint and one choice as a JSON object."""
    parser = argparse.ArgumentParser(prog="python -m studies.finetuning", description=str(__doc__).partition("\n")[0])
    parser.add_argument("checkpoint", help="folder of a ViTMAE checkpoint")
    parser.add_argument("--train", required=True, help="parquet file with images and labels")
    parser.add_argument("--validation", required=True)
    parser.add_argument("--train-images", type=int, metavar="N", help="N evenly spaced training images; default: all")
    parser.add_argument("--augment", choices=AUGMENT, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        score = finetuned(options, Path(folder))
    print(json.dumps({"augment": options.augment, "epochs": options.epochs, "finetune": score}))


def finetuned(options: argparse.Namespace, folder: Path) -> float:
    """Accuracy after fine-tuning; files go to `folder`."""
    files = {"train_beton": folder / "train.beton", "eval_beton": folder / "validation.beton"}
    write_some(Path(options.train), options.train_images, files["train_beton"], {"mode": "dct"})
    write_some(Path(options.validation), None, files["eval_beton"], {"mode": "dct"})
    recipe = {
        **read_mapping(RECIPES / "finetuning.yaml"),
        "model_name_or_path": str(Path(options.checkpoint).absolute()),
        **{name: str(path) for name, path in files.items()},
        "output_dir": str(folder / "model"),
        "num_train_epochs": options.epochs,
        "seed": options.seed,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    trainer = build_trainer(load_recipe(folder / "recipe.yaml", [], FinetuneRecipe))
    if options.augment != "none":
        trainer.augment = three = ThreeAugment(color_jitter=0.0, seed=options.seed)
        if options.augment == "normalised":
            trainer.augment = OnNormalised(three, trainer.pixels.mean, trainer.pixels.std)
    trainer.train()
    accuracy: float = trainer.evaluate()["eval_accuracy"]
    trainer.close()
    return accuracy


if __name__ == "__main__":
    main()
