"""The card's pictures: the resolution schedule, and the curves of a run's log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dailymae_hf.errors import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRAY, _BLUE, _ORANGE, _GREEN = "#555555", "#2f6fb5", "#d9822b", "#3a8f4d"


def draw_schedule(stages: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Image size over the epochs, and the mask ratio where it changes, as a PNG.

    Args:
        stages: in order, each with "epochs", "resolution" and "mask_ratio" (None where nothing is masked).

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = _figure(7, 2.6)
    axes = figure.add_subplot()
    edges = [0.0]
    for stage in stages:
        edges.append(edges[-1] + stage["epochs"])
    sizes = [stage["resolution"] for stage in stages]
    axes.stairs(sizes, edges, baseline=None, color=_BLUE, linewidth=2)
    axes.set_ylim(0, 1.15 * max(sizes))
    axes.set_yticks(sorted(set(sizes)))
    _label(axes, "epoch", "image size in pixels")
    ratios = [stage["mask_ratio"] for stage in stages]
    if None not in ratios and len(set(ratios)) > 1:
        masked = axes.twinx()
        masked.stairs(ratios, edges, baseline=None, color=_ORANGE, linewidth=2, linestyle="--")
        masked.set_ylim(0, 1)
        masked.spines[["top"]].set_visible(False)
        masked.set_ylabel("fraction of patches masked", color=_ORANGE)
    _save(figure, path)


def draw_curves(log: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Losses and scores over the epochs, as a PNG; False, and no file, where the log has none of them.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    losses = _curves(log, {"loss": ("training", _BLUE), "eval_loss": ("validation", _ORANGE)})
    scores = _curves(
        log,
        {
            "probe_accuracy": ("online linear probe", _BLUE),
            "knn_accuracy": ("20 nearest neighbours", _GREEN),
            "eval_accuracy": ("validation", _ORANGE),
        },
    )
    panels = [(curves, title) for curves, title in ((losses, "loss"), (scores, "accuracy in %")) if curves]
    if not panels:
        return False
    figure = _figure(4 * len(panels), 2.8)
    for number, (curves, title) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        scale = 100 if curves is scores else 1
        for name, colour, points in curves:
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) < 30 else None
            axes.plot(epochs, [scale * v for v in values], color=colour, label=name, marker=marker, markersize=3)
        axes.legend(frameon=False, fontsize=8)
        _label(axes, "epoch", title)
    _save(figure, path)
    return True


def _curves(
    log: Sequence[Mapping[str, Any]], wanted: Mapping[str, tuple[str, str]]
) -> list[tuple[str, str, list[tuple[float, float]]]]:
    found = []
    for key, (name, colour) in wanted.items():
        points = [
            (line["epoch"], line[key]) for line in log if line.get(key) is not None and line.get("epoch") is not None
        ]
        if points:
            found.append((name, colour, points))
    return found


def _figure(width: float, height: float) -> "Figure":
    """Sizes in inches."""
    with extra("plots", "pictures of a run"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=160, facecolor="white", layout="constrained")


def _label(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x, color=_GRAY)
    axes.set_ylabel(y, color=_GRAY)
    axes.tick_params(colors=_GRAY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbbbbb")
    axes.set_xlim(left=0)


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
