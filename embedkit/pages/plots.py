"""Figures of a training, of a classifier, and of embeddings.

Every picture is a `matplotlib.figure.Figure` made without pyplot, so that no display is needed and
no figure is kept alive in a global list. A figure carries a description of what it shows as its
label (`Figure.get_label`), which becomes the alternative text of the picture on a page.

Names of clips and classes come from other people's folders: `$` is no start of a formula.
"""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from embedkit.atomic import atomic_write

# Okabe and Ito's colours, which people with any colour vision tell apart, without the yellow that
# is too pale on white. Seven colours and eight markers have no common factor: 56 classes pass
# before a pair of colour and marker comes again, and neighbours in the list differ in both.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<")

FEW_CLASSES = 20  # as many get their counts in a confusion matrix, and their names in a map
NAME_LENGTH = 32  # characters of a class name shown in a figure
WIDTH = 9.0  # of a chart in inches, which fills the page of a small laptop
LEGEND_CHARACTERS = 118  # side by side in a legend of that width


def axis_of(record: Mapping[str, float]) -> str:
    """The axis of a training's figures: epochs, or segments where each is heard once."""
    return "epoch" if "epoch" in record else "segments"


def training_curves(epochs: Sequence[Mapping[str, float]]) -> Figure:
    """Loss on the left; the other figures of the validation set on the right.

    Raises:
        ValueError: there are no epochs.
    """
    if not epochs:
        raise ValueError("no epochs to draw")
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained", facecolor="white")
    loss, score = figure.subplots(1, 2)
    curves = [
        (loss, "train_loss", "training", COLOURS[1], "--"),
        (loss, "validation_loss", "validation", COLOURS[0], "-"),
        (score, "validation_accuracy", "accuracy", COLOURS[0], "-"),
        (score, "validation_map", "mean average precision", COLOURS[2], "--"),
    ]
    distilled = [key for key in epochs[0] if key.startswith("validation_r2_")]
    for key, colour in zip(distilled, cycle(COLOURS), strict=False):
        curves.append((score, key, f"R2 of {key.removeprefix('validation_r2_')}", colour, "-"))
    words, axis = [], axis_of(epochs[0])
    for axes, key, name, colour, style in curves:
        if key not in epochs[0]:
            continue
        values = [epoch[key] for epoch in epochs]
        steps = [epoch[axis] for epoch in epochs]
        # The dots show a run of one epoch, which has no line.
        axes.plot(steps, values, label=name, color=colour, ls=style, marker="o", markersize=3)
        words.append(f"{key.replace('_', ' ')} {values[0]:.3g} to {values[-1]:.3g}")
    loss.set(title="Loss", xlabel=axis)
    score.set(title="Score on validation clips", xlabel=axis, ylim=(0, 1.02))
    for axes in (loss, score):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e4e4", linewidth=0.7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.lines:  # a validation set may have no class with a figure
            axes.legend(frameon=False)
    points = "epochs" if axis == "epoch" else "checkpoints"
    figure.set_label(f"Curves over {len(epochs)} {points}, first to last: {'; '.join(words)}.")
    return figure


def confusion_matrix(counts: NDArray[np.integer[Any]], labels: Sequence[str]) -> Figure:
    """Picture of a confusion matrix.

    A cell's colour is its share of its row, so that rare classes show as clearly as common ones.

    Args:
        counts: [C, C]; rows are the true class, columns the predicted one.
        labels: names of the classes.

    Returns:
        the figure.

    Raises:
        ValueError: there are not as many labels as classes.
    """
    classes = len(labels)
    if counts.shape != (classes, classes):
        raise ValueError(f"counts of shape {counts.shape} for {classes} labels")
    # A class without clips has a row of zeros, which stays zeros.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_shown(label) for label in labels]
    side = min(2.6 + 0.3 * classes + 0.07 * max(map(len, names)), 10.2)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained", facecolor="white")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.6, aspect=30)
    font = 9.0 if classes <= FEW_CLASSES else 7.0
    axes.set_xticks(range(classes), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), names)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set(fontsize=font, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    if classes <= FEW_CLASSES:
        _write_counts(axes, counts, shares)
    figure.set_label(_confusion_in_words(counts, names))
    return figure


def _write_counts(
    axes: Axes, counts: NDArray[np.integer[Any]], shares: NDArray[np.floating[Any]]
) -> None:
    """Write each of counts [C, C] into its cell, zeros faintly, on the colour of its share."""
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            fontsize=8,
            color="#a0a0a0" if count == 0 else "black" if shares[row, column] < 0.6 else "white",
            in_layout=False,  # what lies inside the axes needs no room beside them
        )


