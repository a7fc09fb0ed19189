"""The image processors that are saved with models."""

from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

BICUBIC = 3  # PIL's number of the filter that MAE resizes with
EVAL_CROP = 224 / 256  # what a centre crop keeps of the shorter side


def image_processor(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ViTImageProcessorPil:
    """The processor saved with a checkpoint: resize to (size, size), bicubic, to 0-1, then (x - mean) / std.

    Its `preprocessor_config.json` is read by `AutoImageProcessor` of transformers 4 and 5, with or without torchvision.
    """
    return ViTImageProcessorPil(
        size={"height": size, "width": size}, resample=BICUBIC, image_mean=list(mean), image_std=list(std)
    )


def classification_processor(
    size: int, mean: tuple[float, ...], std: tuple[float, ...], crop: float = EVAL_CROP
) -> BitImageProcessorPil:
    """The processor saved with a classifier: what the .beton loader's centre crop does, for original images.

    Shorter side to size / crop, bicubic; the middle (size, size); to 0-1; (x - mean) / std. Its
    `preprocessor_config.json` is read by `AutoImageProcessor` of transformers 4 and 5, with or without torchvision.
    """
    return BitImageProcessorPil(
        size={"shortest_edge": round(size / crop)},
        crop_size={"height": size, "width": size},
        resample=BICUBIC,
        image_mean=list(mean),
        image_std=list(std),
    )
