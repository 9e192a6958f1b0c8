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
    typer.Option(help="Which column holds the labels.", show_default="the one that is called so"),
]
MarkedName = Annotated[
    str,
    timed(
        "--marked",
        help="all: where nothing is marked, there is nothing. some: there, nothing is known.",
    ),
]
Cover = Annotated[
    float, timed(help="A segment has a label that covers this share of it, ...", min=0, max=1)
]
Within = Annotated[
    float, timed(help="... or of which a stretch lies in it with this share.", min=0, max=1)
]


def parse_rule(marked: str, cover: float, within: float) -> "Rule":
    """The rule that the options say."""
    from embedkit.labels.stretches import Marked, Rule

    if marked not in set(Marked):
        raise UsageError(f"--marked: no {marked!r}{choices(marked, Marked)}")
    return Rule(cover=cover, within=within, marked=Marked(marked))