def _confusion_in_words(counts: NDArray[np.integer[Any]], names: Sequence[str]) -> str:
    """Say how many of counts [C, C] are right, and what is mistaken for what most often."""
    words = f"Confusion matrix of {len(names)} classes: {counts.trace()} of {counts.sum()} right."
    wrong = counts - np.diag(np.diag(counts))
    if wrong.any():
        true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
        words += f" Most frequent error: {names[true]} taken for {names[predicted]},"
        words += f" {wrong[true, predicted]} times."
    return words


def embedding_map(points: NDArray[np.floating[Any]], labels: Sequence[str]) -> Figure:
    """Picture of points in a plane, coloured and shaped by their labels.

    The names of the classes stand in the picture.

    Args:
        points: [N, 2].
        labels: label of each [N].

    Returns:
        the figure.

    Raises:
        ValueError: there are not as many labels as points.
    """
    if points.shape != (len(labels), 2) or len(labels) == 0:
        raise ValueError(f"points of shape {points.shape} for {len(labels)} labels")
    owners = np.array(labels, dtype=object)
    names = sorted(set(labels))
    shown = [_shown(name) for name in names]
    marks = shown
    if len(names) > FEW_CLASSES:
        # So many names would hide the points: numbers stand for them, which the legend explains.
        marks = [str(number) for number in range(1, len(names) + 1)]
        shown = [f"{mark}  {name}" for mark, name in zip(marks, shown, strict=True)]
    columns = max(1, int(LEGEND_CHARACTERS / (max(map(len, shown)) + 5)))
    height = 5.8 + 0.19 * math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for index, name in enumerate(names):
        x, y = points[owners == name].T
        # Thousands of dots as shapes would make the page heavy: only text and lines stay vectors.
        axes.scatter(
            x,
            y,
            s=22,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            alpha=0.7,
            linewidths=0,
            rasterized=True,
        )
    # Distances mean the same in both directions; the directions themselves mean nothing.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d0d0d0")
    # The legend comes first: it takes room from the axes, and so moves what is drawn in them.
    _add_legend(figure, axes, shown, columns)
    medians = np.array([np.median(points[owners == name], axis=0) for name in names])
    mark_points(figure, axes, marks, medians)
    figure.set_label(f"Map of {len(labels)} segments in {len(names)} classes: {', '.join(shown)}.")
    return figure


