"""`dailymae write`, `inspect`, `verify`, `convert`: images into .beton files, and what such a file holds."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dailymae_hf.cli.arguments import number, whole

if TYPE_CHECKING:
    from dailymae_hf.data.written_file import WriteReport

_SHOWN = 20  # broken samples that are printed one by one
_CLASSES_SHOWN = 20
_OTHERS_SHOWN = 5


def add_write(commands: Any) -> None:
    parser = commands.add_parser("write", help="write images as a .beton", description=_WRITE)
    parser.add_argument(
        "source",
        help="a folder of images; a parquet, tar, zip, CSV, TSV or JSON-lines file, a pattern or a folder of such "
        "files; a saved data set; or a name on the Hub, USER/NAME or hf://USER/NAME",
    )
    parser.add_argument("out", help="the .beton to write")
    parser.add_argument("--split", help="which split, where the source has several")
    parser.add_argument("--image-column", metavar="NAME", help="default: the first that holds images")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--label-column", metavar="NAME", default="auto", help='default: "label" or another known name (cls, class ...)'
    )
    labels.add_argument("--no-labels", dest="label_column", action="store_const", const=None, help="write no labels")
    labels.add_argument(
        "--labels-from",
        default="auto",
        metavar="WHICH",
        help="images in folders: the class is the folder that an image lies in (folder), or the first one on the way "
        "there (top-folder); default: folder, where all images lie equally deep",
    )
    parser.add_argument("--stream", action="store_true", help="read a data set of the Hub without storing it")
    parser.add_argument(
        "--split-off",
        type=number(above=0, below=1),
        metavar="FRACTION",
        help="put this part of the images, 0.02 for example, into a second file, OUT-validation.beton",
    )
    parser.add_argument(
        "--max-resolution",
        type=whole(at_least=0),
        default=500,
        metavar="PIXELS",
        help="longest side; 0 keeps all sizes (default: 500)",
    )
    parser.add_argument(
        "--quality",
        type=whole(at_least=1, at_most=100),
        default=95,
        help="of images that have to be compressed (default: 95)",
    )
    parser.add_argument("--mode", default="jpg", help="jpg, dct, raw, smart or proportion (default: jpg)")
    parser.add_argument(
        "--smart-threshold",
        type=whole(at_least=0),
        metavar="BYTES",
        help="mode smart: compress above these pixel bytes",
    )
    parser.add_argument(
        "--compress-probability",
        type=number(at_least=0, at_most=1),
        default=0.5,
        metavar="FRACTION",
        help="mode proportion: fraction that is compressed",
    )
    parser.add_argument(
        "--transcode", default="auto", help="carry JPEGs over without loss: auto, always or never (default: auto)"
    )
    parser.add_argument("--shard", type=_shard, metavar="I/N", help="write the I-th (from 0) of N parts")
    parser.add_argument("--workers", type=whole(at_least=1), help="processes (default: one per core)")
    parser.add_argument("--on-error", default="stop", help="at a broken image: stop or skip (default: stop)")
    parser.set_defaults(run=run_write)


_WRITE = "Write images as a .beton for BetonLoader and stock ffcv. The file appears when it is whole."


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, with I from 0 to N - 1")
    return int(index), int(count)


def run_write(options: argparse.Namespace) -> int:
    from dailymae_hf.data import write_beton

    report = write_beton(
        options.source,
        options.out,
        split=options.split,
        image_column=options.image_column,
        label_column=options.label_column,
        labels_from=options.labels_from,
        stream=options.stream,
        max_resolution=options.max_resolution or None,
        quality=options.quality,
        mode=options.mode,
        smart_threshold=options.smart_threshold,
        compress_probability=options.compress_probability,
        transcode=options.transcode,
        shard=options.shard,
        split_off=options.split_off,
        workers=options.workers,
        on_error=options.on_error,
    )
    others = report.other_files
    if others:
        shown = ", ".join(others[:_OTHERS_SHOWN]) + (", ..." if len(others) > _OTHERS_SHOWN else "")
        print(f"{options.source}: not images: {len(others)} ({shown})")
    for each in (report, report.split_off):
        if each is not None:
            _print_written(each)
    return 0


def _print_written(report: "WriteReport") -> None:
    print(
        f"{report.path}: {report.found} images found, {report.num_samples} written "
        f"({report.carried_over} carried over without loss), {len(report.skipped)} skipped"
    )
    counts = report.class_counts
    if counts is None:
        print("  no labels")
    else:
        shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:_CLASSES_SHOWN])
        least, most = min(counts.values(), default=0), max(counts.values(), default=0)
        more = f", ... ({least} to {most} images each)" if len(counts) > _CLASSES_SHOWN else ""
        without = f"; {report.unlabelled} images without a label" if report.unlabelled else ""
        print(f"  {len(counts)} classes: {shown}{more}{without}")
    if report.mean is not None:
        print(f"  mean {report.mean}, std {report.std}, measured on {report.measured_images} images")
    _print_broken("skipped", report.skipped)


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
    parser.add_argument("--workers", type=whole(at_least=1), help="threads (default: one per core)")
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
    parser.add_argument("--workers", type=whole(at_least=1), help="processes (default: one per core)")
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
