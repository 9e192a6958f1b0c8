"""Files that a person takes away: the sound of a stretch, or a shortlist as a list or a ZIP."""

import csv
import io
import os
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import soundfile
from fastapi import HTTPException

from embedkit.audio.decode import open_file
from embedkit.audio.excerpts import excerpts
from embedkit.errors import AudioError, EmbedkitError, Kind
from embedkit.web.asked import Item
from embedkit.web.cards import Cards
from embedkit.web.media import CHUNK
from embedkit.web.sound import LONGEST_S

MOST_BYTES = 2 * 10**9  # of a ZIP; below what needs ZIP64
SAMPLE_BYTES = 3  # of a cut: 24 bits hold what a file of 8, 16 or 24 has
FAILED = "not-taken.txt"  # in a ZIP: what could not be read


class Taken(NamedTuple):
    """A sound of a shortlist, or a stretch of it.

    Attributes:
        name: name of the clip.
        path: its file.
        span: start_s and end_s, if it is a stretch.
        duration_s: length of the clip in seconds.
        label: label of the clip; empty: none.
    """

    name: str
    path: Path
    span: tuple[float, float] | None
    duration_s: float
    label: str


def cut(path: Path, start_s: float, end_s: float, track: int) -> bytes:
    """A stretch as a WAV of 24 bits, at the file's own rate and with all its channels.

    Args:
        path: the file.
        start_s: where the stretch begins, in seconds.
        end_s: where it ends.
        track: which of several sound tracks, from 1 on.

    Returns:
        the content of the WAV file.

    Raises:
        AudioError: it has no sound, or cannot be read.
        EmbedkitError: it is longer than two minutes, or ends before it begins.
    """
    _check(start_s, end_s)
    found = next(excerpts(path, [(start_s, end_s)], track), None)
    if found is None:
        raise AudioError(Kind.EMPTY, f"no sound from {start_s:.2f} to {end_s:.2f} s")
    stream = io.BytesIO()
    samples = np.clip(found.samples, -1, 1)
    soundfile.write(stream, samples, found.rate, format="WAV", subtype="PCM_24")
    return stream.getvalue()


def cut_name(name: str, start_s: float, end_s: float) -> str:
    """The file name of a cut.

    Args:
        name: name of the clip.
        start_s: where the cut begins, in seconds.
        end_s: where it ends.

    Returns:
        the name.
    """
    return f"{PurePosixPath(name).stem}_{_brief(start_s)}-{_brief(end_s)}s.wav"


def shortlist(cards: Cards, form: str, items: Iterable[Item]) -> tuple[str, Iterator[bytes]]:
    """A shortlist as a file.

    Args:
        cards: describe its sounds.
        form: csv, m3u or zip.
        items: its sounds.

    Returns:
        the name of the file, and its content piece by piece.

    Raises:
        HTTPException: 404, there is no such clip or form; 413, it is too large.
        EmbedkitError: what is asked for fits no file of the form.
    """
    taken = [_taken(cards, item) for item in items]
    if form == "csv":
        return "shortlist.csv", iter([_csv(taken)])
    if form == "m3u":
        return "shortlist.m3u8", iter([_m3u(taken)])
    if form == "zip":
        _check_size(taken)
        return "shortlist.zip", _zip(taken, cards.collection.track)
    raise HTTPException(404, "csv, m3u or zip")


def _taken(cards: Cards, item: Item) -> Taken:
    collection = cards.collection
    if item.clip >= len(collection.clips):
        raise HTTPException(404, "no such clip")
    span = None
    if item.start_s is not None and item.end_s is not None:
        span = item.start_s, item.end_s
        _check(*span)
    name = collection.clips[item.clip]
    return Taken(
        name, collection.path(item.clip), span, float(collection.seconds[item.clip]),
        cards.answers.labels.get(name, ""),
    )  # fmt: skip


def _check(start_s: float, end_s: float) -> None:
    if not 0 < end_s - start_s <= LONGEST_S:
        raise EmbedkitError(
            f"{start_s:.2f} to {end_s:.2f} s: a cut lasts up to {LONGEST_S:.0f} s;"
            " of more, take the original"
        )


def _csv(taken: Iterable[Taken]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "start_s", "end_s", "label"])
    for each in taken:
        start_s, end_s = map(_brief, each.span) if each.span else ("", "")
        writer.writerow([each.name, start_s, end_s, each.label])
    return text.getvalue().encode()


def _m3u(taken: Iterable[Taken]) -> bytes:
    lines = [b"#EXTM3U"]
    for each in taken:
        title = "".join(letter if letter.isprintable() else " " for letter in each.name)
        path = os.fsencode(each.path)
        if b"\n" in path or b"\r" in path:
            raise EmbedkitError(f"{each.name!r}: an M3U cannot hold a name of two lines")
        lines += [f"#EXTINF:{round(each.duration_s)},{title}".encode(), path]
    return b"\n".join([*lines, b""])


def _check_size(taken: Iterable[Taken]) -> None:
    """Refuse a ZIP that would be too large, before its first byte."""
    total = 0
    for each in taken:
        if each.span is None:
            total += each.path.stat().st_size if each.path.is_file() else 0
        else:
            total += round((each.span[1] - each.span[0]) * _byte_rate(each.path))
    if total > MOST_BYTES:
        raise HTTPException(
            413,
            f"{total / 1e9:.1f} GB; a ZIP holds up to {MOST_BYTES / 1e9:.0f}: take fewer, or the"
            " list as CSV or M3U",
        )


def _byte_rate(path: Path) -> int:
    """Bytes that a second of a cut takes."""
    try:
        found = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):  # FFmpeg's: hardly more than this
        return 48000 * 2 * SAMPLE_BYTES
    return int(found.samplerate * found.channels * SAMPLE_BYTES)


class _Sink:
    """The file that a ZIP is written to, and taken from piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing, since nothing waits."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _zip(taken: Iterable[Taken], track: int) -> Iterator[bytes]:
    """The originals, with cuts beside them; what cannot be read is listed in a file of its own."""
    sink, failed, names = _Sink(), [], {FAILED}
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for each in dict.fromkeys(taken):
            try:
                if each.span is not None:
                    content = cut(each.path, *each.span, track)
                    name = PurePosixPath(each.name).with_name(cut_name(each.name, *each.span))
                    archive.writestr(_entry(str(name), names), content)
                else:
                    for _ in _copy(each, archive, names):
                        yield sink.take()
            except (AudioError, OSError) as error:
                failed.append(f"{each.name}: {error}\n")
            yield sink.take()
        if failed:
            archive.writestr(FAILED, "".join(failed))
    yield sink.take()


def _copy(each: Taken, archive: zipfile.ZipFile, names: set[str]) -> Iterator[None]:
    """Put a file into an archive, a piece at each step."""
    with open_file(each.path) as file:
        left = os.fstat(file.fileno()).st_size  # one that grows meanwhile is cut
        with archive.open(_entry(each.name, names), "w") as place:
            while left and (data := file.read(min(CHUNK, left))):
                left -= len(data)
                place.write(data)
                yield


def _entry(name: str, names: set[str]) -> zipfile.ZipInfo:
    """An entry of an archive, under a name that it does not have yet."""
    path, number = PurePosixPath(name), 1
    while name in names:
        number += 1
        name = str(path.with_stem(f"{path.stem} ({number})"))
    names.add(name)
    return zipfile.ZipInfo(name, time.localtime()[:6])


def _brief(seconds: float) -> str:
    """Seconds with as many decimals as they have, from one to three."""
    text = f"{seconds:.3f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
