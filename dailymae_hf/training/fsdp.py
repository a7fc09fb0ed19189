"""FSDP2 under the Trainer with the numbers of DDP: weights and inputs in float32, autocast inside."""

import warnings
from typing import Any

from torch.distributed.fsdp import MixedPrecisionPolicy, register_fsdp_forward_method

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.float8 import use_float8
from dailymae_hf.training.checkpoint import ExactResumeTrainer


class ShardedTrainer(ExactResumeTrainer):
    """Trains under FSDP2 where accelerate was started with it; without it nothing is different.

    Weights travel in float32 and inputs stay what they are; autocast decides inside, as under DDP. Accelerate's policy
    for bf16 casts what enters the model: pixels would lose their last bits, and of patches whose masking noise is equal
    in 8 bits the first would be shown instead of a random one.
    """

    def __init__(self, model: Any, args: Any, **kwargs: Any) -> None:
        if args.float8:  # before anything holds the layers
            use_float8(model)
        super().__init__(model, args, **kwargs)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        """Raises RecipeError for FSDP1, which has no such policy."""
        if not self.is_fsdp_enabled:
            return super()._prepare_for_training(*args, **kwargs)
        plugin = self.accelerator.state.fsdp_plugin
        if plugin.fsdp_version != 2:
            raise RecipeError(
                f"fsdp_version: {plugin.fsdp_version} is not supported, 2 is (accelerate_configs/fsdp2.yaml)"
            )
        plugin.mixed_precision_policy = MixedPrecisionPolicy()
        # Only harmful where a layer's output is changed in place, which no layer here does.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        prepared = super()._prepare_for_training(*args, **kwargs)
        if hasattr(self.model, "encode"):  # the online probe's way in: the whole weights are needed there as well
            register_fsdp_forward_method(self.model, "encode")
        return prepared

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        """The stock method leaves autocast to accelerate, which leaves it to FSDP's casts."""
        return self.accelerator.autocast() if self.is_fsdp_enabled else super().autocast_smart_context_manager()
