r"""Train a linear probe on a frozen encoder as a recipe says.

    accelerate launch --config_file accelerate_config.yaml \
        recipes/linear_probe.py recipes/configs/downstream/linear_base_in1k.yaml
    python recipes/linear_probe.py recipes/configs/downstream/linear_demo.yaml --cached_features false

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae linear-probe`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("linear-probe")
