"""A comparison of extractors as a table, a picture and JSON values."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator, NullFormatter

from embedkit.bench.extractors import MAIN, ExtractorRow, Figure
from embedkit.pages.plots import mark_points


def as_values(how: str, rows: Sequence[ExtractorRow], advice: str) -> dict[str, Any]:
    """A comparison as JSON values, with None for NaN.

    Args:
        how: what is held out, in words.
        rows: the extractors.
        advice: the advice in words.

    Returns:
        the values.
    """
    values = [asdict(row) for row in rows]
    for row in values:
        row["speed"] = None if math.isnan(row["speed"]) else row["speed"]
    return {"split": how, "extractors": values, "advice": advice}


def as_table(rows: Sequence[ExtractorRow]) -> tuple[list[str], list[list[str]]]:
    """A heading and lines: a column for each extractor, a line for each figure."""
    lines = [
        ["numbers", *(f"{row.size:,}" for row in rows)],
        ["seconds of a vector", *(f"{row.segment_s:g}" for row in rows)],
        ["MB an hour", *(f"{row.bytes_an_hour / 1e6:.1f}" for row in rows)],
        ["times real time", *(_number(row.speed, ",.0f") for row in rows)],
        ["MB of a worker", *(_number(row.peak_bytes / 2**20 or math.nan, ".0f") for row in rows)],
    ]
    for name in rows[0].figures:
        lines.append([name, *(_figure(row.figures[name]) for row in rows)])
    return ["", *(row.name for row in rows)], lines


def over_costs(rows: Sequence[ExtractorRow]) -> Picture:
    """Quality over bytes, and over speed, with a point and its interval for each extractor."""
    main = next(name for name in MAIN if name in rows[0].figures)
    picture = Picture(figsize=(10, 4.5), layout="constrained", facecolor="white")
    panels = picture.subplots(1, 2, sharey=True)
    costs = (
        ("MB for an hour of audio", [row.bytes_an_hour / 1e6 for row in rows]),
        ("seconds of audio a second", [row.speed for row in rows]),
    )
    marks = [str(number) for number in range(1, len(rows) + 1)]
    for axes, (title, across) in zip(panels, costs, strict=True):
        for number, row, x in zip(marks, rows, across, strict=True):
            figure = row.figures[main]
            label = f"{number}  {row.name}" if axes is panels[0] else None
            ends = [[figure.value - figure.low], [figure.high - figure.value]]
            axes.errorbar(x, figure.value, yerr=ends, fmt="o", color="#0072b2", ms=4, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=title)
        axes.grid(color="#e4e4e4", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel=f"{main}, held-out clips (95 % interval)")
    picture.legend(loc="outside right upper", frameon=False, fontsize=8.5, handlelength=0)
    for axes, (_, across) in zip(panels, costs, strict=True):
        there = [place for place, x in enumerate(across) if not math.isnan(x)]
        points = np.array([(across[place], rows[place].figures[main].value) for place in there])
        if there:
            mark_points(picture, axes, [marks[place] for place in there], points)
    words = (f"{row.name} {row.figures[main].value:.3f}" for row in rows)
    picture.set_label(f"{main} over bytes and over speed: {', '.join(words)}.")
    return picture


def _figure(figure: Figure) -> str:
    worse = "*" if figure.is_worse else ""
    return f"{figure.value:.3f}{worse} ({figure.low:.3f} to {figure.high:.3f})"


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)
