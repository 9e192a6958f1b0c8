"""Describes the files of an embedding folder: when and where they were recorded.

The start of a recording is taken from what its recorder stated, in this order:

1. the GUANO timestamp in the file, else the comment of an AudioMoth in it;
2. the file's name.

The first of them that has an offset from UTC is an instant. Where none has, the first one is what
the recorder's clock showed, and the clock's timezone makes it an instant. In autumn a clock goes
through one hour twice; the first time is meant.

The site comes from the table of places, else from the pattern in the path. The timezone comes from
the table, else from the one that is named for all, else from an earlier description, else from the
offset that the recorder stated. What is not found again stays as an earlier description had it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from embedkit.errors import UsageError, words
from embedkit.field.headers import Stated, read_header
from embedkit.field.names import start_in_name
from embedkit.field.sites import Place, Places, SitePattern
from embedkit.field.zones import find_zone, offset_name
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable, FieldNote, clip_path

NAMED = 3  # clips that a message names
QUARTER_S, DAY_S = 900, 86400
NEAR_S = 2  # by which a name and a header may differ: the file is opened after it is named


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is known beside the files.

    Attributes:
        timezone: the timezone of all sites whose own is not known.
        clock: the timezone that the recorders' clocks were set to; by default that of the site.
        pattern: finds the site in a path.
        places: a table of places.
        root: where the sounds are; by default where they were embedded.
    """

    timezone: str | None = None
    clock: str | None = None
    pattern: SitePattern | None = None
    places: Places | None = None
    root: Path | None = None


@dataclass(kw_only=True)
class Described:
    """What was found.

    Attributes:
        notes: the notes by clip.
        unread: number of files that could not be opened, so that only their names were read.
        reason: what the system said about one of them.
        doubtful: clips whose name tells another time than the file itself, which was taken.
    """

    notes: dict[str, FieldNote] = field(default_factory=dict)
    unread: int = 0
    reason: str = ""
    doubtful: list[str] = field(default_factory=list)


def describe(table: EmbeddingTable, sources: Sources, track: Track = untracked) -> Described:
    """Find when and where the files of a collection were recorded; `store.note` writes it down.

    Args:
        table: the collection.
        sources: what is known beside the files.
        track: shows the progress.

    Returns:
        the notes, and what is doubtful.

    Raises:
        UsageError: there is no such timezone; or a recorder's clock is known and its timezone is
            not, which is never guessed.
    """
    for name in (sources.timezone, sources.clock):
        if name is not None:
            find_zone(name)
    root = sources.root or Path(table.provenance.audio_root)
    found = Described()
    undecided: list[str] = []
    for clip, old in track(table.notes.items(), "Reading names and headers", len(table.notes)):
        stated = _header(clip_path(root, clip), found)
        named = start_in_name(clip)
        place = _place(clip, sources, old)
        clock = sources.clock or place.timezone
        start = _choose([each for each in (stated.start, named) if each is not None])
        if start is not None and start.tzinfo is None:
            if clock is None:
                undecided.append(clip)
                continue
            start = start.replace(tzinfo=find_zone(clock))
        elif start is not None and named is not None and _differ(start, named):
            found.doubtful.append(clip)
        found.notes[clip] = _note(start, place, stated, old)
    if undecided:
        raise UsageError(
            f"{_named(undecided)}: what their recorders' clocks showed is known, and not in which"
            " timezone they went. Say it with --timezone Europe/Berlin, or a timezone for each site"
            " in --sites; of recorders whose clocks went by another one, as AudioMoths by UTC, with"
            " --clock UTC too. Nothing was written"
        )
    return found


def _header(path: Path, found: Described) -> Stated:
    try:
        return read_header(path)
    except OSError as error:
        found.unread += 1
        found.reason = words(error)
        return Stated()


def _choose(starts: Iterable[datetime]) -> datetime | None:
    """The first one with an offset, else the first one."""
    return min(starts, key=lambda start: start.tzinfo is None, default=None)


def _differ(start: datetime, named: datetime) -> bool:
    """Whether a name tells another time, whatever the timezone of its clock."""
    if named.tzinfo is None:
        apart = (start.replace(tzinfo=None) - named).total_seconds()
        rest = apart % QUARTER_S
        return min(rest, QUARTER_S - rest) > NEAR_S or abs(apart) > DAY_S
    return abs((start - named).total_seconds()) > NEAR_S


def _place(clip: str, sources: Sources, old: FieldNote) -> Place:
    site = (sources.pattern and sources.pattern.site(clip)) or old.site
    place = sources.places.find(clip, site) if sources.places else Place()
    other = Place(site, timezone=sources.timezone or old.timezone)
    return place.over(other)


def _note(start: datetime | None, place: Place, stated: Stated, old: FieldNote) -> FieldNote:
    zone = place.timezone
    if zone is None and start is not None:
        zone = offset_name(start)
    positions = (
        (place.latitude, place.longitude),
        (stated.latitude, stated.longitude),
        (old.latitude, old.longitude),
    )
    latitude, longitude = next((each for each in positions if None not in each), (None, None))
    return FieldNote(
        recorded_at=old.recorded_at if start is None else start.astimezone(UTC),
        timezone=zone,
        site=place.site,
        latitude=latitude,
        longitude=longitude,
    )


def _named(clips: list[str]) -> str:
    more = f" and {len(clips) - NAMED:,} more" if len(clips) > NAMED else ""
    return ", ".join(clips[:NAMED]) + more
