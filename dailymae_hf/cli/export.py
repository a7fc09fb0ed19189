"""`dailymae export`: a model for timm, as ONNX, or its encoder as a plain ViT."""

import argparse
from typing import Any


def add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a model for timm, as ONNX, or its encoder as a plain ViT")
    parser.add_argument("checkpoint", help="folder or Hub name of a masked autoencoder or a classifier")
    parser.add_argument("out", help="timm, vit: a folder; onnx: a file")
    parser.add_argument("--to", required=True, choices=["timm", "onnx", "vit"])
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    from dailymae_hf import export

    write = {"timm": export.export_timm, "onnx": export.export_onnx, "vit": export.export_vit}[options.to]
    print(write(options.checkpoint, options.out))
    return 0
