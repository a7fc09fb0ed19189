"""Semantic segmentation with a linear head on patch tokens: the recipe, its trainer, and the run."""

from typing import Any

from transformers import set_seed

from dailymae_hf.data.sources.open_source import open_dataset
from dailymae_hf.downstream.dataset_facts import image_statistics
from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.downstream.masked_images import MaskedImages
from dailymae_hf.downstream.segmentation import SegmentationTrainer, build_segmenter
from dailymae_hf.recipe.downstream import SegmentationRecipe
from dailymae_hf.recipe.run_folder import finish_run, in_its_folder, train
from dailymae_hf.recipe.summary import scored
from dailymae_hf.run_files import Result, scores_of
from dailymae_hf.training.callbacks import LogFileCallback, ThroughputCallback
from dailymae_hf.training.ranks import shutdown_distributed


def build_trainer(recipe: SegmentationRecipe) -> SegmentationTrainer:
    wanted, data, seed = recipe.model, recipe.data, recipe.training.seed
    set_seed(seed)
    encoder = load_encoder(wanted.model_name_or_path)
    size = wanted.image_size or encoder.config.image_size
    columns: dict[str, Any] = {
        "image_column": data.image_column,
        "mask_column": data.mask_column,
        "reduce_labels": data.reduce_labels,
    }
    train = MaskedImages(
        open_dataset(data.dataset, data.train_split), size, crop_scale=data.crop_scale, seed=seed, **columns
    )
    validation = MaskedImages(open_dataset(data.dataset, data.eval_split), size, **columns)
    names = data.class_names or [str(number) for number in range(train.count_classes())]
    train.classes = validation.classes = len(names)
    mean, std = image_statistics(wanted.model_name_or_path, None, "checkpoint")
    if wanted.normalization == "data" or mean is None:
        mean, std = train.statistics()
    return SegmentationTrainer(
        build_segmenter(encoder, names, image_size=size, frozen=wanted.frozen_encoder),
        recipe.training,
        train_dataset=train,
        eval_dataset=validation,
        image_mean=mean,
        image_std=std,
        callbacks=[ThroughputCallback(), LogFileCallback()],
    )


@in_its_folder
def run(recipe: SegmentationRecipe) -> Result:
    trainer = build_trainer(recipe)
    train(trainer, recipe)
    scores = trainer.evaluate()
    result = Result(
        protocol="linear segmentation, " + ("frozen encoder" if recipe.model.frozen_encoder else "fine-tuned"),
        task="image-segmentation",
        checkpoint=recipe.model.model_name_or_path,
        train_data=recipe.data.dataset,
        eval_data=f"{recipe.data.dataset}, {recipe.data.eval_split}",
        eval_images=len(trainer.eval_dataset),
        scores=scores_of(scores),
        details={"epochs": recipe.training.num_train_epochs, "image_size": trainer.core_model.config.image_size},
    )
    finish_run(trainer, recipe, result=result)
    shutdown_distributed(trainer.accelerator)
    return result


def summary(recipe: SegmentationRecipe, result: Result) -> str:
    """What is printed at the end of a run."""
    return scored("mean IoU", result.scores["mean_iou"], "model", recipe)
