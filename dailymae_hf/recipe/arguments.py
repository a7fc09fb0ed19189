"""What a pretraining recipe can say besides the Trainer's arguments; a key belongs to one of these classes."""

from dataclasses import dataclass
from typing import Any, Literal

from dailymae_hf.keys import check_values, key
from dailymae_hf.model.modeling import SIZES
from dailymae_hf.recipe.model_overrides import check_overrides


@dataclass
class ModelArguments:
    """The masked autoencoder."""

    model_size: str = key("base", "Width, depth and heads of MAE's ViT of this size.", choices=tuple(SIZES))
    image_size: int = key(224, "Side of the model's images in pixels; a multiple of the patch size.", at_least=1)
    patch_size: int | None = key(None, "Side of a patch in pixels. None: 16, or 14 for huge.", at_least=1)
    mask_ratio: float = key(0.75, "Fraction of the patches that are masked.", above=0, below=1)
    model_overrides: dict[str, Any] = key({}, "Any other field of ViTMAEConfig, by its name.")
    initialization: Literal["mae", "mimetic", "stock"] = key(
        "mae",
        "First weights: MAE's, MAE's with the encoder's attention like that of trained models, or for comparison those "
        "that transformers' class draws.",
    )
    model_name_or_path: str | None = key(None, "Weights to start from instead: a folder or a name on the Hub.")

    def __post_init__(self) -> None:
        check_values(self)
        check_overrides(self.model_overrides)


def crop_scale_key(least: float) -> Any:
    """The key `crop_scale` with the least area that a task's crops usually have."""
    meaning = "Least and largest area of a random crop, as fractions of the image."
    return key((least, 1.0), meaning, above=0, at_most=1, rising=True)


@dataclass
class CropArguments:
    """What is done to a training image."""

    crop_scale: tuple[float, float] = crop_scale_key(0.2)
    crop_ratio: tuple[float, float] = key(
        (3 / 4, 4 / 3), "Least and largest ratio of a crop's width to its height.", above=0, rising=True
    )
    hflip: bool = key(True, "Flip every other image, by chance, from left to right.")
    on_error: Literal["raise", "zero"] = key(
        "raise", "At an image that cannot be decoded: end the run, or take a black one and count it."
    )
    loader_engine: Literal["auto", "ffcv", "native"] = key(
        "auto", "Who decodes: ffcv's pipeline, the kernel's own threads, or ffcv where it is installed. The same bytes."
    )

    def __post_init__(self) -> None:
        check_values(self)

    def loader_options(self) -> dict[str, Any]:
        """Keyword arguments of the training `BetonLoader`."""
        return {
            "scale": self.crop_scale,
            "ratio": self.crop_ratio,
            "hflip": self.hflip,
            "on_error": self.on_error,
            "engine": self.loader_engine,
        }


@dataclass
class DataArguments(CropArguments):
    """The .beton files and what is done to a training image."""

    train_beton: str | list[str] = key(
        "",
        "Training files: a path, a pattern (train-*.beton), an address on the Hub (hf://datasets/USER/NAME/FILE), or a "
        "list of them, which is read as one file.",
        required=True,
    )
    eval_beton: str | list[str] | None = key(None, "Validation files, named like train_beton.")
    local_folder: str | None = key(
        None, "Folder on a disk of this machine; the files are copied there first, once for all ranks."
    )
    image_mean: tuple[float, float, float] | None = key(
        None, "Mean of red, green and blue in 0-1. None: as measured when the training file was written.",
        at_least=0, at_most=1,
    )  # fmt: skip
    image_std: tuple[float, float, float] | None = key(
        None, "Standard deviation of red, green and blue. None: as measured when the file was written.", above=0
    )


@dataclass
class CallbackArguments:
    """What is measured and drawn during training."""

    online_probe: bool = key(True, "Train a linear probe beside the model, and score it and nearest neighbours.")
    probe_every_n_steps: int = key(1, "The probe learns from each n-th step.", at_least=1)
    probe_every_n_epochs: int = key(1, "Probe and neighbours are scored after each n-th epoch.", at_least=1)
    knn_bank_size: int = key(20_000, "Training images that neighbours are searched among.", at_least=1)
    reconstruction_every_n_epochs: int = key(
        10, "Pictures of reconstructions are drawn after each n-th epoch; 0 draws none.", at_least=0
    )
    reconstruction_images: int = key(8, "Images in a picture.", at_least=1)
    plan: str | None = key(None, "What `dailymae plan --out` wrote: the run is held beside it.")

    def __post_init__(self) -> None:
        check_values(self)
