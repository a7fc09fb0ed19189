"""Pictures of one checkpoint on images that it never saw: reconstructions, and its patch features as colours.

python -m studies.pictures CHECKPOINT --validation validation.parquet --out picture.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import ViTMAEForPreTraining

from studies.judge import pixel_statistics, read_images


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw evenly spaced validation images, one a row."""
    parser = argparse.ArgumentParser(prog="python -m studies.pictures", description=str(__doc__).partition("\n")[0])
    parser.add_argument("checkpoint", help="folder of a ViTMAE checkpoint")
    parser.add_argument("--validation", required=True, nargs="+", help="parquet files with an image and a label column")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    options = parser.parse_args(arguments)
    model = ViTMAEForPreTraining.from_pretrained(options.checkpoint).eval()
    pixels, _ = read_images(options.validation, model.config.image_size, options.images)
    draw(model, pixels, pixel_statistics(options.checkpoint), options.out)


def draw(
    model: ViTMAEForPreTraining, pixels: torch.Tensor, statistics: tuple[torch.Tensor, torch.Tensor], out: Path
) -> None:
    """Rows of: the image, what the encoder saw, the reconstruction, the first three principal components."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    mean, std = statistics
    normalised = (pixels.float() / 255 - mean) / std
    seen, rebuilt = reconstruction(model, normalised)
    columns = {
        "image": pixels / 255,
        "visible patches": seen * std + mean,
        "reconstruction": rebuilt * std + mean,
        "patch features (PCA)": principal_colours(model, normalised),
    }
    count = len(pixels)
    figure, axes = plt.subplots(count, len(columns), figsize=(1.5 * len(columns), 1.5 * count), layout="constrained")
    for column, (title, images) in enumerate(columns.items()):
        axes[0][column].set_title(title, fontsize=8)
        for row, image in enumerate(images):
            axes[row][column].imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
            axes[row][column].axis("off")
    figure.savefig(out, dpi=80)
    plt.close(figure)


@torch.no_grad()
def reconstruction(model: ViTMAEForPreTraining, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 3, S, S) with masked patches grey, and with masked patches as the decoder predicts them.

    A model that was trained on normalised patches predicts no brightness or contrast: each masked patch gets its own.
    """
    noise = torch.rand(
        len(images), (images.shape[-1] // model.config.patch_size) ** 2, generator=torch.Generator().manual_seed(0)
    )
    output = model(pixel_values=images, noise=noise)
    patches = model.patchify(images)
    predicted = output.logits
    if model.config.norm_pix_loss:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        predicted = predicted * (variance + 1e-6).sqrt() + mean
    masked = output.mask.unsqueeze(-1)
    return model.unpatchify(patches * (1 - masked)), model.unpatchify(patches * (1 - masked) + predicted * masked)


@torch.no_grad()
def principal_colours(model: ViTMAEForPreTraining, images: torch.Tensor) -> torch.Tensor:
    """The first three principal components of all images' patch tokens as red, green and blue: (B, 3, G, G)."""
    count = (images.shape[-1] // model.config.patch_size) ** 2
    model.config.mask_ratio, ratio = 0.0, model.config.mask_ratio
    # In rising noise the patches keep their order.
    noise = torch.arange(count, dtype=torch.float32).expand(len(images), -1)
    tokens = model.vit(pixel_values=images, noise=noise).last_hidden_state[:, 1:]
    model.config.mask_ratio = ratio
    flat = tokens.flatten(0, 1)
    flat = flat - flat.mean(dim=0)
    components = flat @ torch.linalg.svd(flat, full_matrices=False)[2][:3].T
    low, high = components.quantile(0.02, dim=0), components.quantile(0.98, dim=0)
    grid = int(count**0.5)
    return ((components - low) / (high - low)).view(len(images), grid, grid, 3).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
