"""Positions of any square patch grid: the fixed 2-D sine-cosine table, and any other table resampled.

The layout is the one released MAE weights use: the column (width) half first, `[sin_w | cos_w | sin_h | cos_h]`,
frequencies `10000 ** (-i / (dim / 4))`, a zero row for the class token in front (MAE's `util/pos_embed.py`).
"""

import torch
from torch.nn import functional as F

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


def native_grid_of(table: torch.Tensor) -> int | None:
    """The `native_grid` whose sin-cos table `table` (1, 1 + grid * grid, dim) is, to its precision.

    None where it is another table: all zero, learned, or resampled from one that was.
    """
    _, rows, dim = table.shape
    grid = round((rows - 1) ** 0.5)
    if dim % 4 != 0 or grid * grid != rows - 1:
        return None
    precision = max(1e-5, 8 * torch.finfo(table.dtype).eps)
    sine, cosine = table[0, 1 : 1 + min(grid, 2), [0]], table[0, 1 : 1 + min(grid, 2), [dim // 4]]
    angles = torch.atan2(sine.double(), cosine.double()).flatten()  # the columns' coordinates, modulo 2 pi
    step = torch.remainder(angles[-1] - angles[0] if grid > 1 else 2 * angles[0] + 1, 2 * torch.pi).item()
    for native in dict.fromkeys((grid, max(1, round(step * grid)))):
        expected = sincos_positions(grid, native, dim).to(table.device)
        if torch.allclose(table[0].double(), expected, rtol=0, atol=precision):
            return native
    return None


def resampled_positions(table: torch.Tensor, grid: int) -> torch.Tensor:
    """A table of any kind on another grid: (1, 1 + n * n, dim) -> (1, 1 + grid * grid, dim).

    Bicubic over rows and columns, as transformers' `interpolate_pos_encoding` does for encoders.
    """
    native = round((table.shape[1] - 1) ** 0.5)
    patches = table[:, 1:].unflatten(1, (native, native)).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], patches.flatten(2).mT], dim=1)


def positions_on(table: torch.Tensor, grid: int, native_grid: int | None) -> torch.Tensor:
    """The positions of a `grid` x `grid` raster for a model that stores `table`: (1, 1 + grid * grid, dim).

    The stored table where it fits, else the sin-cos table scaled from `native_grid`; a table that is no sin-cos table
    (`native_grid` None, see `native_grid_of`) is resampled, so that none is replaced by another.
    """
    _, rows, dim = table.shape
    if rows == 1 + grid * grid:
        return table
    if native_grid is None:
        return resampled_positions(table, grid)
    return cached_positions(grid, native_grid, dim, table.dtype, table.device)


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
