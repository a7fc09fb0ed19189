"""Augmentation on the device, a batch at a time: Three Augment (DeiT III), colour jitter, mixup and CutMix.

Everything works on pixels in [0, 1] *before* normalisation: solarising a normalised image means something else.
What is drawn for an image is a function of (seed, epoch, sample index), the same on every device and under every
number of ranks; no random state is read or moved, and nothing waits for the device.
"""

import math

import torch
from torch import nn
from torch.nn.functional import one_hot, pad

from dailymae_hf.errors import RecipeError
from dailymae_hf.rng import AUGMENT_STREAM, MIXING_STREAM, sample_noise

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what Pillow's convert("L") weighs with
_BETA_TRIES = 24


def unit_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 -> float32 in [0, 1]; floating point is taken to be in [0, 1] already and passes through."""
    return pixels.to(torch.float32) / 255 if pixels.dtype == torch.uint8 else pixels


def grayscale(pixels: torch.Tensor) -> torch.Tensor:
    """Luma in all three channels: (B, 3, H, W) in [0, 1] -> (B, 3, H, W)."""
    return _luma(pixels).expand_as(pixels)


def solarize(pixels: torch.Tensor) -> torch.Tensor:
    """Invert every value of at least 128 / 255, as Pillow's `ImageOps.solarize` does by default."""
    return torch.where(pixels > 127.5 / 255, 1 - pixels, pixels)


def gaussian_blur(pixels: torch.Tensor, sigma: torch.Tensor, radius: int = 8) -> torch.Tensor:
    """Blur each image with its own Gaussian; edge pixels continue beyond the border.

    Args:
        pixels: (B, C, H, W), floating point.
        sigma: (B,) standard deviations in pixels; 0 leaves an image exactly as it is.
        radius: taps on either side; four times the largest sigma cuts off 6e-5 of the weight.
    """
    # Two banded matrix products instead of a convolution with a kernel per image: that needs B * C groups, which
    # no backend runs fast. Autocast would round the pixels to 8 bits of mantissa.
    with torch.autocast(pixels.device.type, enabled=False):
        padded = pad(pixels, (radius, radius, radius, radius), mode="replicate")
        rows, columns = (_band(size, sigma, radius).to(pixels.dtype).unsqueeze(1) for size in pixels.shape[-2:])
        return rows @ padded @ columns.mT


