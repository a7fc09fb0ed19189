"""The card's pictures draw what the run's log and stages say, read back from matplotlib's own axes."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from dailymae_hf.hub.pictures import draw_curves, draw_schedule

STAGES = [
    {"epochs": 2, "resolution": 224, "mask_ratio": 0.75},
    {"epochs": 3, "resolution": 160, "mask_ratio": 0.5},
    {"epochs": 2, "resolution": 224, "mask_ratio": 0.75},
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def steps(axes):
    (stairs,) = axes.patches
    values, edges, _ = stairs.get_data()
    return list(values), list(edges)


def test_the_schedule_shows_sizes_and_mask_ratios_over_the_epochs(drawn, tmp_path):
    draw_schedule(STAGES, tmp_path / "images" / "schedule.png")
    sizes, ratios = drawn[0].axes
    assert steps(sizes) == ([224, 160, 224], [0, 2, 5, 7])
    assert steps(ratios) == ([0.75, 0.5, 0.75], [0, 2, 5, 7])
    assert Image.open(tmp_path / "images" / "schedule.png").format == "PNG"


@pytest.mark.parametrize("ratio", [0.75, None])
def test_a_mask_ratio_that_does_not_change_is_not_drawn(ratio, drawn, tmp_path):
    draw_schedule([stage | {"mask_ratio": ratio} for stage in STAGES], tmp_path / "schedule.png")
    assert len(drawn[0].axes) == 1


def test_curves_are_the_logs_losses_and_scores_in_percent(drawn, tmp_path):
    log = [
        {"epoch": 1, "loss": 0.9},
        {"epoch": 1, "probe_accuracy": 0.25, "eval_loss": 0.95},
        {"epoch": 2, "loss": 0.8, "learning_rate": 1e-3},
        {"epoch": 2, "probe_accuracy": 0.5},
        {"train_runtime": 3.0, "loss": 0.7},  # a line without an epoch has no place
    ]
    assert draw_curves(log, tmp_path / "curves.png")
    found = {
        line.get_label(): ([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()])
        for axes in drawn[0].axes for line in axes.lines
    }  # fmt: skip
    assert found == {
        "training": ([1, 2], [0.9, 0.8]),
        "validation": ([1], [0.95]),
        "online linear probe": ([1, 2], [25, 50]),
    }


def test_a_log_without_figures_gives_no_picture(tmp_path):
    assert not draw_curves([{"epoch": 1, "learning_rate": 1e-3}], tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
