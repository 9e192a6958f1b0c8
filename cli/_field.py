"""Options of commands that look at recordings of some time or place alone."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import message

if TYPE_CHECKING:
    from embedkit.field.filters import FieldFilter
    from embedkit.store import EmbeddingTable

option = partial(typer.Option, rich_help_panel="When and where (see embedkit describe)")

After = Annotated[
    str | None,
    option(
        help="Take what was recorded from then on: 2023-05-01, 2023-05-01T04:30 by the site's"
        " clocks, or 2023-05-01T04:30Z."
    ),
]
Before = Annotated[
    str | None, option(help="Take what was recorded before then; written as --after is.")
]
InHours = Annotated[
    str | None,
    option(
        "--hours",
        help="Take what was recorded in these hours by the site's clocks: 4-9, 4:30-9, 22-4.",
    ),
]
Sites = Annotated[
    list[str] | None, option("--site", help="Take what was recorded at this site. Repeatable.")
]


def field_filter(
    table: "EmbeddingTable",
    after: str | None,
    before: str | None,
    hours: str | None,
    sites: list[str] | None,
) -> "FieldFilter | None":
    """Make the filter that the options ask for.

    Args:
        table: the collection.
        after: the earliest time, as `--after` takes it; None: any.
        before: the time from which on nothing is taken; None: any.
        hours: the hours of the day by the site's clocks; None: all.
        sites: the sites to take; None or empty: all.

    Returns:
        the filter, or None if no option is given.

    Raises:
        UsageError: a time or an hour cannot be read.
    """
    from embedkit.field.filters import FieldFilter
    from embedkit.field.recordings import Recordings

    if after is None and before is None and hours is None and not sites:
        return None
    asked = FieldFilter.parse(
        Recordings(table), after=after, before=before, hours=hours, sites=sites or ()
    )
    if asked.unknown:
        message(
            f"{asked.unknown:,} of {len(asked.recordings.notes):,} files are left out: when or"
            " where they were recorded is not known (embedkit describe)"
        )
    return asked
