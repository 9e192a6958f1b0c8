"""Draw docs/stretches.png: which segment has a label, as the rule itself says it.

Run: python docs/stretches.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

from embedkit.labels.stretches import Marked, Rule, Stretch, segment_targets

START = np.arange(4.0)
END = np.array([1, 2, 3, 3.4])  # the last one is padded, and ends with the clip
CASES = (
    ("half of the segment is covered", [(0.5, 1)]),
    ("half of the stretch lies in it", [(1.85, 2.15)]),
    ("the outer segments are only touched", [(0.7, 2.2)]),
    ("united: together half of it", [(1.1, 1.3), (1.3, 1.6)]),
    ("a padded segment counts by its real end", [(3.1, 3.4)]),
    ("a moment", [(2.4, 2.4)]),
)
COLOURS = {1.0: "#4a90c4", 0.0: "#f2f2f2"}
MEANING = ((COLOURS[1.0], "", "has the label"), ("white", "////", "left out"),
           (COLOURS[0.0], "", "has it not"))  # fmt: skip


def draw(path: Path) -> None:
    """Draw the cases, one below the other, and what the colours mean."""
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=100)
    for row, (what, spans) in enumerate(CASES):
        stretches = [Stretch(clip="", start_s=a, end_s=b, label="x") for a, b in spans]
        rule = Rule(marked=Marked.ALL)
        for start, end, value in zip(
            START, END, segment_targets(START, END, stretches, ["x"], rule)[:, 0], strict=True
        ):
            colour, hatch = COLOURS.get(float(value), "white"), "////" * bool(np.isnan(value))
            box = (end - start, 0.5, colour, hatch)
            axes.barh(row, box[0], box[1], start, color=colour, hatch=hatch, edgecolor="#888")
        axes.barh(row, 0.6, 0.5, 3.4, color="none", edgecolor="#bbb", linestyle=":")
        for first, last in spans:
            axes.plot([first, last], [row - 0.36] * 2, "|-", color="#c0392b", linewidth=3)
            if first == last:
                axes.plot(first, row - 0.36, "o", color="#c0392b", markersize=5)
        axes.text(4.15, row, what, va="center")
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor="#888")
        for colour, hatch, _ in MEANING
    ]
    handles.append(plt.Line2D([], [], color="#c0392b", linewidth=3))
    axes.legend(
        handles, [*(name for *_, name in MEANING), "marked"], loc="lower left",
        bbox_to_anchor=(0, 1), ncols=4, frameon=False,
    )  # fmt: skip
    axes.set(xlim=(-0.05, 7.2), ylim=(len(CASES) - 0.4, -0.7), yticks=[], xticks=range(5))
    axes.set_xlabel("seconds", loc="left")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
