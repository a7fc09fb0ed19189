"""Pretrain a masked autoencoder as a recipe says: parse, build, run.

    accelerate launch --config_file accelerate_config.yaml recipes/pretrain.py recipes/configs/mae_base_in1k.yaml
    python recipes/pretrain.py recipes/configs/demo.yaml --num_train_epochs 10

Every key of the recipe can be given after it, as `--key value`.
"""

from dataclasses import replace

from dailymae_hf.hub.fetch import fetched
from dailymae_hf.recipe.build import build_trainer
from dailymae_hf.recipe.fit_at_start import fit_at_start
from dailymae_hf.recipe.recipe import PretrainRecipe, exit_on_user_errors, recipe_from_command_line
from dailymae_hf.recipe.run_folder import keep_recipe, release
from dailymae_hf.training.ranks import end_ranks, leave_rank


def main() -> None:
    with exit_on_user_errors():
        recipe = recipe_from_command_line(PretrainRecipe, __doc__)
        local = fit_at_start(fetched(recipe), build_trainer)
        trainer = build_trainer(local)
        recipe = replace(local, data=recipe.data)  # saved with the addresses that it names
        keep_recipe(trainer, recipe)
        trainer.train(recipe.training.resume_from_checkpoint)
        folder = release(trainer, recipe)
    if trainer.is_world_process_zero():
        print(f"model, processor, recipe, card and log.jsonl are in {folder}")
    end_ranks(trainer.accelerator)


if __name__ == "__main__":
    main()
    leave_rank()
