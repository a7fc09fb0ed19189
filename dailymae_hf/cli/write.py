"""`dailymae write`, `inspect`, `verify`, `convert`: images into .beton files, and what such a file holds."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

_SHOWN = 20  # broken samples that are printed one by one


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


def _print_broken(what: str, broken: Sequence[tuple[int, str]]) -> None:
    if broken:
        print(f"{len(broken)} broken images {what}:")
    for index, problem in broken[:_SHOWN]:
        print(f"  {index}: {problem}")
    if len(broken) > _SHOWN:
        print(f"  and {len(broken) - _SHOWN} more")
