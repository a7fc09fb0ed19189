"""The scores of a classifier on files, on other qualities and sizes of the same images, and on the originals."""

import json
from pathlib import Path

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from dailymae_hf.downstream.compression_shift import (
    Score,
    as_records,
    original_images,
    score_beton,
    score_originals,
    table,
    variant_name,
    write_variant,
)
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.errors import CheckpointError
from dailymae_hf.hub.checkpoint_name import require_checkpoint
from dailymae_hf.hub.fetch import fetch_betons
from dailymae_hf.recipe.downstream import EvaluationArguments, EvaluationRecipe
from dailymae_hf.run_files import RECIPE_NAME, append_log
from dailymae_hf.training.ranks import shutdown_distributed


def build_trainer(recipe: EvaluationRecipe) -> ClassifierTrainer:
    checkpoint = recipe.evaluation.model_name_or_path
    _require_classifier(checkpoint)
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    return ClassifierTrainer(
        AutoModelForImageClassification.from_pretrained(checkpoint),
        recipe.training,
        image_mean=tuple(processor.image_mean),
        image_std=tuple(processor.image_std),
        processing_class=processor,
    )


def _require_classifier(checkpoint: str) -> None:
    """Raise CheckpointError where there is no classifier; transformers would put a random head on another model."""
    require_checkpoint(checkpoint)
    for name in AutoConfig.from_pretrained(checkpoint).architectures or []:
        if name.endswith("ForImageClassification"):
            return
        kind = "a masked autoencoder" if name.startswith("ViTMAE") else f"a {name}"
        raise CheckpointError(
            f"model_name_or_path: {checkpoint} is {kind}, which has no classes to score: fine-tune it (`dailymae "
            "finetune`) or probe it (`dailymae linear-probe`) first, and name the folder that this leaves"
        )


def score(trainer: ClassifierTrainer, wanted: EvaluationArguments) -> list[Score]:
    """A row for each file, each variant of the original images, and the originals themselves."""
    scores = [
        score_beton(trainer, name, fetch_betons(path, trainer.args, field="betons"))
        for name, path in wanted.betons.items()
    ]
    if wanted.images is None:
        return scores
    columns = {"split": wanted.split, "image_column": wanted.image_column, "label_column": wanted.label_column}
    folder = Path(trainer.args.output_dir) / "variants"
    for options in wanted.variants:
        with trainer.args.main_process_first(local=False, desc="write the variant"):
            path = write_variant(wanted.images, options, folder, **columns)
        scores.append(score_beton(trainer, variant_name(options), path))
    names = list(trainer.core_model.config.id2label.values())
    images = original_images(wanted.images, trainer.processing_class, names, **columns)
    return [*scores, score_originals(trainer, "original images, image processor", images)]


def run(recipe: EvaluationRecipe) -> list[Score]:
    trainer = build_trainer(recipe)
    scores = score(trainer, recipe.evaluation)
    trainer.close()
    trainer.log({f"accuracy on {row.name}": row.accuracy for row in scores})
    if trainer.is_world_process_zero():
        folder = Path(recipe.training.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(as_records(scores), indent=2) + "\n")
        for record in as_records(scores):
            append_log(folder, record)
        recipe.save(folder / RECIPE_NAME)
    shutdown_distributed(trainer.accelerator)
    return scores


def summary(recipe: EvaluationRecipe, scores: list[Score]) -> str:
    """What is printed at the end of a run."""
    return table(scores)
