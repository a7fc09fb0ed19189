"""A ViTMAE transformer layer that does the same with less: fewer casts, the fast attention, only the tokens wanted."""

from typing import Any

import torch
from torch import nn
from transformers import ViTMAEConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.vit_mae.modeling_vit_mae import ViTMAEAttention, ViTMAELayer, eager_attention_forward


class DailyMAELayer(ViTMAELayer):
    """Same weights, names and result as `ViTMAELayer`; can leave out the output of the first tokens."""

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, first: int = 0, **kwargs: Any
    ) -> torch.Tensor:
        """(B, N, D) -> (B, N - first, D).

        Attention reads all tokens. The decoder's last layer uses `first`: what becomes of the visible tokens there is
        never looked at, so their queries and MLP need not be computed.
        """
        if attention_mask is not None or kwargs:  # a caller of the stock encoder; nothing here sends either
            return super().forward(hidden_states, attention_mask, **kwargs)
        normed = _cast_once(self.layernorm_before(hidden_states))
        mixed = _attend(self.attention, normed[:, first:], normed)
        hidden_states = hidden_states[:, first:] + self.dropout(mixed)
        return hidden_states + self.dropout(self.mlp(self.layernorm_after(hidden_states)))


def use_daily_layers(layers: nn.ModuleList, config: ViTMAEConfig) -> None:
    """Replace freshly built stock layers in place. `config` is that of the stack (the decoder has its own)."""
    for number in range(len(layers)):
        layers[number] = DailyMAELayer(config)


def _cast_once(tokens: torch.Tensor) -> torch.Tensor:
    """`tokens` in autocast's dtype: left to autocast, query, key and value projection would each cast them."""
    if tokens.is_meta or not torch.is_autocast_enabled(tokens.device.type):
        return tokens
    return tokens.to(torch.get_autocast_dtype(tokens.device.type))


def _attend(attention: ViTMAEAttention, queried: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Self-attention of `queried` (B, M, D) over `tokens` (B, N, D): (B, M, D)."""
    query, key, value = (
        projection(states).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection, states in (
            (attention.q_proj, queried),
            (attention.k_proj, tokens),
            (attention.v_proj, tokens),
        )
    )
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
