"""Mimetic initial weights of attention (Trockman and Kolter 2023, arXiv 2305.09828): what trained ViTs look like.

In trained transformers the product of a head's query and key maps is close to a multiple of the identity, and that of
the value and output maps to a negative one. Layers that start so learn in fewer steps, small ones above all.
"""

from collections.abc import Iterable

import torch
from torch import nn
from transformers.models.vit_mae.modeling_vit_mae import ViTMAEAttention

# (of the noise, of the identity), as the paper's section 4 sets them for ViTs.
QUERY_KEY = (0.7, 0.7)
VALUE_OUTPUT = (0.4, -0.4)


@torch.no_grad()
def draw_mimetic_attention(layers: Iterable[nn.Module]) -> None:
    """Draw the attention matrices of freshly built layers anew; biases, norms and MLPs stay as they are.

    With Z a new matrix of normal(0, 1 / D) values each time, the weights are factors of

        q.T @ k = 0.7 Z + 0.7 I        for each head, the head_dim largest singular values of it
        o @ v   = 0.4 Z - 0.4 I

    split evenly by the singular value decomposition.
    """
    for layer in layers:
        attention = layer.attention
        assert isinstance(attention, ViTMAEAttention)
        query, key = attention.q_proj.weight, attention.k_proj.weight
        size = attention.head_dim
        for first in range(0, len(query), size):
            left, right = _factors(query.shape[1], *QUERY_KEY)
            query[first : first + size] = left[:, :size].T
            key[first : first + size] = right[:size]
        left, right = _factors(query.shape[1], *VALUE_OUTPUT)
        attention.o_proj.weight.copy_(left)
        attention.v_proj.weight.copy_(right)


def _factors(width: int, noise: float, identity: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two (D, D) matrices whose product is `noise` * Z + `identity` * I, singular directions in falling order."""
    product = noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)
    left, values, right = torch.linalg.svd(product)
    root = values.sqrt()
    return left * root, root[:, None] * right
