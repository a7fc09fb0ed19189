"""The segmentation judge: what a checkpoint's frozen patch features are worth for naming every pixel.

    python -m studies.judge_segmentation CHECKPOINT --train train.parquet --validation validation.parquet

Frozen as `studies.judge` is, and like it plain transformers; a change of the protocol raises `PROTOCOL`. The parquet
files have a column `image` and a column with masks of class numbers (`--mask-column`); `--ignore` is no class.

An image is scaled (bicubic) to the nearest multiples of the encoder's side and cut into tiles of that side, which the
encoder sees whole, one by one. The features are the patch tokens before the final LayerNorm, standardised with the
training features' mean and standard deviation. A linear head learns the fraction of each class among a patch's labelled
pixels: cross-entropy and an L2 term of `STRENGTH`, L-BFGS from zero. Its logits are scaled (bilinear) to the mask.

- `miou`: intersection over union of all validation pixels, mean over the classes that occur;
- `pixel_accuracy`: fraction of the labelled validation pixels;
- `iou`: by class.
"""

import argparse
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import ViTMAEModel

from studies.judge import PRECISIONS, load_encoder, pixel_statistics, standardised

PROTOCOL = 1
STRENGTH = 1e-4  # of the L2 term, weight * |W|^2 / 2 beside the mean cross-entropy
ITERATIONS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores of one checkpoint as a JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.judge_segmentation", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("checkpoint", help="folder or Hub name of a ViTMAE checkpoint")
    parser.add_argument("--train", required=True, help="parquet file with images and masks")
    parser.add_argument("--validation", required=True)
    parser.add_argument("--mask-column", default="mask", metavar="NAME")
    parser.add_argument("--ignore", type=int, default=255, metavar="VALUE", help="mask value that is no class")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the encoder; default: float32")
    options = parser.parse_args(arguments)
    print(json.dumps(judge(**vars(options))))


def judge(
    checkpoint: str, train: str, validation: str, *, mask_column: str, ignore: int, precision: str = "float32"
) -> dict[str, Any]:
    """Scores of a checkpoint, as the module describes them."""
    encoder, statistics = load_encoder(checkpoint), pixel_statistics(checkpoint)
    images, masks = read_images(train, int(encoder.config.image_size), mask_column)
    held_out, held_out_masks = read_images(validation, int(encoder.config.image_size), mask_column)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        features, queries = (grid_features(encoder, pixels, statistics).float() for pixels in (images, held_out))
    width = features.shape[-1]
    features, flat_queries = standardised(features.reshape(-1, width), queries.reshape(-1, width))
    labelled = masks[masks != ignore]
    targets = class_fractions(masks, images.shape[-2:], encoder.config.patch_size, int(labelled.max()) + 1, ignore)
    head = fit_linear(features, targets.reshape(len(features), -1))
    with torch.no_grad():
        logits = head(flat_queries).reshape(*queries.shape[:3], -1).permute(0, 3, 1, 2)
    table = confusion(logits, held_out_masks, ignore)
    scores = iou(table)
    return {
        "protocol": PROTOCOL,
        "precision": precision,
        "train_images": len(images),
        "validation_images": len(held_out),
        "miou": scores[~scores.isnan()].mean().item(),
        "pixel_accuracy": (table.diagonal().sum() / table.sum()).item(),
        "iou": [None if value.isnan() else round(value.item(), 4) for value in scores],
    }


def read_images(file: str, side: int, mask_column: str) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images (N, 3, H, W), H and W multiples of `side`, and int64 masks (N, h, w) as they are.

    Raises:
        ValueError: the images or masks have different sizes.
    """
    images, masks = [], []
    for row in pq.read_table(file, columns=["image", mask_column]).to_pylist():
        image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        whole = [max(1, round(length / side)) * side for length in image.size]
        image = image.resize((whole[0], whole[1]), Image.Resampling.BICUBIC)
        images.append(np.asarray(image).transpose(2, 0, 1))
        masks.append(np.asarray(Image.open(io.BytesIO(row[mask_column]["bytes"]))).astype(np.int64))
    if len({image.shape for image in images}) > 1 or len({mask.shape for mask in masks}) > 1:
        raise ValueError(f"{file}: the images or masks have different sizes")
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


@torch.no_grad()
def grid_features(
    encoder: ViTMAEModel, images: torch.Tensor, statistics: tuple[torch.Tensor, torch.Tensor], batch: int = 8
) -> torch.Tensor:
    """Patch tokens (N, H / patch, W / patch, hidden_size) in row-major order, tile by tile."""
    mean, std = statistics
    side, grid = int(encoder.config.image_size), int(encoder.config.image_size) // int(encoder.config.patch_size)
    rows, columns = (length // side for length in images.shape[-2:])
    found: list[torch.Tensor] = []
    hook = encoder.layernorm.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    results = []
    for pixels in images.split(batch):
        tiles = pixels.reshape(len(pixels), 3, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        # In rising noise the patches keep their order.
        noise = torch.arange(grid * grid, dtype=torch.float32).expand(len(tiles), -1)
        encoder(pixel_values=(tiles.float() / 255 - mean) / std, noise=noise)
        tokens = found.pop()[:, 1:].reshape(len(pixels), rows, columns, grid, grid, -1)
        results.append(tokens.permute(0, 1, 3, 2, 4, 5).reshape(len(pixels), rows * grid, columns * grid, -1))
    hook.remove()
    return torch.cat(results)


def class_fractions(masks: torch.Tensor, size: Sequence[int], patch: int, classes: int, ignore: int) -> torch.Tensor:
    """Fractions (N, H / patch, W / patch, classes) of each patch's labelled pixels; all zero where none is labelled."""
    enlarged = F.interpolate(masks[:, None].float(), size=tuple(size), mode="nearest")[:, 0].long()
    cells = enlarged.unfold(1, patch, patch).unfold(2, patch, patch).flatten(3)
    counts = torch.stack([(cells == c).sum(dim=-1) * (c != ignore) for c in range(classes)], dim=-1).float()
    return counts / counts.sum(dim=-1, keepdim=True).clamp_min(1)


def fit_linear(features: torch.Tensor, targets: torch.Tensor) -> nn.Linear:
    """Full-batch L-BFGS from zero on soft targets; a row without a target weighs nothing."""
    head = nn.Linear(features.shape[1], targets.shape[1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )
    count = targets.sum()

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        losses = -(targets * head(features).log_softmax(dim=1)).sum()
        value: torch.Tensor = losses / count + STRENGTH * head.weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    return head


def confusion(logits: torch.Tensor, masks: torch.Tensor, ignore: int) -> torch.Tensor:
    """Pixels (classes, classes) by mask value and prediction, of logits (N, classes, h, w) scaled to the masks."""
    classes = logits.shape[1]
    table = torch.zeros(classes * classes, dtype=torch.int64)
    for values, mask in zip(logits.split(8), masks.split(8), strict=True):
        predicted = F.interpolate(values, size=mask.shape[-2:], mode="bilinear", align_corners=False).argmax(dim=1)
        kept = (mask != ignore) & (mask < classes)
        table += torch.bincount(mask[kept] * classes + predicted[kept], minlength=classes * classes)
    return table.view(classes, classes)


def iou(table: torch.Tensor) -> torch.Tensor:
    """Intersection over union by class; NaN where a class is neither there nor predicted."""
    right = table.diagonal().double()
    return right / (table.sum(dim=0) + table.sum(dim=1) - table.diagonal()).double()


if __name__ == "__main__":
    main()
