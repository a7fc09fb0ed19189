"""MAE's initial weights for ViTMAE's modules."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.models.vit_mae.modeling_vit_mae import ViTMAEAttention, ViTMAEDecoder, ViTMAEEmbeddings

from dailymae_hf.model.positions import sincos_positions


@torch.no_grad()
def draw_initial_weights(model: nn.Module, std: float) -> None:
    """MAE's initial weights (its `models_mae.py`), for every tensor that no checkpoint has filled.

    `transformers.initialization` skips tensors that a checkpoint filled, one by one; hence no views of parameters here.
    MAE draws query, key and value as one (3D, D) matrix and the patch projection as a linear map, which sets their
    bounds; its biases start at zero.
    """
    fused = {
        projection
        for module in model.modules()
        if isinstance(module, ViTMAEAttention)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    }
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_out, fan_in = module.weight.shape[0], module.weight[0].numel()
            bound = (6 / (fan_in + (3 if module in fused else 1) * fan_out)) ** 0.5
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, ViTMAEEmbeddings):
            init.normal_(module.cls_token, std=std)
            init.copy_(module.position_embeddings, _native_positions(module.position_embeddings))
        elif isinstance(module, ViTMAEDecoder):
            init.normal_(module.mask_token, std=std)
            init.copy_(module.decoder_pos_embed, _native_positions(module.decoder_pos_embed))


def _native_positions(stored: torch.Tensor) -> torch.Tensor:
    grid = round((stored.shape[1] - 1) ** 0.5)
    return sincos_positions(grid, grid, stored.shape[2]).to(stored.dtype).unsqueeze(0)
