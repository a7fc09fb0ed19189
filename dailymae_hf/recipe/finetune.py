"""Fine-tuning: the recipe, its trainer, and the run that leaves a classifier."""

from transformers import set_seed

from dailymae_hf.downstream.classifier import build_classifier
from dailymae_hf.downstream.dataset_facts import check_classes, class_names, image_statistics
from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.recipe.downstream import FinetuneRecipe
from dailymae_hf.recipe.files import labelled_files_here
from dailymae_hf.recipe.run_folder import finish_run, in_its_folder, train
from dailymae_hf.recipe.summary import scored
from dailymae_hf.run_files import Result, scores_of
from dailymae_hf.training.augment import Mixing, ThreeAugment
from dailymae_hf.training.callbacks import LogFileCallback, ThroughputCallback
from dailymae_hf.training.ranks import shutdown_distributed


def build_trainer(recipe: FinetuneRecipe) -> ClassifierTrainer:
    wanted, data, augmentation, training = recipe.model, recipe.data, recipe.augmentation, recipe.training
    train_beton, eval_beton = labelled_files_here(data, training)
    names = class_names(train_beton, data.class_names)
    check_classes(eval_beton, names)
    set_seed(training.seed)
    model = build_classifier(
        load_encoder(wanted.model_name_or_path),
        names,
        pooling=wanted.pooling,
        image_size=wanted.image_size,
        drop_path_rate=wanted.drop_path_rate,
        head_std=wanted.head_std,
    )
    mean, std = image_statistics(wanted.model_name_or_path, train_beton, wanted.normalization)
    mixing = None
    if augmentation.mixup or augmentation.cutmix:
        smoothing = training.label_smoothing_factor
        mixing = Mixing(len(names), augmentation.mixup, augmentation.cutmix, smoothing, seed=training.seed)
    return ClassifierTrainer(
        model,
        training,
        augment=ThreeAugment(augmentation.color_jitter, seed=training.seed) if augmentation.three_augment else None,
        mixing=mixing,
        train_beton=train_beton,
        eval_beton=eval_beton,
        loader_options=data.loader_options(),
        image_mean=mean,
        image_std=std,
        callbacks=[ThroughputCallback(), LogFileCallback()],
    )


@in_its_folder
def run(recipe: FinetuneRecipe) -> Result:
    trainer = build_trainer(recipe)
    train(trainer, recipe)
    scores = trainer.evaluate()
    result = Result(
        protocol="fine-tuning",
        task="image-classification",
        checkpoint=recipe.model.model_name_or_path,
        train_data=recipe.data.train_beton,
        eval_data=recipe.data.eval_beton,
        eval_images=len(trainer.get_eval_dataloader().dataset),
        scores=scores_of(scores),
        details={
            "epochs": recipe.training.num_train_epochs,
            "image_size": trainer.core_model.config.image_size,
            "pooling": recipe.model.pooling,
        },
    )
    finish_run(trainer, recipe, result=result)
    trainer.close()
    shutdown_distributed(trainer.accelerator)
    return result


def summary(recipe: FinetuneRecipe, result: Result) -> str:
    """What is printed at the end of a run."""
    return scored("top-1", result.scores["accuracy"], "classifier", recipe)
