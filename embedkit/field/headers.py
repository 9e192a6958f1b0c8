"""When and where a recording began, by what its recorder wrote into the WAV file.

GUANO is a chunk `guan` of lines `Key: value`; its `Timestamp` and `Loc Position` are read
(https://guano-md.org). AudioMoths write a comment (`ICMT` in `LIST INFO`): `Recorded at 20:00:00
01/01/2023 (UTC+2) by AudioMoth ...`.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

from embedkit.audio.headers import Chunks, find_sound
from embedkit.audio.part import Part

MOST_BYTES = 2**16  # of a chunk that are read
WAVES = (b"RIFF", b"RF64", b"BW64")
AUDIOMOTH = re.compile(
    r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.(\d{3}))? (\d\d)/(\d\d)/(\d{4})"
    r"(?: \(UTC(?:([+-])(\d{1,2})(?::?(\d\d))?)?\))? by AudioMoth"
)


@dataclass(frozen=True)
class Stated:
    """What a file's header states.

    Attributes:
        start: with an offset where it has one, else as the recorder's clock had it.
        latitude, longitude: in degrees.
    """

    start: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_header(path: Path) -> Stated:
    """What a WAV file's recorder wrote into it; nothing of other files.

    Raises:
        OSError: the file cannot be opened.
    """
    stated = Stated()
    with path.open("rb", buffering=0) as raw:
        file = Part.of(raw)
        if file.pread(4, 0) not in WAVES:
            return stated
        for name, start, length in _chunks(file):
            if name == b"guan":  # the standard before the recorder's own
                return _guano(_text(file, start, length), stated)
            if name == b"LIST" and file.pread(4, start) == b"INFO":
                stated = _info(file, start + 4, start + length) or stated
    return stated


def _chunks(file: Part) -> Iterator[tuple[bytes, int, int]]:
    """The chunks before the sound and behind it."""
    sound = find_sound(file)
    if sound is None or sound.chunks is None:
        return iter(())
    behind = sound.start + sound.stated
    return chain(
        sound.chunks.walk(file, sound.chunks.first, sound.start),
        sound.chunks.walk(file, behind + behind % 2, file.size),
    )


def _info(file: Part, start: int, end: int) -> Stated | None:
    for name, at, length in Chunks(start, b"").walk(file, start, min(end, start + MOST_BYTES)):
        found = AUDIOMOTH.match(_text(file, at, length)) if name == b"ICMT" else None
        if found:
            return Stated(_audiomoth(found))
    return None


def _audiomoth(found: re.Match[str]) -> datetime | None:
    *numbers, sign, hours, minutes = found.groups(default="0")
    hour, minute, second, milliseconds, day, month, year = map(int, numbers)
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month, day, hour, minute, second, 1000 * milliseconds, zone)
    except ValueError:
        return None


def _guano(text: str, other: Stated) -> Stated:
    """What GUANO states; without a start of its own, the start in the AudioMoth's comment."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    start = other.start
    with suppress(ValueError):
        start = datetime.fromisoformat(fields.get("Timestamp", ""))
    with suppress(ValueError):
        latitude, longitude = map(float, fields.get("Loc Position", "").split())
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return Stated(start, latitude, longitude)
    return Stated(start)


def _text(file: Part, start: int, length: int) -> str:
    content = file.pread(min(length, MOST_BYTES), start)
    return content.decode("utf-8", "replace").strip(" \t\r\n\0")
