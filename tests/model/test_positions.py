"""Position tables: the formula's at any grid, and any other table resampled instead of replaced."""

import logging
import re

import numpy as np
import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.model.positions import native_grid_of, positions_on, sincos_positions
from tests.support.in_memory import tiny_model
from tests.support.reference_mae import sincos_table

GRID = 4  # of tiny_model: 32 pixels, patches of 8
TABLES = ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed")


@pytest.fixture(params=["zero", "learned"])
def other_table(request, tmp_path):
    """A checkpoint of plain transformers whose tables are no sin-cos tables: drawn by stock 5.x, or learned."""
    stock = ViTMAEForPreTraining(ViTMAEConfig(**tiny_model().config.to_dict()))
    if request.param == "learned":
        torch.manual_seed(0)
        for name in TABLES:
            torch.nn.init.normal_(stock.get_parameter(name))
    else:
        assert not any(stock.get_parameter(name).any() for name in TABLES)
    stock.save_pretrained(tmp_path)
    return tmp_path, stock


@pytest.mark.parametrize(("grid", "native"), [(1, 1), (4, 4), (3, 4), (6, 4), (12, 14), (14, 14), (32, 14)])
def test_the_table_is_the_formulas_and_is_recognised(grid, native):
    table = sincos_positions(grid, native, 32)
    np.testing.assert_allclose(table.numpy(), sincos_table(grid, native, 32), atol=1e-12)
    for dtype in (torch.float64, torch.float32):
        assert native_grid_of(table.to(dtype).unsqueeze(0)) == native
    assert native_grid_of(sincos_positions(14, 14, 32).bfloat16().unsqueeze(0)) == 14


@pytest.mark.parametrize("change", ["zero", "one value", "rows and columns swapped"])
def test_another_table_is_not_taken_for_it(change):
    table = sincos_positions(4, 4, 32).float()
    table = {
        "zero": torch.zeros_like(table),
        "one value": table.index_put((torch.tensor(7), torch.tensor(5)), torch.tensor(0.3)),
        "rows and columns swapped": table.roll(16, dims=1),
    }[change]
    assert native_grid_of(table.unsqueeze(0)) is None


def test_another_table_is_resampled_for_another_grid_and_not_replaced(other_table, caplog):
    """Before, a grid other than the stored one got the sin-cos table, whatever the checkpoint held."""
    folder, stock = other_table
    with caplog.at_level(logging.WARNING):
        model = DailyMAEForPreTraining.from_pretrained(folder)
    # Of zeros it was said that they are resampled, which makes no positions of them.
    said = "is resampled" if stock.get_parameter(TABLES[0]).any() else "is all zero .* without model_name_or_path draws"
    assert [record.args[1] for record in caplog.records if re.search(said, record.message)] == list(TABLES)
    for size in (24, 32, 48):
        grid = size // 8
        expected = stock.vit.embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + grid**2, 32), size, size)
        torch.testing.assert_close(model._positions(TABLES[0], grid**2), expected)
        if not stock.get_parameter(TABLES[1]).any():
            assert not model._positions(TABLES[1], grid**2).any()
    # What is in a state dict counts, as on resume; and the sin-cos table is known again.
    fresh = tiny_model()
    fresh.load_state_dict(model.state_dict())
    assert fresh.native_grids == dict.fromkeys(TABLES)
    fresh.load_state_dict(tiny_model().state_dict())
    assert fresh.native_grids == dict.fromkeys(TABLES, GRID)


@pytest.mark.parametrize("size", [24, 48])
def test_a_new_native_size_keeps_what_the_model_computes_there(size, tmp_path, caplog):
    before = tiny_model().eval()
    before.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        after = DailyMAEForPreTraining.from_pretrained(tmp_path, image_size=size)
    assert f"from 4 x 4 to {size // 8} x {size // 8} patches" in caplog.text
    assert after.config.image_size == size
    assert not after.get_parameter(TABLES[0]).requires_grad
    for side in (size, 32, 16):
        pixels, noise = torch.randn(2, 3, side, side), torch.rand(2, (side // 8) ** 2)
        torch.testing.assert_close(after(pixels, noise=noise).loss, before(pixels, noise=noise).loss)
    after.save_pretrained(tmp_path / "again")
    plain = ViTMAEForPreTraining.from_pretrained(tmp_path / "again").eval()
    pixels, noise = torch.randn(2, 3, size, size), torch.rand(2, (size // 8) ** 2)
    torch.testing.assert_close(plain(pixels, noise=noise).loss, before(pixels, noise=noise).loss)
    again = DailyMAEForPreTraining.from_pretrained(tmp_path / "again")
    assert again.native_grids == dict.fromkeys(TABLES, GRID), "the scaled table is known as what it is"


def test_a_new_native_size_resamples_another_table(other_table):
    folder, stock = other_table
    model = DailyMAEForPreTraining.from_pretrained(folder, image_size=48)
    expected = stock.vit.embeddings.interpolate_pos_encoding(torch.zeros(1, 37, 32), 48, 48)
    torch.testing.assert_close(model.get_parameter(TABLES[0]).data, expected.data)
    with pytest.raises(RecipeError, match="image_size: 50 is not a multiple of patch_size 8"):
        DailyMAEForPreTraining.from_pretrained(folder, image_size=50)


def test_the_stored_table_is_used_where_it_fits():
    table = torch.randn(1, 17, 8)
    assert positions_on(table, 4, None) is table
    assert positions_on(table, 4, 4) is table
