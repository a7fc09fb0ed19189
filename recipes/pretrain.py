"""Pretrain a masked autoencoder as a recipe says: parse, build, run.

    accelerate launch --config_file accelerate_config.yaml recipes/pretrain.py recipes/configs/mae_base_in1k.yaml
    python recipes/pretrain.py recipes/configs/demo.yaml --num_train_epochs 2

Every key of the recipe can be given after it, as `--key value`.
"""

from transformers import ViTMAEForPreTraining, set_seed

from dailymae_hf.callbacks import LogFileCallback, OnlineProbeCallback, ReconstructionCallback, ThroughputCallback
from dailymae_hf.hub import release
from dailymae_hf.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.recipe import PretrainRecipe, exit_on_user_errors, recipe_from_command_line
from dailymae_hf.trainer import DailyMAETrainer


def build_model(recipe: PretrainRecipe) -> DailyMAEForPreTraining:
    arguments = recipe.model
    if arguments.model_name_or_path:
        return DailyMAEForPreTraining.from_pretrained(arguments.model_name_or_path)
    sizes = {"image_size": arguments.image_size, "mask_ratio": arguments.mask_ratio, **arguments.model_overrides}
    if arguments.patch_size is not None:
        sizes["patch_size"] = arguments.patch_size
    config = mae_config(arguments.model_size, **sizes)
    set_seed(recipe.training.seed)
    model = DailyMAEForPreTraining(config)
    if arguments.initialization == "stock":
        model.load_state_dict(ViTMAEForPreTraining(config).state_dict())
    return model


def build_trainer(recipe: PretrainRecipe) -> DailyMAETrainer:
    wanted, data = recipe.callbacks, recipe.data
    callbacks = [ThroughputCallback(), LogFileCallback()]
    if wanted.online_probe:
        callbacks.append(
            OnlineProbeCallback(
                every_n_steps=wanted.probe_every_n_steps,
                every_n_epochs=wanted.probe_every_n_epochs,
                bank_size=wanted.knn_bank_size,
            )
        )
    if wanted.reconstruction_every_n_epochs:
        callbacks.append(
            ReconstructionCallback(
                every_n_epochs=wanted.reconstruction_every_n_epochs, num_images=wanted.reconstruction_images
            )
        )
    return DailyMAETrainer(
        build_model(recipe),
        recipe.training,
        train_beton=data.train_beton,
        eval_beton=data.eval_beton,
        loader_options={
            "scale": data.crop_scale,
            "ratio": data.crop_ratio,
            "hflip": data.hflip,
            "on_error": data.on_error,
        },
        image_mean=data.image_mean,
        image_std=data.image_std,
        callbacks=callbacks,
    )


def main() -> None:
    with exit_on_user_errors():
        recipe = recipe_from_command_line(PretrainRecipe, __doc__)
        trainer = build_trainer(recipe)
        trainer.train(recipe.training.resume_from_checkpoint)
        folder = release(trainer, recipe)
    if trainer.is_world_process_zero():
        print(f"model, processor, recipe, card and log.jsonl are in {folder}")
    trainer.accelerator.end_training()  # a process group that the interpreter has to end may abort it


if __name__ == "__main__":
    main()
