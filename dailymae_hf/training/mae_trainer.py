"""DailyMAETrainer: masked autoencoding, masks that depend on samples, and MAE's loss on held-out images."""

from pathlib import Path
from typing import Any

import torch
from transformers import ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.flops import TRAINING_FACTOR, mae_flops
from dailymae_hf.model.masking import num_visible
from dailymae_hf.model.plain_vit import write_encoder_beside
from dailymae_hf.rng import sample_noise
from dailymae_hf.schedule import ResolutionSchedule
from dailymae_hf.training.beton_trainer import BetonTrainer
from dailymae_hf.training.callbacks.palindrome import PalindromeCallback
from dailymae_hf.training.evaluation import losses_of_samples
from dailymae_hf.training.run_facts import model_facts
from dailymae_hf.training.training_args import DailyMAETrainingArguments


class DailyMAETrainer(BetonTrainer):
    """Trains a masked autoencoder from .beton files, or from any data set as the stock Trainer does.

    For a model that is no masked autoencoder the call gives a `BetonTrainer`, which trains it as it is.

    Args:
        model: a `DailyMAEForPreTraining`, or a stock `ViTMAEForPreTraining`.
        args: the run's arguments.
        kwargs: as `BetonTrainer` takes them.

    Raises:
        RecipeError: the arguments do not fit the model or the data, or `args.float8` and the GPU has no 8-bit floats.
        MissingDependencyError: a .beton path was given and the kernel is missing, or `args.float8` and torchao.
    """

    card_kind = "pretraining"
    schedule_callback = PalindromeCallback

    def __new__(cls, model: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(model, ViTMAEForPreTraining):
            return super().__new__(cls)
        if cls is DailyMAETrainer:
            return BetonTrainer(model, *args, **kwargs)
        raise RecipeError(
            f"{cls.__name__}: {type(model).__name__} is no masked autoencoder; BetonTrainer trains any model"
        )

    def __init__(self, model: Any, args: DailyMAETrainingArguments, **kwargs: Any) -> None:
        super().__init__(model, args, **kwargs)
        if hasattr(model, "decoder_keep"):  # the stock model has no such thing
            model.decoder_keep = args.decoder_keep

    @property
    def mask_ratio(self) -> float:
        """The fraction of patches masked now."""
        model = self.core_model
        return float(model.mask_ratio if hasattr(model, "mask_ratio") else model.config.mask_ratio)

    def resolution_schedule(self) -> ResolutionSchedule | None:
        return None if self.train_beton is None else self.schedule_of_run()

    def model_inputs(self, prepared: dict[str, Any], index: torch.Tensor | None) -> dict[str, Any]:
        """Pixels, and noise whose order is the mask: a function of (seed, epoch, sample index)."""
        inputs = {name: value for name, value in prepared.items() if name != "labels"}
        if index is not None:
            pixel_values = inputs["pixel_values"]
            patches = (pixel_values.shape[-1] // self.model.config.patch_size) ** 2
            inputs["noise"] = sample_noise(self.args.seed, self._epoch, index, patches, pixel_values.device)
        return inputs

    def image_cost(self, size: int) -> tuple[int, int]:
        """Visible patches and the class token, and MAE's FLOPs of a training step, for one image of `size` pixels."""
        config = self.model.config
        keep = getattr(self.core_model, "decoder_keep", 1.0)
        flops = mae_flops(config, size, self.mask_ratio, decoder_keep=keep)
        return 1 + num_visible((size // config.patch_size) ** 2, self.mask_ratio), TRAINING_FACTOR * flops

    def score(self, loader: Any) -> dict[str, float]:
        """MAE's loss over the validation set at the model's full size and the config's mask ratio.

        Each sample's mask is a function of the seed and the sample's index, so that figures of two epochs, and of one
        and eight ranks, can be compared.
        """
        model, seed = self.core_model, self.args.seed
        index, losses = self.rows_by_sample(
            loader,
            lambda batch: losses_of_samples(model, batch["pixel_values"], batch["index"], seed=seed),
            reports_progress=True,
        )
        return {"loss": losses[index < len(loader.dataset)].mean().item()}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The card in the output folder, and beside the saved autoencoder its encoder, which the card tells of."""
        folder = Path(self.args.output_dir)
        if self.is_world_process_zero() and any(folder.glob("model*.safetensors")):
            write_encoder_beside(folder)
        super().create_model_card(*args, **kwargs)

    def model_facts(self) -> dict[str, Any]:
        facts = model_facts(self.core_model, self.core_model.vit, self.state.num_train_epochs)
        return facts | {"norm_pix_loss": bool(self.core_model.config.norm_pix_loss)}
