"""The linear probe: the recipe, its trainer, and the run that leaves a classifier with the probe folded in."""

from typing import Any

from transformers import set_seed

from dailymae_hf.downstream.classifier import build_classifier, pooled_features
from dailymae_hf.downstream.dataset_facts import check_classes, class_names, image_statistics
from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.downstream.features import FeatureTable, as_it_is, collect_features
from dailymae_hf.downstream.probe import LinearProbe, LinearProbeTrainer
from dailymae_hf.recipe.downstream import LinearProbeRecipe
from dailymae_hf.recipe.files import labelled_files_here
from dailymae_hf.recipe.run_folder import finish_run, in_its_folder, train
from dailymae_hf.recipe.summary import scored
from dailymae_hf.run_files import Result, scores_of
from dailymae_hf.training.callbacks import LogFileCallback, ThroughputCallback
from dailymae_hf.training.ranks import shutdown_distributed


def build_trainer(recipe: LinearProbeRecipe) -> LinearProbeTrainer:
    wanted, data = recipe.model, recipe.data
    train_beton, eval_beton = labelled_files_here(data, recipe.training)
    names = class_names(train_beton, data.class_names)
    check_classes(eval_beton, names)
    set_seed(recipe.training.seed)
    probe = LinearProbe(
        build_classifier(
            load_encoder(wanted.model_name_or_path),
            names,
            pooling=wanted.pooling,
            image_size=wanted.image_size,
        )
    )
    mean, std = image_statistics(wanted.model_name_or_path, train_beton, wanted.normalization)
    options: dict[str, Any] = {
        "loader_options": data.loader_options(),
        "image_mean": mean,
        "image_std": std,
    }
    trainer = LinearProbeTrainer(
        probe,
        recipe.training,
        train_beton=train_beton,
        eval_beton=eval_beton,
        callbacks=[ThroughputCallback(), LogFileCallback()],
        **options,
    )
    if not recipe.probe.cached_features:
        return trainer
    train, validation = (cache(trainer, path) for path in (train_beton, eval_beton))
    trainer.close()
    return LinearProbeTrainer(
        probe,
        recipe.training,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=as_it_is,
        processing_class=trainer.processing_class,
        callbacks=[LogFileCallback()],
        **options,
    )


def cache(trainer: LinearProbeTrainer, path: str) -> FeatureTable:
    trainer.core_model.eval()
    return collect_features(
        trainer,
        trainer.fixed_loader(path),
        lambda pixel_values: pooled_features(trainer.core_model.classifier, pixel_values),
        name=f"encode {path}",
    )


@in_its_folder
def run(recipe: LinearProbeRecipe) -> Result:
    trainer = build_trainer(recipe)
    train(trainer, recipe)
    scores = trainer.evaluate()
    images = len(trainer.get_eval_dataloader().dataset)
    trainer.close()
    result = Result(
        protocol="linear probe on cached features" if recipe.probe.cached_features else "linear probe",
        task="image-classification",
        checkpoint=recipe.model.model_name_or_path,
        train_data=recipe.data.train_beton,
        eval_data=recipe.data.eval_beton,
        eval_images=images,
        scores=scores_of(scores),
        details={
            "epochs": recipe.training.num_train_epochs,
            "image_size": trainer.core_model.config.image_size,
            "pooling": recipe.model.pooling,
        },
    )
    finish_run(trainer, recipe, result=result, model=trainer.core_model.fold())
    shutdown_distributed(trainer.accelerator)
    return result


def summary(recipe: LinearProbeRecipe, result: Result) -> str:
    """What is printed at the end of a run."""
    return scored("top-1", result.scores["accuracy"], "classifier", recipe)
