r"""Fine-tune a classifier as a recipe says.

    accelerate launch --config_file accelerate_config.yaml \
        recipes/finetune.py recipes/configs/downstream/finetune_base_in1k.yaml
    python recipes/finetune.py recipes/configs/downstream/finetune_demo.yaml --num_train_epochs 2

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae finetune`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("finetune")