def _add_legend(figure: Figure, axes: Axes, names: Sequence[str], columns: int) -> None:
    """Put the key of colours and markers under the axes, where it covers no point."""
    legend = figure.legend(
        axes.collections,
        # Matplotlib 3.9 refuses entries whose name starts with "_": the names come afterwards.
        ["class"] * len(names),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        markerscale=1.4,
        handletextpad=0.2,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def mark_points(
    figure: Figure, axes: Axes, marks: Sequence[str], medians: NDArray[np.floating[Any]]
) -> None:
    """Write each mark at its point, or near it with a line where marks crowd.

    Args:
        figure: the figure.
        axes: its axes.
        marks: the texts [C].
        medians: the points [C, 2].
    """
    texts = [
        axes.annotate(
            mark,
            xy=(x, y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            parse_math=False,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.8},
            arrowprops={"arrowstyle": "-", "color": "#404040", "linewidth": 0.6},
            in_layout=False,
        )
        for mark, (x, y) in zip(marks, medians, strict=True)
    ]
    # Only a laid out figure knows the size of its words and the scale of its axes.
    with page_settings():
        figure.draw_without_rendering()
    boxes = [text.get_bbox_patch() for text in texts]
    sizes = np.array([box.get_window_extent().size for box in boxes if box is not None])
    anchors = axes.transData.transform(medians)
    shifts = _spread(anchors, sizes, axes.bbox.y0, axes.bbox.y1) - anchors
    for text, shift in zip(texts, shifts * 72 / figure.dpi, strict=True):
        text.set_position((shift[0], shift[1]))


def _spread(
    centres: NDArray[np.floating[Any]], sizes: NDArray[np.floating[Any]], low: float, high: float
) -> NDArray[np.floating[Any]]:
    """Centres [C, 2] of boxes of sizes [C, 2], moved up and down until the boxes lie apart.

    All are in pixels; the boxes stay between the heights `low` and `high`, and where there is no
    room for all of them they still overlap.
    """
    moved = centres.copy()
    reach = (sizes[:, None] + sizes[None]) / 2 + 2  # a little air between them
    # Of two boxes at one height the first goes up.
    order = np.sign(np.arange(len(sizes))[None] - np.arange(len(sizes))[:, None])
    for _ in range(500):
        apart = moved[:, None] - moved[None]
        overlap = reach - np.abs(apart)
        hit = (overlap > 0).all(axis=2) & (order != 0)
        if not hit.any():
            break
        direction = np.where(apart[:, :, 1] == 0, order, np.sign(apart[:, :, 1]))
        moved[:, 1] += 0.3 * (hit * direction * overlap[:, :, 1]).sum(axis=1)
        moved[:, 1] = moved[:, 1].clip(low + sizes[:, 1] / 2, high - sizes[:, 1] / 2)
    return moved


def _shown(name: str) -> str:
    """A class name for a figure: not too long, and free of characters that XML cannot hold."""
    if len(name) > NAME_LENGTH:
        name = name[: NAME_LENGTH - 1] + "…"
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cs", "Cn"} else c for c in name)


def spectrogram(features: NDArray[np.floating[Any]], duration_s: float) -> Figure:
    """Small picture of log-mel features: time in seconds, with low bands at the foot.

    Args:
        features: [frames, bands].
        duration_s: length of the sound in seconds.

    Returns:
        the figure.
    """
    figure = Figure(figsize=(2.8, 1.4), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(
        features.T,
        origin="lower",
        aspect="auto",
        extent=(0.0, duration_s, 0.0, float(features.shape[1])),
        cmap="magma",
        interpolation="none",
    )
    axes.set_axis_off()
    figure.set_label(f"Log-mel spectrogram of {duration_s:.3g} s, low frequencies at the bottom.")
    return figure


def size_curves(curves: Mapping[str, Sequence[tuple[float, float]]], quality: str) -> Figure:
    """Quality over megabytes for an hour of audio, with a line of points for each way.

    Args:
        curves: points (MB, quality) by the name of the way.
        quality: name of the measure of quality.

    Returns:
        the figure.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items()):
        x, y = zip(*sorted(points), strict=True)
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(x, y, marker=marker, label=name, color=COLOURS[number % len(COLOURS)])
    axes.set_xscale("log", base=2)
    ticks = sorted({x for points in curves.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="MB for an hour of audio", ylabel=quality)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.legend(frameon=False)
    figure.set_label(f"{quality} over megabytes an hour: {', '.join(curves)}.")
    return figure


def threshold_curves(
    thresholds: NDArray[np.floating[Any]], curves: Mapping[str, NDArray[np.floating[Any]]]
) -> Figure:
    """Shares between 0 and 1 over thresholds; NaN is left out.

    Args:
        thresholds: [n].
        curves: shares [n] by name.

    Returns:
        the figure.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for (name, values), colour, style in zip(
        curves.items(), COLOURS, ("-", "--", "-."), strict=False
    ):
        axes.plot(thresholds, values, label=name, color=colour, ls=style)
    axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.legend(frameon=False)
    figure.set_label(f"{', '.join(curves)} over the threshold.")
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, completely or not at all.

    Args:
        figure: the figure.
        path: the file.
    """
    with page_settings(), atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


@contextmanager
def page_settings() -> Iterator[None]:
    """Set matplotlib as the page needs it, and restore its settings afterwards."""
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "embedkit"}),
        warnings.catch_warnings(),
    ):
        # Text stays text, which is small and drawn by the browser with the reader's fonts. That
        # matplotlib's own font lacks, say, Chinese does not matter then.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
