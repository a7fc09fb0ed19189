"""Fixed 2-D sine-cosine positions for any square patch grid.

The layout is the one released MAE weights use: the column (width) half first, `[sin_w | cos_w | sin_h | cos_h]`,
frequencies `10000 ** (-i / (dim / 4))`, a zero row for the class token in front (MAE's `util/pos_embed.py`).
"""

import torch

from dailymae_hf.errors import RecipeError

_tables: dict[tuple[int, int, int, torch.dtype, torch.device], torch.Tensor] = {}


def sincos_positions(grid: int, native_grid: int, dim: int) -> torch.Tensor:
    """Position table of a `grid` x `grid` patch raster, computed and returned in float64: (1 + grid * grid, dim).

    Coordinates are scaled to the native raster with pixel centres aligned, `(i + .5) * native_grid / grid - .5`, so
    that a patch gets the position of the image content it shows. On the native grid this is `i` itself.

    Raises `RecipeError` when `dim` is not divisible by 4.
    """
    if dim % 4 != 0:
        raise RecipeError(f"hidden_size and decoder_hidden_size must be divisible by 4 for 2-D positions, got {dim}")
    coordinates = (torch.arange(grid, dtype=torch.float64) + 0.5) * (native_grid / grid) - 0.5
    frequencies = 1.0 / 10000.0 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.outer(coordinates, frequencies)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = axis.unsqueeze(0).expand(grid, grid, -1)
    rows = axis.unsqueeze(1).expand(grid, grid, -1)
    table = torch.cat([columns, rows], dim=-1).reshape(grid * grid, dim)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), table])


@torch.compiler.assume_constant_result
def cached_positions(grid: int, native_grid: int, dim: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """`sincos_positions` in `dtype` on `device`, made once per grid: (1, 1 + grid * grid, dim).

    A compiled graph holds the table as a constant; nothing of it reaches a `state_dict`.
    """
    key = (grid, native_grid, dim, dtype, device)
    table = _tables.get(key)
    if table is None:
        # Made under `torch.inference_mode` it would be refused by a later training step.
        with torch.inference_mode(False), torch.no_grad():
            table = sincos_positions(grid, native_grid, dim).to(dtype).unsqueeze(0).to(device)
        if type(table) is torch.Tensor:  # a fake tensor of somebody's tracing must not outlive the tracing
            _tables[key] = table
    return table
