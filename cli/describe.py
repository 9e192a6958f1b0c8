"""embedkit describe: when and where the files of an embedding folder were recorded."""

from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._output import Json, message, print_json, print_table, track

SHOWN = 20  # sites


@app.command()
def describe(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    timezone: Annotated[
        str | None,
        typer.Option(
            help="The timezone of the sites, such as Europe/Berlin, or an offset"
            " that holds all year, such as UTC+1."
        ),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(
            help="The timezone that the recorders' clocks were set to, such as UTC, where"
            " names and headers do not tell it.",
            show_default="that of the site",
        ),
    ] = None,
    site_pattern: Annotated[
        str | None,
        typer.Option(
            help="Where the site stands in a path: '{site}/*', '*/{site}_*', or a regular"
            " expression with a group (?P<site>...)."
        ),
    ] = None,
    sites: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file of places: path (of files or folders) or site; and site,"
            " latitude, longitude, timezone."
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio-root",
            help="The folder that the sounds are in.",
            show_default="where they were embedded",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Note when and where each file was recorded, without embedding anything again.

    The time is the recorder's: from GUANO or an AudioMoth's comment in the file, else from the
    file's name, as AudioMoth, Song Meter and many others write it. Run it again with the same
    options when files have been added.

    Example: embedkit describe embeddings --timezone Europe/Berlin --site-pattern '{site}/*'
    """
    from embedkit.field.describe import Sources
    from embedkit.field.describe import describe as find
    from embedkit.field.recordings import Recordings, cover
    from embedkit.field.sites import Places, SitePattern
    from embedkit.store import EmbeddingTable, note

    sources = Sources(
        timezone=timezone,
        clock=clock,
        pattern=None if site_pattern is None else SitePattern(site_pattern),
        places=None if sites is None else Places(sites),
        root=audio,
    )
    found = find(EmbeddingTable.open(emb_dir), sources, track)
    note(emb_dir, found.notes)
    if found.unread:
        message(
            f"{found.unread:,} of {len(found.notes):,} files could not be opened, so that their"
            f" names alone were read; the last one: {found.reason}"
        )
    if found.doubtful:
        message(
            f"the names of {len(found.doubtful):,} files tell another time than what their recorder"
            f" wrote into them, which was taken; the first one: {found.doubtful[0]}"
        )
    if sources.places is not None and sources.places.unused:
        unused = sources.places.unused
        message(
            f"{sites}: no file was found for {len(unused):,} places; the first one: {unused[0]}"
        )
    known = cover(Recordings(EmbeddingTable.open(emb_dir)))
    if json:
        times = {name: str(getattr(known, name) or "") or None for name in ("first", "last")}
        print_json({**vars(known), **times})
        return
    print_table(
        ["what", "value"],
        [
            ["files", known.files],
            ["with a time", known.with_time],
            ["with a site", known.with_site],
            ["first", known.first or "none"],
            ["last", known.last or "none"],
            *([f"at {site}", count] for site, count in list(known.sites.items())[:SHOWN]),
        ],
    )
    if len(known.sites) > SHOWN:
        message(f"the first {SHOWN} of {len(known.sites)} sites are listed")
