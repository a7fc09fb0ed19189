"""ViTMAE's parts that do the same with less: fewer casts, the fast attention, only the tokens wanted."""

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.vit_mae.modeling_vit_mae import (
    ViTMAEAttention,
    ViTMAELayer,
    ViTMAEPatchEmbeddings,
    eager_attention_forward,
)


class DailyPatchEmbeddings(ViTMAEPatchEmbeddings):
    """Same weights and result as `ViTMAEPatchEmbeddings`; takes patches that were already cut out as well."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, N, D) as the stock module, or any patches (B, V, patch_size**2 * 3) -> (B, V, D).

        Pixels of a patch lie row by row, channels innermost. A module of its own, and not a product in the model's
        forward, because FSDP gathers a module's weights when it is called.
        """
        if pixel_values.ndim == 4:
            return super().forward(pixel_values)
        # The convolution's kernel is (D, C, P, P).
        weight = self.projection.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(pixel_values, weight, self.projection.bias)


class DailyMAELayer(ViTMAELayer):
    """Same weights, names and result as `ViTMAELayer`; can leave out the output of the first tokens."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        first: int = 0,
        recurring: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(B, N, D) -> (B, N - first, D).

        Attention reads all tokens. The decoder's last layer uses `first`: what becomes of the visible tokens there is
        never looked at, so their queries and MLP need not be computed. Its first layer uses `recurring`, rows (R, D)
        and ids (B, M): the last M tokens of each image are the rows `ids`, equal in all images. A row is then normed
        and projected once for the whole batch.
        """
        if attention_mask is not None or kwargs:  # a caller of the stock encoder; nothing here sends either
            return super().forward(hidden_states, attention_mask, **kwargs)
        if recurring is None:
            normed = _cast_once(self.layernorm_before(hidden_states))
            projected = _project(self.attention, normed, first)
        else:
            projected = self._project_recurring(hidden_states, first, *recurring)
        mixed = _attend(self.attention, *projected)
        hidden_states = hidden_states[:, first:] + self.dropout(mixed)
        return hidden_states + self.dropout(self.mlp(self.layernorm_after(hidden_states)))

    def _project_recurring(
        self, hidden_states: torch.Tensor, first: int, rows: torch.Tensor, ids: torch.Tensor
    ) -> list[torch.Tensor]:
        own = _cast_once(self.layernorm_before(hidden_states[:, : hidden_states.shape[1] - ids.shape[1]]))
        normed = _cast_once(self.layernorm_before(rows))
        shared = F.embedding(ids, torch.cat(_project(self.attention, normed), dim=-1))
        parts = zip(_project(self.attention, own, first), shared.chunk(3, dim=-1), strict=True)
        return [torch.cat(pair, dim=1) for pair in parts]


def use_daily_layers(layers: nn.ModuleList) -> None:
    """Turn freshly built stock layers into ours, in place: they differ in nothing but the forward pass.

    A second set of layers would be built for nothing and move the random state, and with it what a seed means.
    """
    for layer in layers:
        layer.__class__ = DailyMAELayer


def _cast_once(tokens: torch.Tensor) -> torch.Tensor:
    """`tokens` in autocast's dtype: left to autocast, query, key and value projection would each cast them."""
    if tokens.is_meta or not torch.is_autocast_enabled(tokens.device.type):
        return tokens
    return tokens.to(torch.get_autocast_dtype(tokens.device.type))


def _project(attention: ViTMAEAttention, tokens: torch.Tensor, first: int = 0) -> list[torch.Tensor]:
    """Query of the tokens (..., N, D) from `first` on, key and value of all: products of the same tokens are made as
    one, so that their input is read, and its gradient written, once."""
    maps = [attention.q_proj, attention.k_proj, attention.v_proj]
    if first == 0:
        return _at_once(maps, tokens)
    queried = tokens[..., first:, :]  # none of them in a decoder of one layer: only mask tokens are asked about
    return [maps[0](queried) if queried.shape[-2] else queried, *_at_once(maps[1:], tokens)]


def _at_once(maps: list[nn.Module], tokens: torch.Tensor) -> list[torch.Tensor]:
    if any(type(part) is not nn.Linear for part in maps):  # 8-bit, quantised or adapted ones know what they do
        return [part(tokens) for part in maps]
    weight = torch.cat([cast("torch.Tensor", part.weight) for part in maps])
    biases = [part.bias for part in maps if isinstance(part.bias, torch.Tensor)]
    return list(F.linear(tokens, weight, torch.cat(biases) if biases else None).chunk(len(maps), dim=-1))


def _attend(attention: ViTMAEAttention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of M queries (B, M, D) over N keys and values (B, N, D), projected back: (B, M, D)."""
    query, key, value = (t.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for t in (query, key, value))
    compute = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
    dropout = attention.attention_dropout if attention.training else 0.0
    dtype = query.dtype
    if query.device.type == "cpu" and dtype != torch.float32:
        # PyTorch's bfloat16 attention for CPUs is the slower one: forward and backward take 1.6 (197 tokens) to 2.5
        # times (50 tokens) as long as in float32, on a processor with bfloat16 instructions.
        query, key, value = query.float(), key.float(), value.float()
        with torch.autocast("cpu", enabled=False):
            mixed, _ = compute(attention, query, key, value, None, dropout=dropout, scaling=attention.scaling)
        mixed = mixed.to(dtype)
    else:
        mixed, _ = compute(attention, query, key, value, None, dropout=dropout, scaling=attention.scaling)
    return attention.o_proj(mixed.flatten(2))
