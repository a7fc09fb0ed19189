"""One .beton that a write makes: its samples, what is told of them, and the facts that the file keeps."""

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dailymae_hf import __version__
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.data.encode import Broken, Encoded, EncodeOptions
from dailymae_hf.data.pixel_statistics import PixelStatistics
from dailymae_hf.data.sources.image_source import ImageSource, Row
from dailymae_hf.errors import DailyMAEError

_LISTED = 1000  # skipped images that the facts name; all are counted


@dataclass
class WriteReport:
    """What `write_beton` did.

    `found` images of the source belong to the file; `num_samples` were written, of them `carried_over` without loss;
    `skipped` holds the others (index in the source, its file's name where known and what is wrong). `class_counts` has
    the images written of each class, by its name or number, `unlabelled` those without a label; both are None where
    the file has no labels. `other_files` lie in the source and are no images. `split_off` reports on the second file.
    """

    path: Path
    found: int = 0
    num_samples: int = 0
    carried_over: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)
    class_counts: dict[str, int] | None = None
    unlabelled: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    measured_images: int = 0
    other_files: list[str] = field(default_factory=list)
    split_off: "WriteReport | None" = None


class WrittenFile:
    """A .beton in the making. `images` is how many the whole source has for it, `part` how many of them come here; both
    are None for a stream."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        source: ImageSource,
        options: EncodeOptions,
        *,
        images: int | None,
        part: int | None,
        stack: ExitStack,
    ) -> None:
        self.report = WriteReport(Path(path), other_files=source.other_files)
        self.source, self.options = source, options
        output = BetonOutput(path, part or 0, field_magic=options.field_magic, with_labels=source.has_labels)
        self.output = stack.enter_context(output)
        self.statistics = PixelStatistics(images)
        self.labels: Counter[int] = Counter()

    def next_limit(self) -> int:
        """The hash limit (`pixel_statistics`) of the next image that belongs to this file."""
        self.report.found += 1
        return self.statistics.next_limit()

    def add(self, row: Row, item: Encoded) -> None:
        """Store one image with its label; a missing one is -1."""
        label = -1 if row.label is None else int(row.label)
        self.labels[label] += 1
        self.output.append(item.mode, item.width, item.height, item.data, label)
        self.report.carried_over += item.carried_over
        self.statistics.add(item.moments)

    def skip(self, index: int, row: Row, item: Broken) -> None:
        """Note one image that is not stored."""
        self.report.skipped.append((index, fault(row, item)))

    def commit(self, shard: tuple[int, int] | None) -> WriteReport:
        """Finish the file. Raises DailyMAEError where an image was neither written nor skipped."""
        report = self.report
        report.num_samples = self.output.num_samples
        if report.found != report.num_samples + len(report.skipped):
            raise DailyMAEError(
                f"{report.path}: {report.found} images were found, but {report.num_samples} written and "
                f"{len(report.skipped)} skipped"
            )
        facts = self._facts()
        self.output.commit(facts | ({"shard": list(shard)} if shard else {}))
        report.mean, report.std = facts.get("mean"), facts.get("std")
        report.measured_images = facts.get("measured_images", 0)
        if self.source.has_labels:
            names = self.source.class_names
            numbers = range(len(names)) if names else sorted(label for label in self.labels if label >= 0)
            report.class_counts = {names[n] if names else str(n): self.labels[n] for n in numbers}
            report.unlabelled = sum(count for label, count in self.labels.items() if label < 0)
        return report

    def _facts(self) -> dict[str, Any]:
        options, report = self.options, self.report
        return {
            "written_by": f"dailymae_hf {__version__}",
            "mode": options.mode,
            "quality": options.quality,
            "max_resolution": options.max_resolution,
            "transcode": options.transcode,
            "carried_over": report.carried_over,
            "skipped": len(report.skipped),
            "skipped_images": report.skipped[:_LISTED],
            "class_names": self.source.class_names,
        } | self.statistics.facts()


def fault(row: Row, item: Broken) -> str:
    """What is wrong with an image, after its name where it has one."""
    return item.reason if row.name is None else f"{row.name}: {item.reason}"
