"""Masked autoencoding written out from the paper's definition in plain torch, for the tests to compare with.

It reads its weights from a state dict with the Hub's names and shares no code with the package or transformers. The
order of work is the paper's: embed every patch, add positions, shuffle, drop, encode, unshuffle with mask tokens,
decode all.
"""

import math
from functools import lru_cache

import numpy as np
import torch


@lru_cache
def sincos_table(grid: int, native: int, dim: int) -> np.ndarray:
    """(1 + grid**2, dim) float64, one patch at a time: [sin x | cos x | sin y | cos y], class token zero."""
    quarter = dim // 4
    table = np.zeros((1 + grid * grid, dim))
    for row in range(grid):
        for column in range(grid):
            for i in range(quarter):
                rate = 10000 ** (-i / quarter)
                x = ((column + 0.5) * native / grid - 0.5) * rate
                y = ((row + 0.5) * native / grid - 0.5) * rate
                place = 1 + row * grid + column
                table[place, [i, quarter + i, 2 * quarter + i, 3 * quarter + i]] = (
                    math.sin(x), math.cos(x), math.sin(y), math.cos(y),
                )  # fmt: skip
    return table


def patches_of(images: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, S, S) -> (B, N, size * size * C), cut out one by one."""
    grid = images.shape[-1] // size
    cut = [
        images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
        for row in range(grid)
        for column in range(grid)
    ]
    return torch.stack([patch.permute(0, 2, 3, 1).reshape(images.shape[0], -1) for patch in cut], dim=1)


class ReferenceMAE:
    """Forward pass of MAE for `weights` (Hub names); positions are built here for the size at hand."""

    def __init__(self, weights: dict[str, torch.Tensor], config):
        self.weights = weights
        self.config = config

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + self.config.layer_norm_eps).sqrt()
        return centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def block(self, x: torch.Tensor, name: str, heads: int) -> torch.Tensor:
        batch, length, width = x.shape
        normed = self.norm(x, f"{name}.layernorm_before")
        query, key, value = (
            self.linear(normed, f"{name}.attention.attention.{part}").view(batch, length, heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(width // heads)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
        x = x + self.linear(mixed, f"{name}.attention.output.dense")
        hidden = self.linear(self.norm(x, f"{name}.layernorm_after"), f"{name}.intermediate.dense")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return x + self.linear(hidden, f"{name}.output.dense")

    def positions(self, grid: int, width: int) -> torch.Tensor:
        native = self.config.image_size // self.config.patch_size
        return torch.from_numpy(sincos_table(grid, native, width)).float()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(B, N, D): all patches projected, with their positions."""
        size = self.config.patch_size
        kernel = self.weights["vit.embeddings.patch_embeddings.projection.weight"]
        matrix = kernel.permute(0, 2, 3, 1).reshape(kernel.shape[0], -1)
        tokens = patches_of(images, size) @ matrix.T + self.weights["vit.embeddings.patch_embeddings.projection.bias"]
        return tokens + self.positions(images.shape[-1] // size, kernel.shape[0])[1:]

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.weights["vit.embeddings.cls_token"].expand(len(tokens), -1, -1), tokens], dim=1)
        for number in range(self.config.num_hidden_layers):
            x = self.block(x, f"vit.encoder.layer.{number}", self.config.num_attention_heads)
        return x

    def loss(self, images: torch.Tensor, noise: torch.Tensor, mask_ratio: float, keep: float = 1.0):
        """Loss, predicted patches (B, N, P), mask (B, N). `keep`: share of the hidden patches that are decoded."""
        config = self.config
        patches = patches_of(images, config.patch_size)
        batch, count, _ = patches.shape
        visible = int(count * (1 - mask_ratio))
        order = noise.argsort(dim=1, stable=True)
        rank = order.argsort(dim=1)
        mask = (rank >= visible).float()
        tokens = self.embed(images)
        shown = torch.stack([tokens[b, order[b, :visible]] for b in range(batch)])
        latent = self.linear(self.norm(self.encode(shown), "vit.layernorm"), "decoder.decoder_embed")

        grid = images.shape[-1] // config.patch_size
        positions = self.positions(grid, config.decoder_hidden_size)
        decoded = visible + max(1, round((count - visible) * keep))
        full = self.weights["decoder.mask_token"].expand(batch, count, -1).clone()
        for b in range(batch):
            full[b, order[b, :visible]] = latent[b, 1:]
        full = full + positions[1:]
        kept = [torch.sort(order[b, :decoded]).values for b in range(batch)]
        x = torch.cat([latent[:, :1], torch.stack([full[b, kept[b]] for b in range(batch)])], dim=1)
        for number in range(config.decoder_num_hidden_layers):
            x = self.block(x, f"decoder.decoder_layers.{number}", config.decoder_num_attention_heads)
        predicted = self.linear(self.norm(x, "decoder.decoder_norm"), "decoder.decoder_pred")[:, 1:]

        target = torch.stack([patches[b, kept[b]] for b in range(batch)])
        counted = torch.stack([mask[b, kept[b]] for b in range(batch)])
        if config.norm_pix_loss:
            mean = target.mean(-1, keepdim=True)
            variance = (target - mean).pow(2).sum(-1, keepdim=True) / (target.shape[-1] - 1)
            target = (target - mean) / (variance + 1e-6).sqrt()
        error = (predicted - target).pow(2).mean(-1)
        return (error * counted).sum() / counted.sum(), predicted, mask
