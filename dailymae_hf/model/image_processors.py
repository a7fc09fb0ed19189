"""The image processor that is saved with a masked autoencoder."""

from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

BICUBIC = 3  # PIL's number of the filter that MAE resizes with


def image_processor(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ViTImageProcessorPil:
    """The processor saved with a checkpoint: resize to (size, size), bicubic, to 0-1, then (x - mean) / std.

    Its `preprocessor_config.json` is read by `AutoImageProcessor` of transformers 4 and 5, with or without torchvision.
    """
    return ViTImageProcessorPil(
        size={"height": size, "width": size}, resample=BICUBIC, image_mean=list(mean), image_std=list(std)
    )
