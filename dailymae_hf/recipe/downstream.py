"""What downstream recipes can say, and which of it each recipe does; a key belongs to one of these classes."""

from dataclasses import dataclass
from typing import Any, Literal

from dailymae_hf.downstream.training_args import ClassifierTrainingArguments, ProbeTrainingArguments
from dailymae_hf.errors import RecipeError
from dailymae_hf.keys import check_values, key
from dailymae_hf.recipe.arguments import CropArguments, crop_scale_key
from dailymae_hf.recipe.recipe import Recipe


@dataclass
class EncoderArguments:
    """The masked autoencoder that a downstream recipe starts from."""

    model_name_or_path: str = key("", "The pretrained encoder: a folder or a name on the Hub.", required=True)
    pooling: Literal["mean", "cls"] = key("mean", "Features of an image: mean of the patch tokens, or class token.")
    image_size: int | None = key(None, "Side of the images in pixels. None: the encoder's own.", at_least=1)
    normalization: Literal["checkpoint", "data"] = key(
        "checkpoint", "Mean and deviation: those that the encoder learned under, or the training file's."
    )

    def __post_init__(self) -> None:
        check_values(self)


@dataclass
class ClassifierArguments(EncoderArguments):
    """The classifier to fine-tune."""

    drop_path_rate: float = key(0.1, "Chance that the last layer is left out for an image.", at_least=0, below=1)
    head_std: float = key(2e-5, "Standard deviation of the head's first weights.", at_least=0)
    # The whole network adapts to its data.
    normalization: Literal["checkpoint", "data"] = key(
        "data", "Mean and deviation: those that the encoder learned under, or the training file's."
    )


@dataclass
class SegmentationArguments(EncoderArguments):
    """A linear head on patch tokens."""

    frozen_encoder: bool = key(True, "Train the head alone.")


@dataclass
class LabelledDataArguments(CropArguments):
    """Files with labels, and what is done to a training image."""

    train_beton: str = key("", "Training file: a path, or an address on the Hub.", required=True)
    eval_beton: str = key("", "Validation file: a path, or an address on the Hub.", required=True)
    crop_scale: tuple[float, float] = crop_scale_key(0.08)
    class_names: list[str] | None = key(None, "Names of the classes, for files that have labels but no names.")


@dataclass
class AugmentationArguments:
    """Three Augment and mixing."""

    three_augment: bool = key(True, "Gray, solarise or blur each image (Three Augment).")
    color_jitter: float = key(0.3, "Strength of the colour jitter in Three Augment.", at_least=0, at_most=1)
    mixup: float = key(0.8, "Alpha of mixup; 0 mixes none.", at_least=0)
    cutmix: float = key(1.0, "Alpha of CutMix; 0 mixes none.", at_least=0)

    def __post_init__(self) -> None:
        check_values(self)


@dataclass
class ProbeArguments:
    """The linear probe's two variants."""

    cached_features: bool = key(
        False, "True: centre crops, encoded once. False: random crops in every epoch, MAE's protocol."
    )


@dataclass
class NeighbourArguments:
    """Weighted kNN."""

    k: tuple[int, ...] = key((10, 20, 100, 200), "Numbers of neighbours to score with.", at_least=1, required=True)
    temperature: float = key(0.07, "Softmax temperature of the neighbours' votes.", above=0)

    def __post_init__(self) -> None:
        check_values(self)


@dataclass
class MaskedDataArguments:
    """A data set of images with class masks: a folder, a parquet file or a name on the Hub."""

    dataset: str = key("", "Folder, parquet file or name on the Hub.", required=True)
    train_split: str = key("train", "Split to train on.", required=True)
    eval_split: str = key("validation", "Split to score on.", required=True)
    image_column: str | None = key(None, "Column of the images. None: the first one that holds images.")
    mask_column: str | None = key(None, "Column of the class masks. None: the second one that holds images.")
    crop_scale: tuple[float, float] = crop_scale_key(0.25)
    reduce_labels: bool = key(False, "Class 0 means none, as in ADE20K, and the others move down by one.")
    class_names: list[str] | None = key(
        None, "Names of the classes. None: the masks are read through, and classes are called by number."
    )

    def __post_init__(self) -> None:
        check_values(self)


@dataclass
class EvaluationArguments:
    """What a classifier is scored on: files, original images, and files written from those for the purpose."""

    model_name_or_path: str = key("", "The classifier: a folder or a name on the Hub.", required=True)
    betons: dict[str, str] = key({}, "Name in the table: file. The first is what the others are compared to.")
    images: str | None = key(None, "Original images: a folder, a parquet file or a data set's name on the Hub.")
    split: str | None = key(None, "Split of the original images, where they have several.")
    image_column: str | None = key(None, "Column of the images. None: the first one that holds images.")
    label_column: str = key("auto", 'Column of the labels. auto: "label" or a class column.')
    variants: list[dict[str, Any]] = key(
        [], "Files to write from the originals: options of `write_beton`, as {quality: 50, max_resolution: 160}."
    )

    def __post_init__(self) -> None:
        check_values(self)
        if not self.betons and self.images is None:
            raise RecipeError("betons, images: at least one of them has to say what to score on")
        if self.variants and self.images is None:
            raise RecipeError("variants: files are written from original images, and images is missing")


@dataclass(kw_only=True)
class FinetuneRecipe(Recipe):
    """What `dailymae finetune` reads."""

    model: ClassifierArguments
    data: LabelledDataArguments
    augmentation: AugmentationArguments
    training: ClassifierTrainingArguments


@dataclass(kw_only=True)
class LinearProbeRecipe(Recipe):
    """What `dailymae linear-probe` reads."""

    model: EncoderArguments
    data: LabelledDataArguments
    probe: ProbeArguments
    training: ProbeTrainingArguments


@dataclass(kw_only=True)
class KnnRecipe(Recipe):
    """What `dailymae knn` reads."""

    model: EncoderArguments
    data: LabelledDataArguments
    neighbours: NeighbourArguments


@dataclass(kw_only=True)
class EvaluationRecipe(Recipe):
    """What `dailymae evaluate` reads."""

    evaluation: EvaluationArguments
    training: ClassifierTrainingArguments


@dataclass(kw_only=True)
class SegmentationRecipe(Recipe):
    """What `dailymae segment` reads."""

    model: SegmentationArguments
    data: MaskedDataArguments