def color_jitter(pixels: torch.Tensor, factors: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast and saturation of each image by its own factors, in its own order.

    Each is a blend of the image with what is left at factor 0: black, the mean luma, the luma. Values are clipped to
    [0, 1] after each (as Pillow's `ImageEnhance` has it).

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        factors: (B, 3), of brightness, contrast and saturation; 1 changes nothing.
        order: (B, 3) permutations of 0, 1, 2, the numbers of the operations first to last.
    """
    for step in range(3):
        operation = order[:, step, None, None, None]
        luma = _luma(pixels)
        base = torch.where(operation == 1, luma.mean(dim=(-2, -1), keepdim=True), luma)
        base = base.masked_fill(operation == 0, 0.0)
        factor = factors.gather(1, order[:, step, None])[..., None, None].to(pixels.dtype)
        pixels = torch.lerp(base.expand_as(pixels), pixels, factor).clamp(0, 1)
    return pixels


class ThreeAugment(nn.Module):
    """Exactly one of Gaussian blur, solarize and grayscale per image, then optional colour jitter (DeiT III, sec. 3).

    Args:
        color_jitter: largest change of brightness, contrast and saturation; a factor is uniform in 1 -+ this. 0: none.
        sigma: range of the blur's standard deviation in pixels, uniform.
        seed: with epoch and sample index, what decides everything that is drawn.

    Raises:
        RecipeError: `color_jitter` is not in [0, 1], or `sigma` is not an increasing positive range.
    """

    def __init__(self, color_jitter: float = 0.3, sigma: tuple[float, float] = (0.1, 2.0), seed: int = 0) -> None:
        super().__init__()
        if not 0 <= color_jitter <= 1:
            raise RecipeError(f"color_jitter: {color_jitter} is not in [0, 1]")
        if not 0 < sigma[0] <= sigma[1]:
            raise RecipeError(f"sigma: {sigma} is not a range of positive standard deviations")
        self.color_jitter, self.sigma, self.seed = color_jitter, sigma, seed

    def forward(self, pixels: torch.Tensor, epoch: int, index: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), uint8 or floating point in [0, 1] -> floating point in [0, 1].

        `index` is (B,) int64, the samples' numbers in the data set.
        """
        pixels = unit_pixels(pixels)
        draws = sample_noise(self.seed, epoch, index, 8, pixels.device, stream=AUGMENT_STREAM)
        choice = (draws[:, 0] * 3).to(torch.int64)
        low, high = self.sigma
        # All images go through all three: picking rows out would make the host wait for the device at every step.
        sigma = torch.where(choice == 0, low + draws[:, 1] * (high - low), 0.0)
        augmented = gaussian_blur(pixels, sigma, radius=math.ceil(4 * high))
        choice = choice[:, None, None, None]
        augmented = torch.where(choice == 1, solarize(pixels), augmented)
        augmented = torch.where(choice == 2, grayscale(pixels), augmented)
        if self.color_jitter:
            factors = 1 + (draws[:, 2:5] * 2 - 1) * self.color_jitter
            augmented = color_jitter(augmented, factors, draws[:, 5:8].argsort(dim=1))
        return augmented

    def extra_repr(self) -> str:
        return f"color_jitter={self.color_jitter}, sigma={self.sigma}, seed={self.seed}"


class Mixing(nn.Module):
    """Mixup or CutMix for each image with its mirror partner in the batch, and the soft targets that go with it.

    Image i meets image B - 1 - i. Its fraction is drawn from Beta(alpha, alpha); with both alphas given, an even coin
    chooses between the two. CutMix's fraction is what the clipped box left (timm's `Mixup` draws once per batch by
    default, here each image draws for itself).

    Args:
        num_classes: length of a target row.
        mixup: alpha of mixup, 0 to leave it out.
        cutmix: alpha of CutMix, 0 to leave it out.
        label_smoothing: fraction of a target spread evenly over all classes.
        seed: with epoch and sample index, what decides everything that is drawn.

    Raises:
        RecipeError: an alpha outside [0, 1], or a label smoothing outside [0, 1).
    """

    def __init__(
        self, num_classes: int, mixup: float = 0.8, cutmix: float = 1.0, label_smoothing: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__()
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if not 0 <= alpha <= 1:
                raise RecipeError(f"{name}: {alpha} is not in [0, 1]")
        if not 0 <= label_smoothing < 1:
            raise RecipeError(f"label_smoothing: {label_smoothing} is not in [0, 1)")
        self.num_classes, self.mixup, self.cutmix = num_classes, mixup, cutmix
        self.label_smoothing, self.seed = label_smoothing, seed

    def forward(
        self, pixels: torch.Tensor, labels: torch.Tensor, epoch: int, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) floating point and (B,) int64 -> mixed pixels and targets (B, num_classes) whose rows sum to 1.

        `index` is (B,) int64, the samples' numbers in the data set.
        """
        count = 3 + 2 * _BETA_TRIES
        draws = sample_noise(self.seed, epoch, index, count, pixels.device, stream=MIXING_STREAM)
        is_cutmix = draws[:, 0] < (0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        alpha = torch.where(is_cutmix, self.cutmix or 1.0, self.mixup or 1.0)
        fraction = beta_quantities(draws[:, 3:], alpha) if self.mixup or self.cutmix else torch.ones_like(draws[:, 0])
        inside = cutmix_box(fraction, draws[:, 1:3], pixels.shape[-2], pixels.shape[-1])
        keep = torch.where(is_cutmix[:, None, None], (~inside).to(fraction.dtype), fraction[:, None, None])  # (B, H, W)
        mixed = torch.lerp(pixels.flip(0), pixels, keep.unsqueeze(1).to(pixels.dtype))
        targets = one_hot(labels, self.num_classes) * (1 - self.label_smoothing)
        targets = targets + self.label_smoothing / self.num_classes
        return mixed, torch.lerp(targets.flip(0), targets, keep.mean(dim=(-2, -1))[:, None])

    def extra_repr(self) -> str:
        return f"mixup={self.mixup}, cutmix={self.cutmix}, label_smoothing={self.label_smoothing}, seed={self.seed}"


def cutmix_box(fraction: torch.Tensor, centre: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The pixels that the partner gives, True inside the box: (B, H, W) bool.

    The box has `1 - fraction` of the image's area and its centre anywhere in the image; what sticks out is cut off
    (CutMix, algorithm A1).

    Args:
        fraction: (B,) in [0, 1], what the image is to keep.
        centre: (B, 2) in [0, 1), row and column.
    """
    sides = []
    for axis, size in enumerate((height, width)):
        half = ((1 - fraction).sqrt() * size).floor().div(2, rounding_mode="floor")
        middle = (centre[:, axis] * size).floor()
        at = torch.arange(size, device=fraction.device)
        sides.append((at >= (middle - half)[:, None]) & (at < (middle + half)[:, None]))
    return sides[0].unsqueeze(2) & sides[1].unsqueeze(1)


def beta_quantities(draws: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Symmetric Beta(alpha, alpha) from uniform numbers, without a loop that waits: (B, 2 * tries) -> (B,).

    Jöhnk's method: u**(1/a) / (u**(1/a) + v**(1/a)) for the first pair whose sum is at most 1. For an alpha up to 1 a
    pair is taken with probability 1/2 or more, so 24 pairs all fail less than once in 10 million images; then the last
    pair's ratio is used all the same.
    """
    u, v = (draws.clamp_min(2.0**-25) ** (1 / alpha[:, None])).chunk(2, dim=1)
    accepted = u + v <= 1
    accepted[:, -1] = True
    first = accepted.to(torch.uint8).argmax(dim=1, keepdim=True)
    u, v = u.gather(1, first), v.gather(1, first)
    return (u / (u + v)).squeeze(1)


def _luma(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = pixels.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


def _band(size: int, sigma: torch.Tensor, radius: int) -> torch.Tensor:
    """Rows of normalised Gaussian weights over the padded line: (B, size, size + 2 * radius)."""
    at = torch.arange(size, device=sigma.device)
    padded = torch.arange(size + 2 * radius, device=sigma.device)
    distance = (padded - at.unsqueeze(1) - radius).to(sigma.dtype)
    # At a sigma of 1e-3 the neighbours' weight is exp(-500000), which is 0: the identity.
    spread = sigma.clamp_min(1e-3)[:, None, None]
    weights = torch.exp(-0.5 * (distance / spread) ** 2) * (distance.abs() <= radius)
    return weights / weights.sum(dim=-1, keepdim=True)
