"""MAE's own formulation in plain torch, to time beside: everything is computed that the paper's code computes.

Every patch is embedded before masking, two argsorts give order and inverse, tokens are gathered, put back in order with
mask tokens, all of them decoded and predicted, and the loss is taken over all patches and masked. Query, key and value
are one projection and attention is PyTorch's fused one, as in today's timm.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.model.positions import sincos_positions


class Block(nn.Module):
    def __init__(self, width: int, heads: int, mlp_width: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    @torch.no_grad()
    def load(self, layer: Any) -> None:
        attention = layer.attention
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        self.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        for mine, theirs in (
            (self.norm1, layer.layernorm_before),
            (self.norm2, layer.layernorm_after),
            (self.proj, attention.o_proj),
            (self.fc1, layer.mlp.fc1),
            (self.fc2, layer.mlp.fc2),
        ):
            mine.load_state_dict(theirs.state_dict())


class PlainMAE(nn.Module):
    """Starts with the weights of `model`; takes images of the given `resolutions`."""

    def __init__(self, model: DailyMAEForPreTraining, resolutions: list[int]) -> None:
        super().__init__()
        config = model.config
        self.patch_size, self.mask_ratio = config.patch_size, config.mask_ratio
        width, narrow, eps = config.hidden_size, config.decoder_hidden_size, config.layer_norm_eps
        self.embed = nn.Conv2d(3, width, config.patch_size, config.patch_size)
        self.cls_token, self.mask_token = (
            nn.Parameter(torch.zeros(1, 1, width)),
            nn.Parameter(torch.zeros(1, 1, narrow)),
        )
        self.blocks = nn.ModuleList(
            Block(width, config.num_attention_heads, config.intermediate_size, eps)
            for _ in range(config.num_hidden_layers)
        )
        self.norm, self.decoder_embed = nn.LayerNorm(width, eps=eps), nn.Linear(width, narrow)
        self.decoder_blocks = nn.ModuleList(
            Block(narrow, config.decoder_num_attention_heads, config.decoder_intermediate_size, eps)
            for _ in range(config.decoder_num_hidden_layers)
        )
        self.decoder_norm = nn.LayerNorm(narrow, eps=eps)
        self.decoder_pred = nn.Linear(narrow, config.patch_size**2 * 3)
        native = config.image_size // config.patch_size
        for size in resolutions:
            grid = size // config.patch_size
            for name, dim in (("encoder", width), ("decoder", narrow)):
                table = sincos_positions(grid, native, dim).float().unsqueeze(0)
                self.register_buffer(f"{name}_positions_{grid}", table, persistent=False)
        self._load(model)

    @torch.no_grad()
    def _load(self, model: Any) -> None:
        embeddings, decoder = model.vit.embeddings, model.decoder
        self.cls_token.copy_(embeddings.cls_token)
        self.mask_token.copy_(decoder.mask_token)
        for own, theirs in (
            (self.embed, embeddings.patch_embeddings.projection),
            (self.norm, model.vit.layernorm),
            (self.decoder_embed, decoder.decoder_embed),
            (self.decoder_norm, decoder.decoder_norm),
            (self.decoder_pred, decoder.decoder_pred),
        ):
            own.load_state_dict(theirs.state_dict())
        blocks: list[Any] = [*self.blocks, *self.decoder_blocks]
        for block, layer in zip(blocks, [*model.vit.layers, *decoder.decoder_layers], strict=True):
            block.load(layer)

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Loss () of images (B, 3, S, S); noise (B, N) decides the mask."""
        grid = images.shape[-1] // self.patch_size
        positions = getattr(self, f"encoder_positions_{grid}")
        x = self.embed(images).flatten(2).transpose(1, 2) + positions[:, 1:]
        count, width = x.shape[1:]
        shown = int(count * (1 - self.mask_ratio))
        order = noise.argsort(dim=1)
        restore = order.argsort(dim=1)
        x = x.gather(1, order[:, :shown, None].expand(-1, -1, width))
        mask = torch.ones_like(noise)
        mask[:, :shown] = 0
        mask = mask.gather(1, restore)

        x = torch.cat([(self.cls_token + positions[:, :1]).expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))
        hidden = self.mask_token.expand(len(x), count - shown, -1)
        tokens = torch.cat([x[:, 1:], hidden], dim=1).gather(1, restore[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([x[:, :1], tokens], dim=1) + getattr(self, f"decoder_positions_{grid}")
        for block in self.decoder_blocks:
            x = block(x)
        predicted = self.decoder_pred(self.decoder_norm(x))[:, 1:]

        side = self.patch_size
        target = images.unflatten(3, (grid, side)).unflatten(2, (grid, side)).permute(0, 2, 4, 3, 5, 1).flatten(3)
        target = target.flatten(3).flatten(1, 2)
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        error = (predicted - (target - mean) / (variance + 1e-6) ** 0.5) ** 2
        return (error.mean(-1) * mask).sum() / mask.sum()
