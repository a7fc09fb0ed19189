r"""Score frozen features by their nearest neighbours as a recipe says. Nothing is trained.

    accelerate launch --config_file accelerate_config.yaml \
        recipes/knn.py recipes/configs/downstream/knn_base_in1k.yaml
    python recipes/knn.py recipes/configs/downstream/knn_demo.yaml --pooling cls

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae knn`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("knn")
