"""The judge: what a checkpoint's frozen features are worth. Plain transformers, nothing of this package.

    python -m studies.judge CHECKPOINT --train train.parquet --validation validation.parquet

It is frozen: it does not change with a recipe, so that scores of different recipes and dates can be compared. A change
of the protocol raises `PROTOCOL`, and scores of two protocols are never put into one table.

The feature of an image is the mean of the encoder's patch tokens of the whole, unmasked image before the final
LayerNorm, standardised with the training features' mean and standard deviation. On these features:

- `knn`: 20 nearest neighbours by cosine similarity, votes weighted by exp(similarity / 0.07) (Wu et al. 2018);
- `linear`: multinomial logistic regression, L2-regularised; the strength is chosen on a fifth of the training images;
- `linear_1`, `linear_10` (with `--few-labels`): the same with 1 % and 10 % of the labels, at least one per class;
- `rankme`: effective rank of the standardised training features, no labels (Garrido et al. 2023, eq. 1);
- `finetune` (with `--finetune EPOCHS`): the whole encoder and a linear head trained on the training images.

Scores are fractions of the validation images in 0-1. `--precision bfloat16` computes the features with bfloat16
products; the scores name their precision.
"""

import argparse
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import ViTMAEModel

PROTOCOL = 1
NEIGHBOURS = 20
TEMPERATURE = 0.07
PRECISIONS = ("float32", "bfloat16")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # of the L2 term, weight * |W|^2 / 2 beside the mean cross-entropy
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores of one checkpoint as a JSON object."""
    parser = argparse.ArgumentParser(prog="python -m studies.judge", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("checkpoint", help="folder or Hub name of a ViTMAE checkpoint")
    parser.add_argument("--train", required=True, nargs="+", help="parquet files with an image and a label column")
    parser.add_argument("--validation", required=True, nargs="+")
    parser.add_argument("--train-images", type=int, metavar="N", help="N evenly spaced training images; default: all")
    parser.add_argument(
        "--few-labels", action="store_true", help="also the linear probe on 1 %% and 10 %% of the labels"
    )
    parser.add_argument("--finetune", type=int, default=0, metavar="EPOCHS", help="also a short fine-tuning")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the encoder; default: float32")
    parser.add_argument("--seed", type=int, default=0, help="of the fine-tuning")
    options = parser.parse_args(arguments)
    scores = judge(
        options.checkpoint,
        options.train,
        options.validation,
        train_images=options.train_images,
        few_labels=options.few_labels,
        finetune_epochs=options.finetune,
        precision=options.precision,
        seed=options.seed,
    )
    print(json.dumps(scores))


def judge(
    checkpoint: str,
    train: Sequence[str],
    validation: Sequence[str],
    *,
    train_images: int | None = None,
    few_labels: bool = False,
    finetune_epochs: int = 0,
    precision: str = "float32",
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of a checkpoint, as the module describes them, with `protocol` and the numbers of images."""
    encoder = load_encoder(checkpoint)
    normalise = pixel_statistics(checkpoint)
    size = int(encoder.config.image_size)
    images, labels = read_images(train, size, train_images)
    held_out, held_out_labels = read_images(validation, size)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        features, queries = (encode(encoder, pixels, normalise).float() for pixels in (images, held_out))
    scores: dict[str, Any] = {
        "protocol": PROTOCOL,
        "precision": precision,
        "train_images": len(images),
        "validation_images": len(held_out),
    }
    features, queries = standardised(features, queries)
    scores["rankme"] = rankme(features)
    scores["knn"] = nearest_neighbours(features, labels, queries, held_out_labels)
    scores["linear"] = linear_probe(features, labels, queries, held_out_labels)
    if few_labels:
        for percent in (1, 10):
            rows = some_of_each_class(labels, percent / 100)
            scores[f"linear_{percent}"] = linear_probe(features[rows], labels[rows], queries, held_out_labels)
    if finetune_epochs:
        scores["finetune"] = finetune(
            encoder, (images, labels), (held_out, held_out_labels), normalise, finetune_epochs, seed
        )
    return scores


# ---- images and features


def read_images(files: Sequence[str], size: int, limit: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N, 3, size, size) and int64 labels (N,) of parquet files; `limit` takes evenly spaced rows."""
    table = pa.concat_tables(
        [pq.read_table(file, columns=["image", "label"]) for file in files], promote_options="default"
    )
    if limit is not None and limit < len(table):
        table = table.take([row * len(table) // limit for row in range(limit)])
    columns = list(zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True))
    pixels = np.empty((len(columns), 3, size, size), dtype=np.uint8)
    for row, (value, _) in enumerate(columns):
        image = Image.open(io.BytesIO(value["bytes"])).convert("RGB")
        if image.size != (size, size):
            image = _square(image).resize((size, size), Image.Resampling.BICUBIC)
        pixels[row] = np.asarray(image).transpose(2, 0, 1)
    return torch.from_numpy(pixels), torch.tensor([label for _, label in columns])


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def load_encoder(checkpoint: str) -> ViTMAEModel:
    """The encoder, showing every patch; a checkpoint that does not fill it is refused.

    Raises:
        ValueError: tensors of the encoder are missing or have another shape.
    """
    encoder, info = ViTMAEModel.from_pretrained(checkpoint, mask_ratio=0.0, output_loading_info=True)
    lacking = [*info["missing_keys"], *info["mismatched_keys"]]
    if lacking:
        raise ValueError(f"{checkpoint} does not fill the encoder: {lacking[0]} and {len(lacking) - 1} more")
    return encoder.eval()


def pixel_statistics(checkpoint: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (1, 3, 1, 1) of pixels in 0-1: the checkpoint's, ImageNet's where it names none."""
    path = Path(checkpoint) / "preprocessor_config.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    mean, std = (known.get(name, default) for name, default in zip(("image_mean", "image_std"), IMAGENET, strict=True))
    return torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)


