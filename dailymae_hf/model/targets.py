"""What the decoder is to predict, and the way back from a prediction to pixels (MAE's `models_mae.py`)."""

import torch

_EPSILON = 1e-6


def patch_targets(patches: torch.Tensor, *, normalize: bool) -> torch.Tensor:
    """Pixels of patches (B, N, P), each patch by its own mean and deviation with `normalize` (`norm_pix_loss`)."""
    if not normalize:
        return patches
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + _EPSILON).sqrt()


def patch_pixels(predicted: torch.Tensor, patches: torch.Tensor, *, normalize: bool) -> torch.Tensor:
    """Pixels of predicted patches (B, N, P): with `normalize`, mean and deviation are those of the true `patches`."""
    if not normalize:
        return predicted
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return predicted * (variance + _EPSILON).sqrt() + mean
