"""How commands name labels that have a beginning and an end, and the rule for them."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError, choices

if TYPE_CHECKING:
    from embedkit.labels.stretches import Rule

timed = partial(typer.Option, rich_help_panel="Labels with times")

LabelColumn = Annotated[
    str,
    typer.Option(
        help="The column that holds the labels.", show_default="the one that is called so"
    ),
]
MarkedName = Annotated[
    str,
    timed(
        "--marked",
        help="What unmarked sound means. all: everything was marked, so no label is there."
        " some: it is unknown.",
    ),
]
Cover = Annotated[
    float,
    timed(
        help="A segment has a label if stretches of it cover this share of the segment, ...",
        min=0,
        max=1,
    ),
]
Within = Annotated[
    float, timed(help="... or if this share of one stretch lies in the segment.", min=0, max=1)
]


def parse_rule(marked: str, cover: float, within: float) -> "Rule":
    """Make the rule by which segments get the labels of stretches.

    Args:
        marked: `all` or `some`, as `--marked` takes it.
        cover: the share of a segment that stretches of a label must cover.
        within: the share of a stretch that must lie in the segment.

    Returns:
        the rule.

    Raises:
        UsageError: `marked` is neither `all` nor `some`.
    """
    from embedkit.labels.stretches import Marked, Rule

    if marked not in set(Marked):
        raise UsageError(f"--marked: no {marked!r}{choices(marked, Marked)}")
    return Rule(cover=cover, within=within, marked=Marked(marked))
