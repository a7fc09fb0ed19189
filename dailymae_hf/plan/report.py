"""A plan for the eye: the printed table and the drawing. Reads estimates, computes nothing of its own."""

from collections.abc import Sequence
from pathlib import Path

from dailymae_hf.errors import extra
from dailymae_hf.plan.estimate import LOADER, SHARED, Estimate, StageEstimate


def format_duration(seconds: float) -> str:
    """`18 h 05 min`, `4 min 10 s` or `12.3 s`."""
    if seconds >= 3599.5:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    if seconds >= 59.95:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{seconds:.1f} s"


def _describe(stage: StageEstimate) -> list[str]:
    absent = "in the step" if stage.bottleneck == SHARED else "not measured"
    loader = absent if stage.loader_rate is None else f"{stage.loader_rate:,.0f}"
    balance = "" if stage.balance_cores_per_device is None else f"{stage.balance_cores_per_device:.1f}"
    return [
        f"{stage.resolution}{'' if stage.measured else '*'}",
        f"{stage.mask_ratio:.2f}",
        str(stage.epochs),
        format_duration(stage.seconds),
        f"{stage.images_per_second:,.0f}",
        f"{stage.step_rate:,.0f}",
        loader,
        stage.bottleneck,
        balance,
    ]


_COLUMNS = ["size", "mask", "epochs", "time", "images/s", "step", "loader", "limit", "cores/device to balance"]


def format_plan(
    estimates: Sequence[Estimate], *, source: str, budget_seconds: float | None = None, notes: Sequence[str] = ()
) -> str:
    """The table: a line per schedule with its total, then its stages; rates are images/s of the whole run."""
    lines = [f"Throughput: {source or 'source not stated'}"]
    if budget_seconds is not None:
        lines.append(f"Budget: {format_duration(budget_seconds)}")
    rows = [_describe(stage) for estimate in estimates for stage in estimate.stages]
    widths = [max(len(row[i]) for row in [_COLUMNS, *rows]) for i in range(len(_COLUMNS))]
    line = "  ".join
    header = "  " + line(name.rjust(width) for name, width in zip(_COLUMNS, widths, strict=True))
    for estimate in estimates:
        total = f"{estimate.name}: {format_duration(estimate.seconds)} for {estimate.epochs} epochs"
        if estimate.energy_kwh is not None:
            total += f", {estimate.energy_kwh:,.1f} kWh"
        if estimate.cost is not None:
            total += f", cost {estimate.cost:,.2f}"
        if budget_seconds is not None:
            spare = budget_seconds - estimate.seconds
            total += f" ({format_duration(abs(spare))} {'to spare' if spare >= 0 else 'over'})"
        lines += ["", total, header]
        for stage in estimate.stages:
            cells = zip(_describe(stage), widths, strict=True)
            lines.append("  " + line(cell.rjust(width) for cell, width in cells))
    if any(not stage.measured for estimate in estimates for stage in estimate.stages):
        lines += ["", "* not timed at this size and mask ratio: scaled by FLOPs from the figures given"]
    if any(stage.bottleneck == LOADER for estimate in estimates for stage in estimate.stages):
        lines += ["", "Where the loader limits, more cores per device than the last column give the step's speed."]
    return "\n".join([*lines, *(f"- {note}" for note in notes)])


def draw_plan(
    estimates: Sequence[Estimate], path: str | Path, *, source: str, budget_seconds: float | None = None
) -> None:
    """Writes a PNG: one bar per schedule, a segment per stage, coloured by size and hatched where the loader limits."""
    with extra("plots", "the picture of a plan"):
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

    longest = max(estimate.seconds for estimate in estimates)
    unit, name = (3600, "hours") if longest >= 2 * 3600 else (60, "minutes") if longest >= 120 else (1, "seconds")
    sizes = sorted({stage.resolution for estimate in estimates for stage in estimate.stages})
    shade = {size: 0.25 + 0.6 * (i + 1) / len(sizes) for i, size in enumerate(sizes)}
    figure = Figure(figsize=(9, 1.6 + 0.55 * len(estimates)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    blues = colormaps["Blues"]
    axes = figure.add_subplot()
    for row, estimate in enumerate(estimates):
        left = estimate.start_seconds / unit
        axes.barh(row, left, color="0.8")
        for stage in estimate.stages:
            width = stage.seconds / unit
            hatch = "//" if stage.bottleneck == LOADER else None
            axes.barh(row, width, left=left, color=blues(shade[stage.resolution]), edgecolor="white", hatch=hatch)
            if stage.seconds > 0.07 * longest:
                ink = "white" if shade[stage.resolution] > 0.55 else "black"
                axes.text(left + width / 2, row, str(stage.resolution), ha="center", va="center", color=ink)
            left += width
        total = f" {format_duration(estimate.seconds)}, {estimate.epochs} epochs"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # the budget's line passes behind the words
        axes.text(left, row, total, va="center", fontsize=8, bbox=ground)
    if budget_seconds is not None:
        axes.axvline(budget_seconds / unit, color="crimson", linestyle="--")
    axes.set_yticks(range(len(estimates)), [estimate.name for estimate in estimates])
    axes.invert_yaxis()
    axes.set_xlim(0, max(longest, budget_seconds or 0.0) / unit * 1.3)
    axes.set_xlabel(name)
    axes.set_title(f"Time per schedule ({source or 'source not stated'})", fontsize=10)
    keys = [Patch(facecolor=blues(shade[size]), label=f"{size} pixels") for size in sizes]
    keys.append(Patch(facecolor="0.8", label="start-up"))
    if any(stage.bottleneck == LOADER for estimate in estimates for stage in estimate.stages):
        keys.append(Patch(facecolor="white", edgecolor="0.4", hatch="//", label="loader limits"))
    if budget_seconds is not None:
        keys.append(Patch(facecolor="crimson", label=f"budget {format_duration(budget_seconds)}"))
    axes.legend(handles=keys, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    canvas.print_png(str(path))
