"""FSDP2 under the Trainer with the numbers of DDP: weights and inputs in float32, autocast inside.

Accelerate's policy for bf16 casts what enters the model: pixels would lose their last bits, and of patches whose
masking noise is equal in 8 bits the first would stay visible instead of a random one.
"""

import warnings
from typing import Any

from accelerate import Accelerator
from torch.distributed.fsdp import MixedPrecisionPolicy, register_fsdp_forward_method

from dailymae_hf.errors import RecipeError


def keep_float32(accelerator: Accelerator) -> None:
    """Let weights travel in float32 and inputs stay what they are; autocast decides inside, as under DDP.

    Raises RecipeError for FSDP1, which has no such policy.
    """
    plugin: Any = accelerator.state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise RecipeError(f"fsdp_version: {plugin.fsdp_version} is not supported, 2 is (accelerate_configs/fsdp2.yaml)")
    plugin.mixed_precision_policy = MixedPrecisionPolicy()
    # Only harmful where a layer's output is changed in place, which no layer here does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")


def gather_for_encode(model: Any) -> None:
    """Gather the whole weights for `encode`, the online probe's way into the model, as for `forward`."""
    if hasattr(model, "encode"):
        register_fsdp_forward_method(model, "encode")
