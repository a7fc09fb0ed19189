"""Pretrain a masked autoencoder as a recipe says.

    accelerate launch --config_file accelerate_config.yaml recipes/pretrain.py recipes/configs/mae_base_in1k.yaml
    python recipes/pretrain.py recipes/configs/demo.yaml --num_train_epochs 10

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae pretrain`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("pretrain")
