"""A grid of pictures in threes: image, masked image, reconstruction."""

import torch

from dailymae_hf.errors import extra

with extra("plots", "pictures of reconstructions"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

PANELS = ("image", "masked", "reconstructed")


def picture_grid(triples: torch.Tensor, title: str) -> FigureCanvasAgg:
    """(n, 3, 3, S, S) pictures in 0-1 -> a canvas with one labelled triple per cell, two triples a row."""
    pairs = 2 if len(triples) > 2 else 1
    rows = -(-len(triples) // pairs)
    panel, gap = 1.35, 0.35
    width, height = panel * 3 * pairs + gap * (pairs + 1), panel * rows + 0.8
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(gap / width, 1 - 0.25 / height, title, fontsize=11, weight="bold", va="center", color="#222222")
    for number, triple in enumerate(triples):
        row, pair = divmod(number, pairs)
        for column, picture in enumerate(triple):
            left = gap + pair * (3 * panel + gap) + column * panel
            bottom = height - 0.7 - (row + 1) * panel
            axes = figure.add_axes((left / width, bottom / height, panel * 0.97 / width, panel * 0.97 / height))
            axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(PANELS[column], fontsize=9, color="#555555", pad=4)
    return canvas
