"""MAE's loss on held-out images: masks fixed by the sample's index, the same figure for any number of ranks."""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator

from dailymae_hf.rng import sample_noise


@torch.no_grad()
def validation_losses(
    model: Any,
    loader: Any,
    *,
    accelerator: Accelerator,
    normalize: Callable[[torch.Tensor], torch.Tensor],
    seed: int,
    batch_size: int,
    after_batch: Callable[[], None],
) -> torch.Tensor:
    """Loss of each sample in the order of their index, (number of samples,) float32, the same on every rank.

    Args:
        model: a masked autoencoder without wrappers; its config's mask ratio counts, its mode is left as it was.
        loader: batches of `pixel_values`, with "index" or dealt to the ranks batch by batch in the data set's order.
        accelerator: of the ranks that share the loader.
        normalize: from the loader's pixels to the model's.
        seed: of the masks.
        batch_size: the loader's.
        after_batch: called after each batch.
    """
    was_training = model.training
    model.eval()
    losses, indices = [], []
    device = accelerator.device
    try:
        for step, batch in enumerate(loader):
            pixel_values = normalize(batch["pixel_values"].to(device))
            first = (step * accelerator.num_processes + accelerator.process_index) * batch_size
            index = batch.get("index", torch.arange(first, first + len(pixel_values))).to(device)
            patches = (pixel_values.shape[-1] // model.config.patch_size) ** 2
            with accelerator.autocast():
                outputs = model(
                    pixel_values,
                    noise=sample_noise(seed, 0, index, patches, device),
                    mask_ratio=model.config.mask_ratio,
                    return_logits=True,
                )
            losses.append(_loss_per_sample(model, pixel_values, outputs.logits.float(), outputs.mask))
            indices.append(index)
            after_batch()
    finally:
        model.train(was_training)
    index, gathered = gather_samples(accelerator, torch.cat(indices), torch.cat(losses))
    return gathered[index < len(loader.dataset)]


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


def _loss_per_sample(model: Any, pixel_values: torch.Tensor, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """MAE's loss (`models_mae.py: forward_loss`) before the mean over the batch: (B,) float32."""
    target = model.patchify(pixel_values)
    if model.config.norm_pix_loss:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (logits - target).square().mean(dim=-1)
    return (error * mask).sum(dim=1) / mask.sum(dim=1)
