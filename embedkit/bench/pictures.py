"""Pictures of the paper's tables: what a system reaches over what it costs."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from embedkit.bench.paper import Row
from embedkit.bench.systems import parameters_at_527
from embedkit.pages.plots import mark_points


def over_parameters(rows: Sequence[Row]) -> Figure:
    """Weighted AUC over parameters, with one point for each system."""
    return _picture(
        rows,
        "Weighted AUC over parameters",
        ("parameters at 527 classes", lambda row: parameters_at_527(row.system.model)),
        ("weighted AUC of held-out clips", lambda row: row.figures["weighted_auc"]),
    )


def over_bytes(rows: Sequence[Row]) -> Figure:
    """What vectors are worth to logistic regression over their bytes, one point for each system."""
    several = "accuracy" not in rows[0].figures
    figure = "mAP" if several else "accuracy"
    return _picture(
        rows,
        f"{figure} by logistic regression over bytes",
        ("bytes for an hour of audio", lambda row: row.bytes_an_hour),
        (
            f"{figure} of held-out clips, logistic regression on the vectors",
            lambda row: row.products["logistic"],
        ),
    )


Axis = tuple[str, Callable[[Row], float]]


def _picture(rows: Sequence[Row], title: str, across: Axis, up: Axis) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    points = np.array([(across[1](row), up[1](row)) for row in rows], np.float64)
    for number, (row, (x, y)) in enumerate(zip(rows, points, strict=True), start=1):
        # Its number covers a point; what a number that had to move points at must be seen.
        axes.scatter(x, y, color="#0072b2", s=6, label=f"{number}  {row.system.name}")
    axes.set_xscale("log")
    axes.set(xlabel=across[0], ylabel=up[0])
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        loc="outside right upper", frameon=False, fontsize=8.5, markerscale=0, handlelength=0
    )
    mark_points(figure, axes, [str(number) for number in range(1, len(rows) + 1)], points)
    words = (f"{row.system.name} {up[1](row):.3f}" for row in rows)
    figure.set_label(f"{title}: {', '.join(words)}.")
    return figure
