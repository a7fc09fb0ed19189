"""The count against PyTorch's own counter, and against the figures this project quotes."""

from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTMAEForPreTraining

from dailymae_hf.model.flops import TRAINING_FACTOR, encode_flops, mae_flops, mae_flops_by_part
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config

SMALL = {"num_hidden_layers": 3, "decoder_num_hidden_layers": 2}


def counted(run, backward: bool = False) -> int:
    """FLOPs of `run()` by PyTorch's counter, on the meta device: shapes only."""
    with FlopCounterMode(display=False) as counter:
        result = run()
        if backward:
            result.loss.backward()
    return counter.get_total_flops()


def build(cls, config) -> torch.nn.Module:
    config._attn_implementation = "eager"  # the counter knows matrix products on every device
    with torch.device("meta"):
        return cls(config).train()


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.empty(count, 3, size, size, device="meta")


@pytest.mark.parametrize("name", ["small", "base"])
@pytest.mark.parametrize(("size", "mask_ratio"), [(224, 0.75), (192, 0.66), (160, 0.5), (128, 0.85)])
def test_maes_formulation_is_what_the_stock_model_computes(name, size, mask_ratio):
    config = mae_config(name, image_size=size, mask_ratio=mask_ratio, **(SMALL if name == "small" else {}))
    model = build(ViTMAEForPreTraining, config)
    assert mae_flops(config) == counted(lambda: model(images(size))) // 2


@pytest.mark.parametrize("name", ["small", "base"])
@pytest.mark.parametrize("decoder_keep", [1.0, 0.5])
@pytest.mark.parametrize("decoder_layers", [1, 3])
@pytest.mark.parametrize(("size", "mask_ratio"), [(224, 0.75), (192, 0.66), (160, 0.5)])
def test_executed_count_is_what_each_image_adds_to_a_batch(name, decoder_keep, decoder_layers, size, mask_ratio):
    config = mae_config(name, num_hidden_layers=3, decoder_num_hidden_layers=decoder_layers)
    model = build(DailyMAEForPreTraining, config)
    model.decoder_keep = decoder_keep
    flops = mae_flops(config, size, mask_ratio, decoder_keep=decoder_keep, executed=True)
    two, four = (counted(partial(model, images(size, count), mask_ratio=mask_ratio)) for count in (2, 4))
    assert flops == (four - two) // 2


def test_training_is_three_forward_passes_but_for_the_first_layers_input():
    """Pixels need no gradient, which the backward pass of the patch projection saves."""
    config = mae_config("base")
    model = build(ViTMAEForPreTraining, config)
    total = counted(lambda: model(images(224)), backward=True) // 2
    assert total == TRAINING_FACTOR * mae_flops(config) - 2 * 196 * 768 * 768


def test_quoted_figures_of_vit_b():
    config = mae_config("base")
    parts = mae_flops_by_part(config)
    assert parts.encoder / 1e9 == pytest.approx(8.8, abs=0.05)
    assert parts.decoder / 1e9 == pytest.approx(10.75, abs=0.05)
    assert mae_flops(config) / 1e9 == pytest.approx(19.6, abs=0.05)
    assert TRAINING_FACTOR * mae_flops(config) / 1e9 == pytest.approx(58.7, abs=0.05)


@pytest.mark.parametrize(("size", "share"), [(192, 0.73), (160, 0.51), (128, 0.33)])
def test_smaller_images_cost_the_quoted_share(size, share):
    config = mae_config("base")
    assert mae_flops(config, size) / mae_flops(config) == pytest.approx(share, abs=0.006)


def test_half_the_hidden_patches_save_a_fifth():
    config = mae_config("base")
    assert mae_flops(config, decoder_keep=0.5) / mae_flops(config) == pytest.approx(0.79, abs=0.006)


@pytest.mark.parametrize("size", [224, 128])
def test_encode(size):
    config = mae_config("small", **SMALL)
    model = build(DailyMAEForPreTraining, config)
    assert encode_flops(config, size) == counted(lambda: model.encode(images(size))) // 2
