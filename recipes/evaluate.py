"""Score a classifier on files, on other qualities and sizes of the same images, and on the originals: one table.

    python recipes/evaluate.py recipes/configs/downstream/evaluate_in1k.yaml
    python recipes/evaluate.py recipes/configs/downstream/evaluate_demo.yaml --model_name_or_path outputs/demo-linear

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae evaluate`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("evaluate")