def patch_mean(encoder: ViTMAEModel, pixels: torch.Tensor, normalise: tuple[torch.Tensor, torch.Tensor]) -> Any:
    """uint8 (B, 3, S, S) -> (B, hidden_size), the mean patch token before the final LayerNorm."""
    found: list[torch.Tensor] = []
    # The class's own output is after the LayerNorm; what goes into it is the same in every version of transformers.
    hook = encoder.layernorm.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    mean, std = normalise
    encoder(pixel_values=(pixels.float() / 255 - mean) / std)
    hook.remove()
    return found[0][:, 1:].mean(dim=1)


@torch.no_grad()
def encode(
    encoder: ViTMAEModel, images: torch.Tensor, normalise: tuple[torch.Tensor, torch.Tensor], batch: int = 100
) -> torch.Tensor:
    """Features (N, hidden_size) in float32 of uint8 images."""
    return torch.cat([patch_mean(encoder, pixels, normalise) for pixels in images.split(batch)])


def standardised(features: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with the mean and standard deviation of the first."""
    std, mean = torch.std_mean(features, dim=0)
    std = std.clamp_min(1e-6)
    return (features - mean) / std, (queries - mean) / std


# ---- scores of frozen features


def rankme(features: torch.Tensor) -> float:
    """exp of the entropy of the singular values scaled to sum 1: between 1 and the width."""
    values = torch.linalg.svdvals(features.double())
    weights = values / values.sum() + 1e-7
    return math.exp(-(weights * weights.log()).sum().item())


def nearest_neighbours(
    features: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, query_labels: torch.Tensor
) -> float:
    """Accuracy of the weighted vote of the `NEIGHBOURS` nearest training features."""
    classes = int(labels.max()) + 1
    bank = F.normalize(features, dim=1)
    right = 0
    for rows, wanted in zip(queries.split(1000), query_labels.split(1000), strict=True):
        similarity, nearest = (F.normalize(rows, dim=1) @ bank.T).topk(min(NEIGHBOURS, len(bank)), dim=1)
        votes = torch.zeros(len(rows), classes).scatter_add(1, labels[nearest], (similarity / TEMPERATURE).exp())
        right += int((votes.argmax(dim=1) == wanted).sum())
    return right / len(queries)


def linear_probe(
    features: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, query_labels: torch.Tensor
) -> float:
    """Accuracy of logistic regression; every fifth training image chooses the strength, then all of them train."""
    held = torch.arange(len(labels)) % 5 == 4
    inner = [
        accuracy(fit_linear(features[~held], labels[~held], strength), features[held], labels[held])
        for strength in STRENGTHS
    ]
    strength = STRENGTHS[inner.index(max(inner))]
    return accuracy(fit_linear(features, labels, strength), queries, query_labels)


def fit_linear(features: torch.Tensor, labels: torch.Tensor, strength: float) -> nn.Linear:
    """Full-batch L-BFGS from zero: deterministic, and close to the one optimum of this convex problem."""
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(head(features), labels) + strength * head.weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    return head


@torch.no_grad()
def accuracy(head: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of the rows whose largest logit is at the label."""
    return (head(features).argmax(dim=1) == labels).float().mean().item()


def some_of_each_class(labels: torch.Tensor, fraction: float) -> torch.Tensor:
    """Rows of the first `fraction` of each class's images, at least one of each."""
    return torch.cat(
        [
            rows[: max(1, round(fraction * len(rows)))]
            for c in labels.unique()
            for rows in [(labels == c).nonzero()[:, 0]]
        ]
    )


# ---- short fine-tuning


def finetune(  # noqa: PLR0917
    encoder: ViTMAEModel,
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
    normalise: tuple[torch.Tensor, torch.Tensor],
    epochs: int,
    seed: int,
    batch: int = 64,
    peak: float = 1e-3,
) -> float:
    """Accuracy after training encoder and head together: AdamW, cosine to zero, flips and shifts of an eighth."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = train
    head = nn.Linear(encoder.config.hidden_size, int(labels.max()) + 1)
    nn.init.trunc_normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    norm = nn.LayerNorm(head.in_features, elementwise_affine=False)
    parameters = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.999), weight_decay=0.05)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False
    )
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)[: len(images) // batch * batch]
        for rows in order.split(batch):
            features = patch_mean(encoder, _augment(images[rows], generator), normalise)
            F.cross_entropy(head(norm(features)), labels[rows], label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    held_out, wanted = validation
    return accuracy(head, norm(encode(encoder, held_out, normalise)), wanted)


def _augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image flipped or not and shifted by up to an eighth of its side, edges repeated."""
    side = pixels.shape[-1]
    margin = side // 8
    flipped = torch.rand(len(pixels), generator=generator) < 0.5
    pixels = torch.where(flipped.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
    padded = F.pad(pixels.float(), (margin,) * 4, mode="replicate").to(torch.uint8)
    corners = torch.randint(0, 2 * margin + 1, (len(pixels), 2), generator=generator).tolist()
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)])


if __name__ == "__main__":
    main()
