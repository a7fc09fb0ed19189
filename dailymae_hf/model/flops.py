"""How much arithmetic one image costs: the one count that MFU, planner, model card and Trainer share.

A multiply-add counts as two. Matrix products and attention are counted, as `torch.utils.flop_counter` does; norms,
activations and additions (well under 1 %) are not.
"""

from typing import NamedTuple

from transformers import ViTMAEConfig

from dailymae_hf.model.masking import num_predicted, num_visible

TRAINING_FACTOR = 3  # forward pass once, backward pass twice as much


class MAEFlops(NamedTuple):
    """Forward FLOPs per image of the two halves."""

    encoder: int
    decoder: int


def _layer(tokens: int, width: int, mlp_width: int, queries: int | None = None, shared: int = 0) -> int:
    """A transformer layer over `tokens`, computing the outputs of `queries` of them (all by default); the projections
    of `shared` of both are there already."""
    queries = tokens if queries is None else queries
    query_and_output, key_and_value = 2 * queries - shared, 2 * (tokens - shared)
    projections = (query_and_output + key_and_value) * 2 * width * width
    attention = 2 * 2 * queries * tokens * width
    return projections + attention + 2 * 2 * queries * width * mlp_width


def mae_flops_by_part(
    config: ViTMAEConfig,
    image_size: int | None = None,
    mask_ratio: float | None = None,
    *,
    decoder_keep: float = 1.0,
    executed: bool = False,
) -> MAEFlops:
    """Forward FLOPs of masked autoencoding for one image of `image_size` pixels (default: the config's).

    By default MAE's own formulation: every patch is projected, the decoder computes and predicts every token. It is
    what MFU divides by. `executed=True` counts what `DailyMAEForPreTraining` computes in training for the same result:
    only visible patches are projected, mask tokens go through the first decoder layer's projections once for the whole
    batch (which is not counted), and the last decoder layer and the prediction stop at the masked patches.

    ViT-B/16 at 224, mask ratio .75: encoder 8.82e9, decoder 10.75e9. Raises `RecipeError` for an impossible mask ratio.
    """
    size = config.image_size if image_size is None else image_size
    patches = (size // config.patch_size) ** 2
    visible = num_visible(patches, config.mask_ratio if mask_ratio is None else mask_ratio)
    predicted = num_predicted(patches, visible, decoder_keep)
    pixels = config.patch_size**2 * config.num_channels
    width, decoder_width = config.hidden_size, config.decoder_hidden_size

    encoder = 2 * (visible if executed else patches) * pixels * width
    encoder += config.num_hidden_layers * _layer(1 + visible, width, config.intermediate_size)

    tokens = 1 + visible + predicted
    outputs = predicted if executed else tokens
    decoder = 2 * (1 + visible) * width * decoder_width
    last = config.decoder_num_hidden_layers - 1
    for number in range(last + 1):
        queries, shared = outputs if number == last else tokens, predicted if executed and number == 0 else 0
        decoder += _layer(tokens, decoder_width, config.decoder_intermediate_size, queries, shared)
    decoder += 2 * outputs * decoder_width * pixels
    return MAEFlops(encoder, decoder)


def mae_flops(
    config: ViTMAEConfig,
    image_size: int | None = None,
    mask_ratio: float | None = None,
    *,
    decoder_keep: float = 1.0,
    executed: bool = False,
) -> int:
    """Forward FLOPs per image of encoder and decoder together; arguments as in `mae_flops_by_part`.

    A training step takes `TRAINING_FACTOR` times as much. ViT-B/16 at 224: 19.6e9.
    """
    return sum(mae_flops_by_part(config, image_size, mask_ratio, decoder_keep=decoder_keep, executed=executed))


def encode_flops(config: ViTMAEConfig, image_size: int | None = None) -> int:
    """Forward FLOPs of `DailyMAEForPreTraining.encode` for one image: the encoder on every patch."""
    size = config.image_size if image_size is None else image_size
    patches = (size // config.patch_size) ** 2
    projection = 2 * patches * config.patch_size**2 * config.num_channels * config.hidden_size
    return projection + config.num_hidden_layers * _layer(1 + patches, config.hidden_size, config.intermediate_size)
