"""What downstream recipes can say; a key belongs to one of these classes."""

from dataclasses import dataclass, field
from typing import Any, Literal

from dailymae_hf.errors import RecipeError


@dataclass
class EncoderArguments:
    """The masked autoencoder that a downstream recipe starts from."""

    model_name_or_path: str = ""  # a folder or a name on the Hub
    pooling: Literal["mean", "cls"] = "mean"  # of the patch tokens, or the class token
    image_size: int | None = None  # None: the encoder's own
    # Mean and standard deviation: those the encoder's features were learned under, or those of the training file.
    normalization: Literal["checkpoint", "data"] = "checkpoint"

    def __post_init__(self) -> None:
        require(self, "model_name_or_path")


@dataclass
class ClassifierArguments(EncoderArguments):
    """The classifier to fine-tune."""

    drop_path_rate: float = 0.1
    head_std: float = 2e-5  # of the head's first weights
    normalization: Literal["checkpoint", "data"] = "data"  # the whole network adapts


@dataclass
class LabelledDataArguments:
    """Files with labels, and what is done to a training image."""

    train_beton: str = ""
    eval_beton: str = ""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: bool = True
    on_error: Literal["raise", "zero"] = "raise"
    class_names: list[str] | None = None  # for files that have labels but no names

    def __post_init__(self) -> None:
        require(self, "train_beton", "eval_beton")

    def loader_options(self) -> dict[str, Any]:
        """Keyword arguments of the training `BetonLoader`."""
        return {"scale": self.crop_scale, "ratio": self.crop_ratio, "hflip": self.hflip, "on_error": self.on_error}


@dataclass
class AugmentationArguments:
    """Three Augment and mixing."""

    three_augment: bool = True
    color_jitter: float = 0.3
    mixup: float = 0.8
    cutmix: float = 1.0


@dataclass
class NeighbourArguments:
    """Weighted kNN."""

    k: tuple[int, ...] = (10, 20, 100, 200)
    temperature: float = 0.07


@dataclass
class ProbeArguments:
    """The linear probe's two variants."""

    # False: random crops through the encoder in every epoch, MAE's protocol. True: centre crops, encoded once.
    cached_features: bool = False


@dataclass
class SegmentationArguments(EncoderArguments):
    """A linear head on patch tokens."""

    frozen_encoder: bool = True


@dataclass
class MaskedDataArguments:
    """A data set of images with class masks: a folder, a parquet file or a name on the Hub."""

    dataset: str = ""
    train_split: str = "train"
    eval_split: str = "validation"
    image_column: str | None = None
    mask_column: str | None = None
    crop_scale: tuple[float, float] = (0.25, 1.0)
    reduce_labels: bool = False  # class 0 means "none" (ADE20K)
    class_names: list[str] | None = None  # None: the masks are read through, and classes are called by number

    def __post_init__(self) -> None:
        require(self, "dataset")


@dataclass
class EvaluationArguments:
    """What a classifier is scored on: files, original images, and files written from those for the purpose."""

    model_name_or_path: str = ""  # a classifier of finetune.py or linear_probe.py
    betons: dict[str, str] = field(default_factory=dict)  # name in the table: file; the first is what others compare to
    images: str | None = None  # original images: a folder, a parquet file or a data set's name on the Hub
    split: str | None = None
    image_column: str | None = None
    label_column: str = "auto"
    # Options of `write_beton`, one mapping a file: {quality: 50, max_resolution: 160}
    variants: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(self, "model_name_or_path")
        if not self.betons and self.images is None:
            raise RecipeError("betons, images: at least one of them has to say what to score on")
        if self.variants and self.images is None:
            raise RecipeError("variants: files are written from original images, and images is missing")


def require(arguments: Any, *names: str) -> None:
    """Raise `RecipeError` for the first of the named fields that is empty."""
    for name in names:
        if not getattr(arguments, name):
            raise RecipeError(f"{name} is missing from the recipe")
