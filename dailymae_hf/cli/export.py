"""`dailymae export`: a model for timm or as ONNX."""

import argparse
from typing import Any


def add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a model for timm or as ONNX")
    parser.add_argument("checkpoint", help="folder or Hub name of a masked autoencoder or a classifier")
    parser.add_argument("out", help="timm: a folder; onnx: a file")
    parser.add_argument("--to", required=True, choices=["timm", "onnx"])
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    from dailymae_hf.export import export_onnx, export_timm

    path = (export_timm if options.to == "timm" else export_onnx)(options.checkpoint, options.out)
    print(path)
    return 0
