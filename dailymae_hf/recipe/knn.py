"""Nearest neighbours of frozen features: the recipe and the run. Nothing is trained."""

from dailymae_hf.downstream.dataset_facts import check_classes, class_names, image_statistics
from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.downstream.features import collect_features, frozen_encode
from dailymae_hf.errors import RecipeError
from dailymae_hf.recipe.downstream import KnnRecipe
from dailymae_hf.recipe.files import labelled_files_here
from dailymae_hf.run_files import RECIPE_NAME, Result, append_log, write_result
from dailymae_hf.training.hf_compat import logging
from dailymae_hf.training.knn import knn_accuracy
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.ranks import shutdown_distributed

logger = logging.get_logger(__name__)


def run(recipe: KnnRecipe) -> Result:
    wanted, data, neighbours = recipe.model, recipe.data, recipe.neighbours
    train_beton, eval_beton = labelled_files_here(data, recipe.training)
    names = class_names(train_beton, data.class_names)
    check_classes(eval_beton, names)
    encoder = load_encoder(wanted.model_name_or_path)
    encoder.config.image_size = wanted.image_size or encoder.config.image_size
    mean, std = image_statistics(wanted.model_name_or_path, train_beton, wanted.normalization)
    trainer = DailyMAETrainer(encoder.eval(), recipe.training, eval_beton=eval_beton, image_mean=mean, image_std=std)
    encode = frozen_encode(encoder, wanted.pooling)
    bank, queries = (
        collect_features(trainer, trainer.fixed_loader(path), encode, name=f"encode {path}")
        for path in (train_beton, eval_beton)
    )
    trainer.close()
    k = tuple(number for number in neighbours.k if number <= len(bank))
    if not k:
        raise RecipeError(f"k: {neighbours.k} are more neighbours than the {len(bank)} labelled training images")
    if k != tuple(neighbours.k):
        logger.warning("k: scored at %s, as there are %d labelled training images", k, len(bank))
    device = trainer.args.device
    accuracies = knn_accuracy(
        bank.features.to(device),
        bank.labels.to(device),
        queries.features.to(device),
        queries.labels.to(device),
        num_classes=len(names),
        k=k,
        temperature=neighbours.temperature,
    )
    result = Result(
        protocol="kNN",
        task="image-classification",
        checkpoint=wanted.model_name_or_path,
        train_data=recipe.data.train_beton,
        eval_data=recipe.data.eval_beton,
        eval_images=len(queries),
        scores={f"knn_accuracy_{k}": accuracy for k, accuracy in accuracies.items()},
        details={"pooling": wanted.pooling, "temperature": neighbours.temperature},
    )
    trainer.log(dict(result.scores))
    if trainer.is_world_process_zero():
        folder = recipe.training.output_dir
        write_result(folder, result)
        append_log(folder, result.scores)
        recipe.save(f"{folder}/{RECIPE_NAME}")
    shutdown_distributed(trainer.accelerator)
    return result


def summary(recipe: KnnRecipe, result: Result) -> str:
    """What is printed at the end of a run."""
    lines = (
        f"top-1 by {name.rpartition('_')[2]:>3} nearest neighbours  {accuracy:.2%}"
        for name, accuracy in result.scores.items()
    )
    return "\n".join(lines)
