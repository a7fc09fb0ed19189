"""Compression shift made visible: one classifier scored on files as trained, on other files, on the original images.

Training and evaluation images that went through different resizing and compression cost accuracy, unseen for as long
as one only looks at the files one has. Here the same images are written again at other qualities and sizes, and the
originals go through the image processor that users of the checkpoint will call.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dailymae_hf.data.encode import to_rgb
from dailymae_hf.data.sources.image_source import ImageSource, Row, SourceOptions, read_image
from dailymae_hf.data.sources.open_source import open_images
from dailymae_hf.downstream.dataset_facts import check_classes
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.errors import CorruptSampleError, RecipeError

_READ_AHEAD = 1000  # rows that are passed over rather than opening the source again


@dataclass(frozen=True)
class Score:
    """A row of the table: accuracies in [0, 1], top-5 None up to five classes, the loss in nats, bytes of the file."""

    name: str
    images: int
    accuracy: float
    top5_accuracy: float | None
    loss: float
    bytes_per_image: float | None


class OriginalImages(Dataset):
    """Images of a data set through the checkpoint's image processor: "pixel_values", "labels" and "index".

    Args:
        source: the images, as `open_images` gives them, with labels.
        processor: the image processor.
        label_map: number of a class in the data set -> number in the model.
    """

    def __init__(self, source: ImageSource, processor: Any, label_map: Mapping[int, int]) -> None:
        self.source, self.processor, self.label_map = source, processor, label_map
        self.rows: Iterator[Row] = iter(())
        self.next = 0

    def __len__(self) -> int:
        assert self.source.count is not None
        return self.source.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self._row(number)
        if row.image is None:
            raise CorruptSampleError(f"image {number}: there is no image in this row")
        image = to_rgb(Image.open(io.BytesIO(read_image(row.image))))
        pixel_values = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        label = -1 if row.label is None else self.label_map.get(row.label, -1)
        return {"pixel_values": pixel_values, "labels": label, "index": number}

    def _row(self, number: int) -> Row:
        """Rows are asked for in rising order; a jump begins again there."""
        ahead = number - self.next
        row = next(islice(self.rows, ahead, None), None) if 0 <= ahead <= _READ_AHEAD else None
        if row is None:
            self.rows = self.source.rows(number, None)
            row = next(self.rows)
        self.next = number + 1
        return row


def original_images(
    source: Any,
    processor: Any,
    class_names: Sequence[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = "auto",
) -> OriginalImages:
    """Open whatever `write_beton` reads. Classes are matched to the model's `class_names` by name where it has names.

    Raises:
        RecipeError: the source has no labels, or classes that the model does not know.
    """
    images = open_images(source, SourceOptions(split, image_column, label_column))
    if not images.has_labels:
        raise RecipeError(f"label_column: {source} has no labels to score against")
    if images.count is None:
        raise RecipeError(f"images: {source} is a stream; load it without streaming")
    return OriginalImages(images, processor, label_map(images.class_names, class_names, str(source)))


def label_map(names: Sequence[str] | None, class_names: Sequence[str], source: str) -> dict[int, int]:
    """Number of each class in a source -> number in the model.

    Raises:
        RecipeError: a name that the model does not have.
    """
    if names is None or list(names) == list(class_names):
        return {number: number for number in range(len(class_names))}
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise RecipeError(f"{source}: class {unknown[0]!r} is none of the model's {len(class_names)} classes")
    return {number: numbers[name] for number, name in enumerate(names)}


def score_beton(trainer: ClassifierTrainer, name: str, path: str | Path) -> Score:
    """Score the centre crops of a file at the model's size.

    Raises:
        RecipeError: the file's classes are others than the model's.
    """
    from dailymae_hf.data import inspect_beton

    check_classes(path, list(trainer.core_model.config.id2label.values()))
    loader = trainer.get_eval_dataloader(path)
    size = inspect_beton(path)["bytes_per_image"]["mean"]
    return _row(name, len(loader.dataset), trainer.score(loader), size)


def score_originals(trainer: ClassifierTrainer, name: str, images: OriginalImages) -> Score:
    """Score original images through the processor; ranks share them."""
    args = trainer.args
    loader = DataLoader(
        images,
        batch_size=args.per_device_eval_batch_size,
        sampler=range(args.process_index, len(images), args.world_size),
        num_workers=args.dataloader_num_workers,
    )
    return _row(name, len(images), trainer.score(loader), None)


def _row(name: str, images: int, scores: Mapping[str, float], size: float | None) -> Score:
    return Score(name, images, scores["accuracy"], scores.get("top5_accuracy"), scores["loss"], size)


def variant_name(options: Mapping[str, Any]) -> str:
    """`{"quality": 50, "max_resolution": 160}` -> "quality 50, max_resolution 160"."""
    return ", ".join(f"{key} {value}" for key, value in options.items())


def write_variant(images: Any, options: Mapping[str, Any], folder: Path, **columns: Any) -> Path:
    """Write original images as a file of other quality or size; always compressed anew, never kept losslessly.

    Raises:
        RecipeError: an option that `write_beton` does not have.
    """
    from dailymae_hf.data import write_beton

    known = ("quality", "max_resolution", "mode")
    unknown = next((key for key in options if key not in known), None)
    if unknown is not None:
        raise RecipeError(f"variants: {unknown!r} is none of {', '.join(known)}")
    path = folder / (variant_name(options).replace(", ", "-").replace(" ", "_") + ".beton")
    folder.mkdir(parents=True, exist_ok=True)
    write_beton(images, path, transcode="never", **{"max_resolution": None, **options}, **columns)
    return path


def table(scores: Sequence[Score]) -> str:
    """The rows as text, each beside its distance in accuracy to the first."""
    width = max(len("scored on"), *(len(score.name) for score in scores))
    lines = [f"{'scored on':<{width}}  images   top-1   top-5    loss  bytes/image  top-1 against the first row"]
    for score in scores:
        top5 = "     -" if score.top5_accuracy is None else f"{score.top5_accuracy:6.2%}"
        size = "-" if score.bytes_per_image is None else f"{score.bytes_per_image:,.0f}"
        shift = 100 * (score.accuracy - scores[0].accuracy)
        lines.append(
            f"{score.name:<{width}}  {score.images:6d}  {score.accuracy:6.2%}  {top5}  {score.loss:6.3f}"
            f"  {size:>11}  {shift:+.2f} points"
        )
    return "\n".join(lines)


def as_records(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    return [asdict(score) for score in scores]
