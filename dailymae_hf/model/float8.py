"""Matrix products of the transformer layers in 8-bit floats, through torchao, on GPUs that have them."""

import torch
from torch import nn

from dailymae_hf.errors import MissingDependencyError, RecipeError

CAPABILITY = (8, 9)  # of the first NVIDIA GPUs with 8-bit matrix products (Ada, Hopper)


def use_float8(model: nn.Module, *, emulate: bool = False) -> None:
    """Turn the linear maps inside the layers of encoder and decoder into 8-bit ones, in place.

    Weights stay in their type and under their names, so checkpoints are what they were. Embeddings, the map into the
    decoder and the prediction stay as they are. `emulate` computes the same rounding in float32 on any device, slowly.

    Raises:
        RecipeError: there is no GPU with 8-bit products.
        MissingDependencyError: torchao is not installed.
    """
    if not emulate:
        _check_gpu()
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError as error:
        raise MissingDependencyError(f"float8: torchao is needed: pip install torchao ({error})") from error
    # An inner dimension that 16 does not divide, such as the tokens of a small batch, is padded.
    config = Float8LinearConfig(pad_inner_dim=True, emulate=emulate)
    convert_to_float8_training(model, module_filter_fn=lambda _, name: "layers." in name, config=config)


def _check_gpu() -> None:
    if not torch.cuda.is_available():
        raise RecipeError("float8: 8-bit matrix products need a GPU that has them; there is none here")
    found = torch.cuda.get_device_capability()
    if found < CAPABILITY:
        raise RecipeError(
            f"float8: {torch.cuda.get_device_name()} has compute capability {found[0]}.{found[1]}, and 8-bit matrix "
            f"products begin with {CAPABILITY[0]}.{CAPABILITY[1]}"
        )
