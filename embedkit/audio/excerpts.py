"""Reads stretches of a file at the file's own rate, with all its channels."""

import os
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from embedkit.audio.blocks import floats
from embedkit.audio.decode import open_file
from embedkit.audio.read import is_all, read
from embedkit.audio.stamps import read_stretch
from embedkit.errors import AudioError, Kind

# Formats in which libsndfile goes to a sample without reading what is before it, and stops where
# the file ends.
SEEKABLE = {"AIFF", "FLAC", "RF64", "W64", "WAV", "WAVEX"}


class Excerpt(NamedTuple):
    """The samples of a stretch.

    Attributes:
        number: number of the stretch among those that were asked for.
        rate: in Hz.
        samples: float32 [samples, channels].
    """

    number: int
    rate: int
    samples: NDArray[np.float32]


def excerpts(
    path: Path,
    spans: Sequence[tuple[float, float]],
    track: int | None = None,
    short_s: float = 0.0,
) -> Iterator[Excerpt]:
    """Read stretches of a file; what lies outside of the file is left out.

    Where the format allows it, only the stretches are decoded; otherwise the file is decoded up to
    the end of the last one.

    Args:
        path: the file.
        spans: beginning and end of each stretch in seconds.
        track: which of several sound tracks, from 1 on.
        short_s: seconds that a stretch may lack where a header says that the file ends. If more is
            missing, the file is decoded from the beginning, as joined files go on behind that end.

    Yields:
        the stretches that have samples, in any order.

    Raises:
        AudioError: the file cannot be read, or is damaged before the end of the last stretch; what
            is good has been yielded.
    """
    done: set[int] = set()
    with open_file(path) as file:
        if track in {None, 1}:
            for excerpt in _sought(file, spans, short_s):
                done.add(excerpt.number)
                yield excerpt
        left = [number for number in range(len(spans)) if number not in done]
        if len(left) == 1 and (found := read_stretch(file, *spans[left[0]], track)) is not None:
            yield Excerpt(left.pop(), *found)
    if left:
        yield from _passed(path, spans, left, track)


def _sought(
    file: FileIO, spans: Sequence[tuple[float, float]], short_s: float
) -> Iterator[Excerpt]:
    """The stretches that libsndfile finds, and knows to be whole."""
    try:
        sound = soundfile.SoundFile(os.dup(file.fileno()), closefd=True)
    except soundfile.LibsndfileError:
        return
    with sound:
        if sound.format not in SEEKABLE or not sound.seekable():
            return
        for number, span in enumerate(spans):
            first, last = (max(0, round(time * sound.samplerate)) for time in span)
            end = min(last, sound.frames)
            if not first < end:
                continue
            try:
                sound.seek(first)
                samples = sound.read(end - first, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                continue
            beyond = last - sound.frames > short_s * sound.samplerate
            if len(samples) == end - first and (not beyond or is_all(file)):
                yield Excerpt(number, sound.samplerate, samples)


def _passed(
    path: Path, spans: Sequence[tuple[float, float]], left: Sequence[int], track: int | None
) -> Iterator[Excerpt]:
    """The stretches that one pass through the file finds."""
    waiting = sorted(left, key=lambda number: spans[number])
    begun: dict[int, list[NDArray[np.float32]]] = {}
    seconds, rate = 0.0, 0
    damage: AudioError | None = None

    def take(until: float) -> Iterator[Excerpt]:
        for number in [number for number in begun if spans[number][1] <= until]:
            if parts := begun.pop(number):
                yield Excerpt(number, rate, np.concatenate(parts))

    with open_file(path) as file:
        try:
            for block_rate, block in read(file, path, lambda note: None, track):
                if block_rate != rate:  # in a chain of files; an excerpt has one rate
                    yield from take(np.inf)
                    rate = block_rate
                end = seconds + len(block) / rate
                while waiting and spans[waiting[0]][0] < end:
                    begun[waiting.pop(0)] = []
                for number, parts in begun.items():
                    first, last = (round((time - seconds) * rate) for time in spans[number])
                    if len(part := block[max(0, first) : max(0, last)]):
                        parts.append(floats(part))
                seconds = end
                yield from take(seconds)
                if not waiting and not begun:
                    return
        except AudioError as error:
            damage = error
        except Exception as error:  # a decoder's own fault
            damage = AudioError(Kind.UNREADABLE, f"{type(error).__name__}: {error}")
    yield from take(np.inf)
    if damage is not None:
        raise damage
