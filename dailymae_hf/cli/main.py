"""`dailymae`: parse, call, print. Each command is one function that adds its parser and one that runs it.

An error that the user can act on is one line on stderr; exit code 2 for arguments that cannot be used, 1 for all else.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from dailymae_hf.cli.plan import add_plan
from dailymae_hf.errors import DailyMAEError, RecipeError

_SHOWN = 20  # broken samples that are printed one by one


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    parser = argparse.ArgumentParser(prog="dailymae", description="Pretrain masked autoencoders in a day.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except RecipeError as error:
        return _fail(error, 2)
    except (DailyMAEError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(error: object, code: int) -> int:
    print(f"dailymae: {' '.join(str(error).split())}", file=sys.stderr)
    return code


# ---- write


def add_write(commands: Any) -> None:
    parser = commands.add_parser("write", help="write images as a .beton", description=_WRITE)
    parser.add_argument("source", help="image folder, parquet file or folder, saved dataset, or dataset name")
    parser.add_argument("out", help="the .beton to write")
    parser.add_argument("--split", help="which split, where the source has several")
    parser.add_argument("--image-column", metavar="NAME", help="default: the first image column")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--label-column", metavar="NAME", default="auto", help='default: "label" or a class column')
    labels.add_argument("--no-labels", dest="label_column", action="store_const", const=None, help="write no labels")
    parser.add_argument(
        "--max-resolution",
        type=int,
        default=500,
        metavar="PIXELS",
        help="longest side; 0 keeps all sizes (default: 500)",
    )
    parser.add_argument("--quality", type=int, default=95, help="of images that have to be compressed (default: 95)")
    parser.add_argument("--mode", default="jpg", help="jpg, dct, raw, smart or proportion (default: jpg)")
    parser.add_argument(
        "--smart-threshold", type=int, metavar="BYTES", help="mode smart: compress above these pixel bytes"
    )
    parser.add_argument(
        "--compress-probability",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="mode proportion: share that is compressed",
    )
    parser.add_argument(
        "--transcode", default="auto", help="carry JPEGs over without loss: auto, always or never (default: auto)"
    )
    parser.add_argument("--shard", type=_shard, metavar="I/N", help="write the I-th (from 0) of N parts")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--on-error", default="stop", help="at a broken image: stop or skip (default: stop)")
    parser.set_defaults(run=run_write)


_WRITE = "Write a dataset of images as a .beton for BetonLoader and stock ffcv. The file appears when it is whole."


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    return int(index), int(count)


def run_write(options: argparse.Namespace) -> int:
    from dailymae_hf.data import write_beton

    report = write_beton(
        options.source,
        options.out,
        split=options.split,
        image_column=options.image_column,
        label_column=options.label_column,
        max_resolution=options.max_resolution or None,
        quality=options.quality,
        mode=options.mode,
        smart_threshold=options.smart_threshold,
        compress_probability=options.compress_probability,
        transcode=options.transcode,
        shard=options.shard,
        workers=options.workers,
        on_error=options.on_error,
    )
    print(f"{report.path}: {report.num_samples} images, {report.carried_over} carried over without loss")
    _print_broken("skipped", report.skipped)
    return 0


# ---- inspect


def add_inspect(commands: Any) -> None:
    parser = commands.add_parser("inspect", help="print what a .beton holds")
    parser.add_argument("file")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    parser.set_defaults(run=run_inspect)


def run_inspect(options: argparse.Namespace) -> int:
    from dailymae_hf.data import inspect_beton

    info = inspect_beton(options.file)
    if options.json:
        print(json.dumps(info, indent=2, ensure_ascii=False))
        return 0
    print(f"file        {info['path']}, {info['file_bytes'] / 1e6:.1f} MB")
    print(
        f"samples     {info['num_samples']}" + (f" in {info['num_classes']} classes" if "num_classes" in info else "")
    )
    print("modes       " + ", ".join(f"{count} {mode}" for mode, count in info["modes"].items()))
    for name, title in (("width", "width"), ("height", "height"), ("bytes_per_image", "bytes/image")):
        spread = info[name]
        print(f"{title:<11} {spread['min']} to {spread['max']}, median {spread['median']:g}, mean {spread['mean']:g}")
    for name, value in info["facts"].items():
        if name != "skipped_images":
            text = json.dumps(value, ensure_ascii=False)
            print(f"{name:<20} {text if len(text) <= 80 else text[:77] + '...'}")
    return 0


# ---- verify


def add_verify(commands: Any) -> None:
    parser = commands.add_parser("verify", help="decode everything in a .beton and list what is broken")
    parser.add_argument("file")
    parser.add_argument("--workers", type=int, help="threads (default: one per core)")
    parser.set_defaults(run=run_verify)


def run_verify(options: argparse.Namespace) -> int:
    from dailymae_hf.data import verify_beton

    report = verify_beton(options.file, workers=options.workers)
    print(f"{report.path}: {report.num_samples} samples, {len(report.broken)} broken")
    for index, problem in report.broken:
        print(f"  {index}: {problem}")
    return 1 if report.broken else 0


# ---- convert


def add_convert(commands: Any) -> None:
    parser = commands.add_parser("convert", help="change the storage mode of a .beton without loss")
    parser.add_argument("source", help="the .beton to read")
    parser.add_argument("out", help="the .beton to write")
    parser.add_argument("--mode", required=True, choices=["jpg", "dct"], help="how the new file stores images")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.set_defaults(run=run_convert)


def run_convert(options: argparse.Namespace) -> int:
    from dailymae_hf.data import convert_beton

    count = convert_beton(options.source, options.out, options.mode, workers=options.workers)
    print(f"{options.out}: {count} images as {options.mode}")
    return 0


# ---- push


def add_push(commands: Any) -> None:
    parser = commands.add_parser("push", help="put a model or .beton files on the Hub", description=_PUSH)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", nargs="?", help="output folder of a run")
    what.add_argument("--dataset", nargs="+", metavar="FILE", help=".beton files for a dataset repository instead")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="made where it does not exist")
    parser.add_argument("--private", action="store_const", const=True, help="if the repository has to be made")
    parser.add_argument("--license", metavar="NAME", help="for the card, as the Hub calls it: apache-2.0")
    parser.add_argument(
        "--base-model", metavar="USER/NAME", help="what the model was made from, if the run cannot know"
    )
    parser.add_argument(
        "--results", nargs="+", default=[], metavar="FOLDER", help="runs on this model whose scores go on its card"
    )
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.set_defaults(run=run_push)


_PUSH = "Push in one commit, with a card of measured facts. The token is the one of `hf auth login`, or HF_TOKEN."


def run_push(options: argparse.Namespace) -> int:
    from dailymae_hf.hub.dataset import push_dataset
    from dailymae_hf.hub.push import push_model

    given: dict[str, Any] = {"private": options.private, "license": options.license}
    if options.message:
        given["message"] = options.message
    if options.dataset:
        if options.base_model or options.results:
            raise RecipeError("--base-model and --results are for models, not for --dataset")
        print(push_dataset(options.dataset, options.repo, **given))
    else:
        print(push_model(options.folder, options.repo, base_model=options.base_model, results=options.results, **given))
    return 0


# ---- export


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


def _print_broken(what: str, broken: Sequence[tuple[int, str]]) -> None:
    if broken:
        print(f"{len(broken)} broken images {what}:")
    for index, problem in broken[:_SHOWN]:
        print(f"  {index}: {problem}")
    if len(broken) > _SHOWN:
        print(f"  and {len(broken) - _SHOWN} more")


COMMANDS: list[Callable[[Any], None]] = [
    add_write,
    add_inspect,
    add_verify,
    add_convert,
    add_plan,
    add_push,
    add_export,
]

if __name__ == "__main__":
    sys.exit(main())
