"""The head of linear probes, online and afterwards: BatchNorm without affine and a linear layer, as MAE has it."""

import torch
from torch import nn


class ProbeHead(nn.Module):
    """BatchNorm without affine (the linear layer has its own) and a linear layer: (B, D) -> (B, num_classes).

    Args:
        width: D.
        num_classes: of the linear layer.
        seed: draws normal weights from a generator of their own, as MAE's code does for its online probe. By default
            they are truncated normal numbers from torch's generator, as in its linear probe. The deviation is 0.01.
    """

    def __init__(self, width: int, num_classes: int, *, seed: int | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        if seed is None:
            nn.init.trunc_normal_(self.head.weight, std=0.01)
        else:
            nn.init.normal_(self.head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.head.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(features))
