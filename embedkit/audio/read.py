"""Reads an audio file as blocks at its own rate with its channels, by the best decoder for it."""

import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from io import FileIO
from pathlib import Path

import soundfile

from embedkit.audio import flac, ogg
from embedkit.audio.blocks import Block, Note, block_length, check_rate, is_short, truncated
from embedkit.audio.formats import HEAD, headerless, is_framed
from embedkit.audio.headers import Extent, Sound, extent, files, find_sound
from embedkit.audio.part import Part
from embedkit.audio.tags import id3_length
from embedkit.errors import AudioError, Kind

# libsndfile reads the descriptor of a file faster than an object of Python's.
Source = FileIO | Part

# What libsndfile takes for the number of samples that a header leaves open.
OPEN_LENGTH = 2**63 - 1

AHEAD = 2**14  # bytes that libsndfile may have read ahead
BEFORE = 2**16  # bytes within which a FLAC's own beginning is
PEEK = 2**20  # bytes within which the next one's is looked for
FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")


def read(file: FileIO, path: Path, note: Note, track: int | None = None) -> Iterator[Block]:
    """Decode a file.

    Content decides which decoder reads it, and the suffix where the content tells nothing. The
    length that its header states is not trusted.

    Args:
        file: the open file.
        path: its path.
        note: is told what is odd.
        track: which of the sound tracks, from 1 on; None: the first one.

    Returns:
        rate and samples [samples, channels], block by block; they raise AudioError as
        `ffmpeg.read` does.
    """
    demuxer = headerless(path, file.read(HEAD))
    if demuxer is not None:
        yield from _ffmpeg(file, note, track, f"named {path.suffix}", demuxer)
    elif track is not None and track > 1:  # only FFmpeg knows of tracks
        yield from _ffmpeg(file, note, track)
    elif ogg.is_ogg(file):
        # libsndfile reads the first link of a chain alone, and is silent about holes in Vorbis.
        yield from _chain(ogg.links(file), _ffmpeg, note, track)
    else:
        parts = files(Part.of(file))
        yield from _chain(parts if len(parts) > 1 else [file], _stated, note, track)


def _ffmpeg(
    file: Source, note: Note, track: int | None, reason: str = "", demuxer: str | None = None
) -> Iterator[Block]:
    # PyAV takes longer to load than a minute of WAV to read, which needs none of it.
    from embedkit.audio import ffmpeg

    return ffmpeg.read(file, note, track, reason, demuxer)


def _chain(
    links: Sequence[Source],
    read_one: Callable[[Source, Note, int | None], Iterator[Block]],
    note: Note,
    track: int | None,
) -> Iterator[Block]:
    """The blocks of a file that others may have been joined to, link by link."""
    damage: AudioError | None = None
    for link in links:
        try:
            yield from read_one(link, note, track)
        except AudioError as error:
            midway = link is not links[-1] and error.kind == Kind.TRUNCATED
            damage = damage or (AudioError(Kind.GAPS, str(error)) if midway else error)
    if damage is not None:
        raise damage


def _flacs(file: Source, note: Note, track: int | None) -> Iterator[Block]:
    """The blocks of a file and, if it is a FLAC that others were joined to, of those."""
    part: Source | None = file
    while part is not None:
        end = yield from _whole(part, note, track)
        part = None if end is None else _next_flac(Part.of(part), end)


def is_all(file: FileIO) -> bool:
    """Whether the header of a file tells its whole length, and libsndfile reads it.

    The header of a FLAC does not tell whether others were joined to it.
    """
    part = Part.of(file)
    sound = find_sound(part)
    if sound is None or len(files(part)) > 1:
        return False
    found = extent(part, sound)
    return not found.missing and found.end - sound.start == sound.stated


def _next_flac(part: Part, place: int) -> Part | None:
    """The FLAC that begins behind another one, which libsndfile has read up to a place."""
    own = FLAC.search(part.pread(BEFORE, 0))
    if own is None:
        return None
    first = max(own.end(), place - AHEAD)
    found = FLAC.search(part.pread(PEEK, first))
    return None if found is None else part.part(first + found.start())


def _stated(file: Source, note: Note, track: int | None) -> Iterator[Block]:
    """The blocks of a file whose header may state a number of bytes, right or wrong."""
    sound = find_sound(Part.of(file))
    if sound is None:
        yield from _flacs(file, note, track)
        return
    found = extent(Part.of(file), sound)
    if found.note:
        note(found.note)
    seconds = 0.0
    for rate, block in _mended(file, sound, found, note, track):
        seconds += len(block) / rate
        yield rate, block
    if found.missing:
        there = found.end - sound.start
        stated_s = seconds * sound.stated / there if there > 0 else 0.0
        if is_short(seconds, stated_s) or not seconds:
            raise truncated(seconds, f"the header promises {sound.stated} bytes, {there} are there")


