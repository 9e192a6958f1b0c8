"""A picture of what was found at which hour of which day."""

import matplotlib
import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from embedkit.field.calendar import Calendar
from embedkit.pages.plots import WIDTH

MOST = 12  # labels of a picture
HEIGHT = 2.6  # of a label's calendar, in inches
COLOURS = matplotlib.colormaps["Blues"]  # from nothing, which is nearly white, on
GREY = "#c8c8c8"
STEPS = 9  # of colour, at most


def draw_calendar(calendar: Calendar) -> Figure:
    """For each label a field of days and hours, as dark as much was found.

    Hours of which nothing was recorded, or looked at, are grey: nothing was found there since
    nothing could be. Of many labels the 12 are drawn of which most was found.
    """
    counts = calendar.counts
    labels = sorted(counts, key=lambda label: (-counts[label].sum(), label))[:MOST]
    figure = Figure(
        figsize=(WIDTH, HEIGHT * max(1, len(labels)) + 0.6), layout="constrained", facecolor="white"
    )
    first = np.datetime64(calendar.first, "D")
    days = np.arange(first, first + len(calendar.recorded) + 1)
    fields = figure.subplots(max(1, len(labels)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, label in zip(fields, labels, strict=True):
        found = counts[label]
        shown = np.ma.masked_array(found, ~calendar.recorded)
        steps = np.unique(np.linspace(0, max(1, found.max()) + 1, STEPS + 1).round())
        mesh = axes.pcolormesh(
            days,
            np.arange(25),
            shown.T,
            cmap=COLOURS,
            norm=BoundaryNorm(steps, COLOURS.N),
        )
        axes.set_facecolor(GREY)
        axes.set_title(f"{label}: {found.sum():,}", loc="left", fontsize=10, parse_math=False)
        axes.set_ylabel("hour")
        axes.set_yticks(range(0, 25, 6))
        figure.colorbar(mesh, ax=axes, ticks=steps[:-1], format="%d", label="detections")
    locator = AutoDateLocator(minticks=2, maxticks=10)  # type: ignore[no-untyped-call]
    concise = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    fields[-1].xaxis.set_major_locator(locator)
    fields[-1].xaxis.set_major_formatter(concise)
    figure.legend(
        handles=[Patch(facecolor=GREY, label="not recorded, or not looked at")],
        loc="outside lower right",
        fontsize=8,
    )
    figure.set_label(
        f"Detections by day and hour of {', '.join(labels) or 'no label'}, from {calendar.first}"
    )
    return figure
