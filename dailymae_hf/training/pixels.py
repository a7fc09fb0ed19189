"""Pixels as the loader gives them and as the model takes them, on whatever device they are."""

import torch

from dailymae_hf.errors import RecipeError

# What MAE and most of ImageNet's models normalise with (torchvision's values), where the file knows no better.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class PixelNormalizer:
    """Mean and standard deviation per channel, of pixels in 0-1.

    Raises RecipeError for a standard deviation that is not above 0.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        if min(std) <= 0:
            raise RecipeError(f"image_std: {std} is not above 0 in every channel")
        self.mean, self.std = mean, std
        self._on: dict[torch.device, list[torch.Tensor]] = {}

    def normalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """uint8 (B, C, H, W) -> float32, normalised; floats are taken as normalised already.

        Raises RecipeError where mean and deviation are of another number of channels.
        """
        if pixel_values.dtype != torch.uint8:
            return pixel_values
        if pixel_values.shape[1] != len(self.mean):
            raise RecipeError(
                f"image_mean, image_std: {len(self.mean)} values, and the images have {pixel_values.shape[1]} channels"
            )
        mean, std = self._statistics_on(pixel_values.device)
        return (pixel_values.float() - mean * 255) / (std * 255)

    def of_batch(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A batch with its "pixel_values" normalised, where it has them."""
        if "pixel_values" not in batch:
            return batch
        return batch | {"pixel_values": self.normalize(batch["pixel_values"])}

    def normalize_unit(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """float (B, C, H, W) in 0-1 -> normalised; the inverse of `denormalize`."""
        mean, std = self._statistics_on(pixel_values.device)
        return (pixel_values - mean) / std

    def denormalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Normalised float (B, C, H, W) -> float in 0-1, not clipped."""
        mean, std = self._statistics_on(pixel_values.device)
        return pixel_values * std + mean

    def _statistics_on(self, device: torch.device) -> list[torch.Tensor]:
        """Mean and std, (1, C, 1, 1) each. Made once: a copy in each step would wait for the device."""
        if device not in self._on:
            given = (self.mean, self.std)
            self._on[device] = [torch.tensor(values, device=device).view(1, -1, 1, 1) for values in given]
        return self._on[device]
