"""Pictures of what the model reconstructs: the same validation images, every n epochs, as one PNG grid."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.errors import MissingDependencyError
from dailymae_hf.model.targets import patch_pixels
from dailymae_hf.rng import sample_noise
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.evaluation import evaluation_mode
from dailymae_hf.training.hf_compat import logging

logger = logging.get_logger(__name__)

FOLDER = "reconstructions"


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
    patches = model.patchify(pixel_values)
    predicted = patch_pixels(outputs.logits.float(), patches, normalize=config.norm_pix_loss)
    mask = outputs.mask.unsqueeze(-1).bool()
    size = tuple(pixel_values.shape[-2:])
    completed = model.unpatchify(torch.where(mask, predicted, patches), original_image_size=size)
    hidden = model.unpatchify(mask.expand_as(patches).float(), original_image_size=size)
    return hidden[:, :1] > 0.5, completed


def _what_is_missing(source: Any) -> str | None:
    """What pictures lack, and what would bring it; None where nothing is missing."""
    if source is None:
        return "they are of eval_beton, else of train_beton, and this run trains on a data set"
    try:
        import dailymae_hf.training.callbacks.picture_grid  # noqa: F401  with a plotting library
    except MissingDependencyError as error:
        return str(error)
    return None


class ReconstructionCallback(DailyMAECallback):
    """Writes `reconstructions/epoch_0010.png`: rows of image, masked image and reconstruction, first rank only.

    Args:
        every_n_epochs: epochs between two pictures; the end of training always gets one.
        num_images: how many validation images (training images where there is no validation file), drawn once at
            random: a file may hold its classes one after another.
    """

    def __init__(self, *, every_n_epochs: int = 10, num_images: int = 8) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_images = num_images
        self.latest: Path | None = None
        self.pictures_of = "validation"
        self._images: torch.Tensor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        trainer = self.trainer
        source = trainer.train_beton if trainer.eval_beton is None else trainer.eval_beton
        self.pictures_of = "training" if trainer.eval_beton is None else "validation"
        missing = _what_is_missing(source)
        if missing is not None:
            logger.warning("reconstructions: no pictures are drawn: %s", missing)
            return
        # Before the first epoch: where the caller gave a loader, no iterator of it is under way.
        loader = trainer.fixed_loader(source, shuffle=True)
        batch = next(iter(loader))
        self._images = batch["pixel_values"][: self.num_images].to("cpu", copy=True)
        loader.close()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        epoch_done = float(state.epoch).is_integer() and round(state.epoch) % self.every_n_epochs == 0
        if self._images is None or not (epoch_done or state.global_step >= state.max_steps):
            return
        with self.trainer.stopwatch.pause():
            self.latest = Path(args.output_dir) / FOLDER / f"epoch_{round(state.epoch):04d}.png"
            self.latest.parent.mkdir(parents=True, exist_ok=True)
            self.draw(self.latest, f"epoch {state.epoch:g}")

    def facts(self) -> dict[str, Any]:
        return {"pictures_of": self.pictures_of}

    @torch.no_grad()
    def draw(self, path: Path, moment: str) -> None:
        """Reconstruct the fixed images with the model as it is and write the grid to `path`."""
        assert self._images is not None
        trainer, model = self.trainer, self.trainer.core_model
        pixel_values = trainer.normalize(self._images.to(trainer.args.device))
        patches = (pixel_values.shape[-1] // model.config.patch_size) ** 2
        index = torch.arange(len(pixel_values))
        noise = sample_noise(trainer.args.seed, 0, index, patches, trainer.args.device)
        with evaluation_mode(model), trainer.accelerator.autocast():
            hidden, completed = reconstruct(model, pixel_values, noise)
        images, completed = (trainer.denormalize(batch) for batch in (pixel_values, completed))
        masked = torch.where(hidden, torch.full_like(images, 0.88), images)
        title = f"{moment} · {pixel_values.shape[-1]} px · {model.config.mask_ratio:.0%} of the patches masked"
        from dailymae_hf.training.callbacks.picture_grid import picture_grid  # with a plotting library

        picture_grid(torch.stack([images, masked, completed], dim=1).cpu(), title).print_png(path)
