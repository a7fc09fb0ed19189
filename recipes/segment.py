"""Semantic segmentation with a linear head on patch tokens, as a recipe says.

    python recipes/segment.py recipes/configs/downstream/segment_ade20k.yaml
    python recipes/segment.py recipes/configs/downstream/segment_demo.yaml --frozen_encoder false

Every key of the recipe can be given after it, as `--key value`; `--help` lists them.
The same as `dailymae segment`.
"""

from dailymae_hf.cli.run import run_script

if __name__ == "__main__":
    run_script("segment")
