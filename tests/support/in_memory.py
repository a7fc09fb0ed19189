"""A loader with BetonLoader's methods over arrays: tests of the Trainer need neither ffcv nor a file."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config


class ArrayLoader:
    """Batches of uint8 images in an order that is a function of (seed, epoch), flipped by (epoch, index).

    `seen` lists what was handed out: (epoch, resolution, sample indices).
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.dataset = TensorDataset(images)
        self.dataset.labels = None if labels is None else labels.numpy()  # type: ignore[attr-defined]
        self.resolution = images.shape[-1]
        self.class_names = None
        self.epoch, self._skipped = 0, 0
        self.seen: list[tuple[int, int, list[int]]] = []

    def __len__(self) -> int:
        whole = self.batch_size * self.world_size
        return len(self.images) // whole if self.drop_last else -(-len(self.images) // whole)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def set_resolution(self, resolution: int) -> None:
        self.resolution = resolution

    def skip(self, batches: int) -> None:
        self._skipped = batches

    def close(self) -> None:
        pass

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        start, self._skipped = self._skipped, 0
        count, whole = len(self.images), self.batch_size * self.world_size
        generator = torch.Generator().manual_seed(1000 * self.seed + self.epoch)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        if not self.drop_last:  # equal numbers of rows on all ranks, the rest filled up with other samples
            order = torch.cat([order, -order - 1])[: -(-count // self.world_size) * self.world_size]
        for number in range(start, len(self)):
            part = order[number * whole : (number + 1) * whole]
            rows = len(part) // self.world_size
            yield self._batch(part[self.rank * rows : (self.rank + 1) * rows])

    def _batch(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        index = torch.where(rows < 0, -rows - 1, rows)
        self.seen.append((self.epoch, self.resolution, index.tolist()))
        pixels = self.images[index]
        if self.shuffle:
            flipped = (index + self.epoch) % 2 == 1
            pixels = torch.where(flipped[:, None, None, None], pixels.flip(-1), pixels)
        if self.resolution != pixels.shape[-1]:
            size = (self.resolution, self.resolution)
            pixels = F.interpolate(pixels.float(), size, mode="bilinear", antialias=True).round().to(torch.uint8)
        batch = {"pixel_values": pixels, "index": rows.clamp(min=-1)}
        if self.labels is None:
            return batch
        return {**batch, "labels": torch.where(rows < 0, -100, self.labels[index])}


def coloured_images(count: int, size: int = 32, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy stripes whose direction, width and colour say the class: uint8 (count, 3, size, size), int64 (count,)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    phase = torch.rand(count, 1, 1, generator=generator) * 6.28
    angle = (labels * 0.7).view(-1, 1, 1)
    wave = torch.sin((rows * angle.cos() + columns * angle.sin()) * (0.4 + 0.15 * labels.view(-1, 1, 1)) + phase)
    colour = torch.rand(classes, 3, generator=generator)[labels].view(-1, 3, 1, 1)
    noise = 0.1 * torch.randn(count, 3, size, size, generator=generator)
    return ((0.5 + 0.4 * wave.unsqueeze(1) * colour + noise).clamp(0, 1) * 255).to(torch.uint8), labels


def tiny_model(seed: int = 0, **overrides: object) -> DailyMAEForPreTraining:
    """32 px, patch 8, two encoder layers and one decoder layer."""
    torch.manual_seed(seed)
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 64,
    }
    return DailyMAEForPreTraining(mae_config("tiny", **{**sizes, **overrides}))
