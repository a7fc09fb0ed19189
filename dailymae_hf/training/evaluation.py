"""Figures of held-out images that do not depend on ranks or batches: rows gathered by sample, masks fixed by sample."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from dailymae_hf.model.targets import patch_targets
from dailymae_hf.rng import sample_noise

Batch = dict[str, torch.Tensor]


@torch.no_grad()
def rows_by_sample(
    loader: Iterable[Batch],
    row: Callable[[Batch], torch.Tensor],
    *,
    accelerator: Accelerator,
    batch_size: int,
    limit: int | None = None,
    after_batch: Callable[[], object] = lambda: None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A row of numbers for every sample of a loader: (n,) sample numbers, rising, and (n, ...), the same on every rank.

    Args:
        loader: batches with "index", negative for rows that only fill up, or dealt to the ranks batch by batch in the
            data set's order.
        row: from a batch on the device to its rows, (B, ...); called under autocast.
        accelerator: of the ranks that share the loader.
        batch_size: the loader's, for batches without "index".
        limit: stop once this many samples were seen on all ranks together.
        after_batch: called after each batch.
    """
    rows, indices, seen = [], [], 0
    device, ranks = accelerator.device, accelerator.num_processes
    for step, given in enumerate(loader):
        batch = {name: value.to(device) for name, value in given.items()}
        count = len(next(iter(batch.values())))
        if "index" not in batch:
            first = (step * ranks + accelerator.process_index) * batch_size
            batch["index"] = torch.arange(first, first + count, device=device)
        with accelerator.autocast():
            rows.append(row(batch))
        indices.append(batch["index"])
        after_batch()
        seen += count * ranks
        if limit is not None and seen >= limit:
            break
    return gather_samples(accelerator, torch.cat(indices), torch.cat(rows))


def gather_samples(
    accelerator: Accelerator, index: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of all ranks, sorted by sample index, each sample once (ranks are filled up with repeated samples).

    Args:
        accelerator: of the ranks that gather.
        index: (n,) int64; negative for rows to drop. n may differ between ranks.
        values: (n, ...).
    """
    index = accelerator.pad_across_processes(index, pad_index=-1)
    values = accelerator.pad_across_processes(values)
    index, values = accelerator.gather((index, values))
    order = torch.argsort(index, stable=True)
    index, values = index[order], values[order]
    keep = torch.ones_like(index, dtype=torch.bool)
    keep[1:] = index[1:] != index[:-1]
    keep &= index >= 0
    return index[keep], values[keep]


def losses_of_samples(model: Any, pixel_values: torch.Tensor, index: torch.Tensor, *, seed: int) -> torch.Tensor:
    """MAE's loss of each image, (B,) float32, at the config's mask ratio and under a mask that is the sample's own.

    The model's decoder predicts all patches here; the target is the one that it trains with.

    Args:
        model: a masked autoencoder without wrappers.
        pixel_values: (B, 3, S, S) float, normalised.
        index: (B,) int64, the samples' numbers in the data set.
        seed: of the masks.
    """
    patches = (pixel_values.shape[-1] // model.config.patch_size) ** 2
    outputs = model(
        pixel_values,
        noise=sample_noise(seed, 0, index, patches, pixel_values.device),
        mask_ratio=model.config.mask_ratio,
        return_logits=True,
    )
    target = patch_targets(model.patchify(pixel_values), normalize=model.config.norm_pix_loss)
    error = (outputs.logits.float() - target).square().mean(dim=-1)
    return (error * outputs.mask).sum(dim=1) / outputs.mask.sum(dim=1)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode inside the block, and in the mode it had after it."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