def _mended(
    file: Source, sound: Sound, found: Extent, note: Note, track: int | None
) -> Iterator[Block]:
    """The blocks of the file with the right length in its header."""
    whole = Part.of(file)
    length, behind = found.end - sound.start, whole.size - found.end
    if length == sound.stated and behind and sound.chunks and not sound.chunks.heeded:
        return _whole(whole.part(0, found.end), note, track)
    if length == sound.stated or not sound.size or _is_known(sound, found):
        return _whole(file, note, track)
    field = sound.field(length)
    part = whole.part(0, found.end, at=sound.at, new=field)
    if sound.field(length + 1) == field:  # too long for it: FFmpeg then reads to the end
        return _ffmpeg(part, note, track)
    return _whole(part, note, track)


def _is_known(sound: Sound, found: Extent) -> bool:
    """Whether it is a WAV that was written to a pipe: decoders know that its length is open."""
    return sound.is_open and sound.size == 4 and sound.order == "little" and not found.note


def _whole(file: Source, note: Note, track: int | None) -> Generator[Block, None, int | None]:
    """The blocks that libsndfile reads of a file, or else FFmpeg.

    Returns:
        the place up to which libsndfile has read; None if FFmpeg has read it.
    """
    if _is_framed(Part.of(file)):  # libsndfile would print what it thinks of the tag
        yield from _ffmpeg(file, note, track)
        return None
    file.seek(0)
    source = os.dup(file.fileno()) if isinstance(file, FileIO) else file
    try:
        sound = soundfile.SoundFile(source, closefd=True)
    except soundfile.LibsndfileError as error:
        yield from _ffmpeg(file, note, track, _reason(error))
        return None
    with sound:
        # libsndfile stops an MP3 without a Xing header at an estimate of its length, and one of
        # several parts at the end of the first. It takes the heads of a VOC's blocks for sound. It
        # loses the end of a streamed FLAC, whose header leaves the length open.
        if sound.format not in {"MP3", "VOC"} and sound.frames < OPEN_LENGTH:
            return (yield from _libsndfile(sound, file, note, track))
        reason = f"{sound.format} that no decoder reads"
    yield from _ffmpeg(file, note, track, reason)
    return None


def _is_framed(file: Part) -> bool:
    """Whether it is frames of MPEG audio or AAC, with a tag before them or not."""
    return is_framed(file.pread(HEAD, id3_length(file.pread(10, 0))))


def _libsndfile(
    sound: soundfile.SoundFile, file: Source, note: Note, track: int | None
) -> Generator[Block, None, int | None]:
    rate, done = sound.samplerate, 0
    check_rate(rate)
    length = block_length(rate, sound.channels)
    # Of 16 bits libsndfile makes float32 too, but takes almost three times as long for it.
    kind = "int16" if sound.subtype == "PCM_16" else "float32"
    try:
        while len(block := sound.read(length, dtype=kind, always_2d=True)):
            done += len(block)
            yield rate, block
    except soundfile.LibsndfileError as error:
        reason = _reason(error) or "decoding failed"
        yield from _go_on(file, note, track, done, rate, reason)
        return None
    if is_short(done / rate, sound.frames / rate):
        raise truncated(done / rate, f"the header promises {sound.frames / rate:.2f} s")
    end, part = file.tell(), Part.of(file)
    if sound.format == "FLAC" and _next_flac(part, end) is None and flac.has_more(part, done):
        yield from _unstated(file, note, track, done, rate)
        return None
    return end


def _unstated(file: Source, note: Note, track: int | None, done: int, rate: int) -> Iterator[Block]:
    """What a FLAC has behind the samples that its header states."""
    more = 0
    for other_rate, block in _go_on(file, note, track, done, rate, "the header states too few"):
        more += len(block)
        yield other_rate, block
    if more:
        note(f"its header states {done} samples, and there are {done + more}: all were read")


def _go_on(
    file: Source, note: Note, track: int | None, done: int, rate: int, reason: str
) -> Iterator[Block]:
    """The blocks that FFmpeg reads behind the samples of libsndfile; it goes on after damage."""
    skip = done
    try:
        for other_rate, block in _ffmpeg(file, note, track, reason):
            if len(block) > skip:
                yield other_rate, block[skip:]
            skip = max(0, skip - len(block))
    except AudioError as error:
        if error.kind == Kind.UNREADABLE:
            raise truncated(done / rate, reason) from error
        raise


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".")
