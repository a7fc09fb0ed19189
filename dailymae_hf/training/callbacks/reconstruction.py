"""Pictures of what the model reconstructs: the same validation images, every n epochs, as one PNG grid."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.data.shards import is_beton_source
from dailymae_hf.rng import sample_noise
from dailymae_hf.training.callbacks.base import DailyMAECallback

FOLDER = "reconstructions"
PANELS = ("image", "masked", "reconstructed")


def reconstruct(model: Any, pixel_values: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the encoder sees and what the decoder makes of it, at the config's mask ratio.

    A model trained on normalised patches predicts each patch up to its mean and deviation; those two are taken from
    the true patch, as is usual for pictures of masked autoencoders. Visible patches are shown as they are.

    Args:
        pixel_values: (B, 3, S, S) float, normalised as in training.
        noise: (B, N), as for the model's forward.

    Returns:
        `hidden` (B, 1, S, S) bool, True where a patch was masked, and the completed images (B, 3, S, S).
    """
    config = model.config
    outputs = model(pixel_values, noise=noise, mask_ratio=config.mask_ratio, return_logits=True)
    patches, predicted = model.patchify(pixel_values), outputs.logits.float()
    if config.norm_pix_loss:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        predicted = predicted * (variance + 1e-6).sqrt() + mean
    mask = outputs.mask.unsqueeze(-1).bool()
    size = tuple(pixel_values.shape[-2:])
    completed = model.unpatchify(torch.where(mask, predicted, patches), original_image_size=size)
    hidden = model.unpatchify(mask.expand_as(patches).float(), original_image_size=size)
    return hidden[:, :1] > 0.5, completed


class ReconstructionCallback(DailyMAECallback):
    """Writes `reconstructions/epoch_0010.png`: rows of image, masked image and reconstruction, first rank only.

    Args:
        every_n_epochs: epochs between two pictures; the end of training always gets one.
        num_images: how many validation images, drawn once at random: a file may hold its classes one after another.
    """

    def __init__(self, *, every_n_epochs: int = 10, num_images: int = 8) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_images = num_images
        self.latest: Path | None = None
        self._images: torch.Tensor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            # Before the first epoch, while no iterator of this loader is under way.
            loader: Any = self.trainer.eval_beton
            if is_beton_source(loader):
                loader = self.trainer.fixed_loader(loader, shuffle=True)
            batch = next(iter(loader))
            self._images = batch["pixel_values"][: self.num_images].to("cpu", copy=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        epoch_done = float(state.epoch).is_integer() and round(state.epoch) % self.every_n_epochs == 0
        if self._images is None or not (epoch_done or state.global_step >= state.max_steps):
            return
        with self.trainer.stopwatch.pause():
            self.latest = Path(args.output_dir) / FOLDER / f"epoch_{round(state.epoch):04d}.png"
            self.latest.parent.mkdir(parents=True, exist_ok=True)
            self.draw(self.latest, f"epoch {state.epoch:g}")

    @torch.no_grad()
    def draw(self, path: Path, moment: str) -> None:
        """Reconstruct the fixed images with the model as it is and write the grid to `path`."""
        assert self._images is not None
        trainer, model = self.trainer, self.trainer.core_model
        pixel_values = trainer.normalize(self._images.to(trainer.args.device))
        patches = (pixel_values.shape[-1] // model.config.patch_size) ** 2
        index = torch.arange(len(pixel_values))
        noise = sample_noise(trainer.args.seed, 0, index, patches, trainer.args.device)
        was_training = model.training
        model.eval()
        with trainer.accelerator.autocast():
            hidden, completed = reconstruct(model, pixel_values, noise)
        model.train(was_training)
        images, completed = (trainer.denormalize(batch) for batch in (pixel_values, completed))
        masked = torch.where(hidden, torch.full_like(images, 0.88), images)
        title = f"{moment} · {pixel_values.shape[-1]} px · {model.config.mask_ratio:.0%} of the patches masked"
        _grid(torch.stack([images, masked, completed], dim=1).cpu(), title).print_png(path)


def _grid(triples: torch.Tensor, title: str) -> FigureCanvasAgg:
    """(n, 3, 3, S, S) pictures in 0-1 -> a canvas with one labelled triple per cell, two triples a row."""
    pairs = 2 if len(triples) > 2 else 1
    rows = -(-len(triples) // pairs)
    panel, gap = 1.35, 0.35
    width, height = panel * 3 * pairs + gap * (pairs + 1), panel * rows + 0.8
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(gap / width, 1 - 0.25 / height, title, fontsize=11, weight="bold", va="center", color="#222222")
    for number, triple in enumerate(triples):
        row, pair = divmod(number, pairs)
        for column, picture in enumerate(triple):
            left = gap + pair * (3 * panel + gap) + column * panel
            bottom = height - 0.7 - (row + 1) * panel
            axes = figure.add_axes((left / width, bottom / height, panel * 0.97 / width, panel * 0.97 / height))
            axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(PANELS[column], fontsize=9, color="#555555", pad=4)
    return canvas
