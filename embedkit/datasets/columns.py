"""Names of the columns of people's tables: one list for every command that reads a table."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import DatasetError


@dataclass(frozen=True)
class Names:
    """Headings of one meaning.

    Attributes:
        ours: headings that embedkit writes and documents; the first that is there counts.
        others: headings of other tools; one of them counts where none of ours is there.
    """

    ours: tuple[str, ...]
    others: tuple[str, ...] = ()


PATH, LABEL, START, END, VECTOR = "path", "label", "start_s", "end_s", "embedding"
# Of labels with a beginning and an end, by which all tools know them: the first that is there.
SOUND, ANNOTATION, FROM, TO, LASTS = "sound", "annotation", "from", "to", "lasts"
FILE_OFFSET, SIGN = "file_offset", "sign"
NAMES = {
    PATH: Names(
        ("path", "clip"),
        ("file", "filename", "filepath", "file_name", "file_path", "fname", "clip_name", "audio",
         "audio_file", "audio_filename", "audio_filepath", "audio_path", "wav", "wav_path"),
    ),
    LABEL: Names(
        ("label", "labels"),
        ("category", "categories", "class", "classes", "class_name", "class_label", "tag", "tags"),
    ),
    START: Names(("start_s",), ("start", "start_time", "begin_time", "begin_time_s", "timestamp")),
    END: Names(("end_s",), ("end", "end_time", "end_time_s")),
    VECTOR: Names(("embedding",), ("embeddings", "vector")),
    SOUND: Names(("begin_path", "begin_file", "recording", "notated_path", "sound_file", "sound")),
    ANNOTATION: Names(
        ("annotation", "annotations", "species", "common_name", "species_name", "scientific_name",
         "species_code", "call", "call_type", "sound_type", "event_label", "event", "event_type",
         "code", "type", "name"),
    ),
    FROM: Names(
        ("start_s", "begin_time_s", "start_offset_s", "onset_s", "start_time_s", "start_sec",
         "start_seconds", "begin_s", "start", "start_time", "begin_time", "begin", "onset",
         "event_onset"),
    ),
    TO: Names(
        ("end_s", "end_time_s", "end_offset_s", "offset_s", "end_sec", "end_seconds", "stop_s",
         "end", "end_time", "stop", "stop_time", "offset", "event_offset"),
    ),
    LASTS: Names(("duration_s", "duration", "length_s")),
    FILE_OFFSET: Names(("file_offset_s",)),  # Raven's: where in its file a selection begins
    SIGN: Names(("sign",), ("label_type",)),
    "fold": Names(("fold",)),
    "split": Names(("split",)),
    "group": Names(("group",)),
    "first": Names(("first",)),
    "second": Names(("second",)),
    "same": Names(("same",)),
    "threshold": Names(("threshold",)),
    "score": Names(("score",)),
    "site": Names(("site",), ("station", "location", "site_id", "site_name", "location_id")),
    "latitude": Names(("latitude",), ("lat",)),
    "longitude": Names(("longitude",), ("lon", "lng", "long")),
    "timezone": Names(("timezone",), ("time_zone", "tz")),
}  # fmt: skip
KNOWN = frozenset(name for names in NAMES.values() for name in (*names.ours, *names.others))
SEVERAL = frozenset({"labels", "categories", "classes", "tags"})  # several labels in a cell

# A heading with one of these words says where something begins or ends, ...
EDGES = frozenset(
    ("start", "starts", "begin", "begins", "beg", "beginning", "end", "ends", "stop", "stops",
     "onset", "onsets", "offset", "offsets", "starttime", "begintime", "endtime", "stoptime",
     "tstart", "tend", "tmin", "tmax", "xmin", "xmax", "t0", "t1", "t2")
)  # fmt: skip
# ... or one of these with a word for time, or alone with others of them: `t_min`, `from` and `to`.
BOUNDS = frozenset({"from", "to", "min", "max"})
TIME = frozenset({"t", "time", "times", "s", "sec", "secs", "seconds", "ms"})
# But not within a clip if one of these stands there: `start_date`, `Recording start`, `offset_db`.
ELSEWHERE = frozenset(
    ("date", "dates", "datetime", "day", "month", "year", "clock", "utc", "gmt", "recording",
     "recorder", "session", "deployment", "survey", "study", "project", "season", "db", "dc",
     "gain", "freq", "frequency", "hz", "khz", "lat", "latitude", "lon", "lng", "longitude",
     "depth", "altitude", "elevation", "temp", "temperature", "battery", "voltage", "row", "line")
)  # fmt: skip
A_TIME = re.compile(
    r"[^\w.]*\.?(pt)?\d", re.IGNORECASE
)  # how a cell begins: `1,5`, `00:05`, `PT5S`
NO_TIME = re.compile(  # a date, or the name of a file
    r"\d{4}[-/]\d{1,2}[-/]\d|\d{1,2}[./-]\d{1,2}[./-]\d{2}|.*\.[a-z]\w*$", re.IGNORECASE
)


def normal(heading: str) -> str:
    """A heading without capitals, spaces and signs: `Begin Time (s)` is `begin_time_s`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFC", heading))
    return re.sub(r"[\W_]+", "_", words.casefold()).strip("_")


def find(meaning: str, headings: Iterable[str], path: Path) -> str | None:
    """The column of a meaning.

    Args:
        meaning: a key of NAMES.
        headings: headings of all columns of a table.
        path: the table, for the message.

    Returns:
        its heading; None if there is none.

    Raises:
        DatasetError: two columns have this meaning.
    """
    names = NAMES[meaning]
    there = [heading for heading in headings if normal(heading) in names.ours + names.others]
    for name in names.ours:
        same = [heading for heading in there if normal(heading) == name]
        if same:
            there = same
            break
    if len(there) > 1:
        raise DatasetError(
            f"{path}: the columns {' and '.join(map(repr, there))} all claim to be the"
            f" {names.ours[0]}; rename the right one to `{names.ours[0]}`"
            + ", and the other ones too"
            * (len({*map(normal, there)}) == 1)
        )
    return there[0] if there else None


def require(meaning: str, headings: Iterable[str], path: Path, hint: str = "") -> str:
    """The column of a meaning, which must be there.

    Args:
        meaning: a key of NAMES.
        headings: headings of all columns of a table.
        path: the table, for the message.
        hint: the end of the message that there is none.

    Returns:
        its heading.

    Raises:
        DatasetError: there is none, or two columns have this meaning.
    """
    found = find(meaning, headings, path)
    if found is None:
        first, *others = (*NAMES[meaning].ours, *NAMES[meaning].others)
        also = f" (or {', '.join(others)})" if others else ""
        raise DatasetError(
            f"{path}: has no column {first}{also}; it has: {', '.join(headings) or 'no rows'}{hint}"
        )
    return found


def tells_times(heading: str) -> bool:
    """Whether a column may say where in a clip something begins or ends: `onset`, `t_min`."""
    words = set(normal(heading).split("_"))
    bounds = bool(words & BOUNDS) and words <= BOUNDS | TIME and not words <= {"min", "max"}
    return (bounds or bool(words & EDGES)) and not words & ELSEWHERE


def is_time(text: str) -> bool:
    """Whether a cell of such a column holds a time: a number, or hours, minutes and seconds."""
    text = text.strip()
    return bool(A_TIME.match(text)) and not NO_TIME.match(text)
