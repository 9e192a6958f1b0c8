"""Decodes sound tracks by FFmpeg, packet by packet: a bad packet does not end the file."""

from collections.abc import Iterator
from fractions import Fraction
from io import FileIO
from typing import Any

import av
import numpy as np

from embedkit.audio import ogg
from embedkit.audio.blocks import (
    Block,
    Note,
    block_length,
    check_rate,
    is_short,
    truncated,
)
from embedkit.audio.formats import CONTAINERS
from embedkit.audio.gaps import BARE, HOLE, ByBytes, ByStamps, Gaps, Packet
from embedkit.audio.part import Part
from embedkit.audio.tags import id3_length, untagged
from embedkit.errors import AudioError, Kind

# The formats whose headers state how long the track is. FFmpeg guesses it of the others.
STATING = {"ape", "avi", "dsf", "flac", "mov", "mpc", "mpc8", "tak", "tta", "wv"}

# Those that state how long the longest of their tracks is.
STATING_WHOLE = {"flv", "matroska"}

# Codecs whose frames have checksums: without them, damage is loud noise.
CHECKED = {"flac", "tta", "wavpack"}

# What PyAV raises of a damaged file; OSError where the disk does not give it.
FAULTS = (av.FFmpegError, OSError, ValueError)

# Tags that are not UTF-8 are no reason to refuse a file. From version 19 on PyAV takes them as they
# are, and no longer takes the word for it.
_MAJOR = int(av.__version__.partition(".")[0])
ANY_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if _MAJOR < 19 else {}

ATTEMPTS = 64  # to go on behind bytes that are no packets
TAIL_S = 1.0  # of bad packets at the end that are no sound that is missing


def read(
    file: FileIO | Part,
    note: Note,
    track: int | None = None,
    reason: str = "",
    demuxer: str | None = None,
) -> Iterator[Block]:
    """Decode a sound track.

    Args:
        file: the open file; its content decides its format.
        note: is told what is odd.
        track: which of the sound tracks, from 1 on. None: the first one, and `note` is told if
            there are more.
        reason: why another decoder did not read it.
        demuxer: FFmpeg's name of the format, where it is known.

    Yields:
        rate and float32 [samples, channels]; both may change midway.

    Raises:
        AudioError: after what could be decoded, if something is wrong.
    """
    part = Part.of(file)  # a seek to nowhere does not raise: PyAV would print a traceback
    part.seek(0)
    try:
        options = {"format_whitelist": CONTAINERS}
        container = av.open(part, "r", demuxer, options=options, **ANY_TAGS)
    except FAULTS as error:
        message = f"no decoder reads it ({reason or error})"
        raise AudioError(Kind.UNREADABLE, message) from error
    with container:
        reading = _Track(part, container, _choose(container, track, note))
        yield from reading.blocks()
        reading.check_end()


def _choose(
    container: av.container.InputContainer, track: int | None, note: Note
) -> av.AudioStream:
    streams = container.streams.audio
    if not streams:
        raise AudioError(Kind.NO_AUDIO, f"a {container.format.name} file without sound")
    if track is not None and track > len(streams):
        raise AudioError(
            Kind.NO_TRACK, f"sound track {track} was asked for, the file has {len(streams)}"
        )
    if track is None and len(streams) > 1:
        note(f"the first of {len(streams)} sound tracks was taken; --track takes another")
    stream = streams[(track or 1) - 1]
    if stream.codec_context is None:
        raise AudioError(Kind.UNREADABLE, "no decoder for its sound track")
    if stream.codec_context.name in CHECKED:
        stream.codec_context.options = {"err_detect": "+crccheck+explode"}
    return stream


class _Track:
    """A sound track that is being decoded."""

    def __init__(
        self,
        file: Part,
        container: av.container.InputContainer,
        stream: av.AudioStream,
    ) -> None:
        self._file, self._container, self._stream = file, container, stream
        self._form = container.format.name
        self._rate = int(stream.rate or 1)  # PyAV's follows what is decoded
        self._gaps = Gaps()
        base = float(stream.time_base or 0)
        bare = self._form in BARE and len(container.streams) == 1
        self._finder = ByBytes(file.fileno(), self._form) if bare else ByStamps(base)
        self._error: Exception | None = None  # the last one
        self._first_byte = self._end_byte = 0  # of the good packets

    def blocks(self) -> Iterator[Block]:
        """Blocks of the usual length; decoders give a thousand samples at a time."""
        convert, gathered = _fresh(0)
        rate = channels = length = 0
        form = layout = None
        for piece in self._pieces():
            if isinstance(piece, float):
                yield from _rest(gathered)
                missing = round(piece * rate)
                for start in range(0, missing, length or 1):
                    yield rate, np.zeros((min(length, missing - start), channels), np.float32)
                continue
            if piece.sample_rate != rate or piece.format.name != form or piece.layout != layout:
                # Neither of them checks the layout: other channels would crash it.
                yield from _rest(gathered)
                rate, form, layout = piece.sample_rate, piece.format.name, piece.layout
                check_rate(rate)
                channels = layout.nb_channels
                convert, gathered = _fresh(channels)
                length = block_length(rate, channels)
            for same in convert.resample(piece):
                same.pts = None  # the finder has looked at it
                gathered.write(same)
            while (block := gathered.read(length)) is not None:
                yield _block(block)
        yield from _rest(gathered)

    def check_end(self) -> None:
        """Compare what was decoded with what the file states.

        Raises:
            AudioError: something is missing.
        """
        gaps, stated_s = self._gaps, self._stated_s()
        problem = ""
        if stated_s is not None:
            if is_short(gaps.place_s, stated_s):
                problem = f"the header promises {stated_s:.2f} s"
        elif self._form == "ogg":
            if not ogg.is_closed(self._file):
                problem = "the last Ogg page is missing or cut"
        elif self._ends_early():
            problem = "what follows cannot be decoded"
        if not gaps.sound_s:
            if problem or self._error:
                raise truncated(0, getattr(self._error, "strerror", None) or problem)
        elif problem:
            raise truncated(gaps.place_s, f"{problem}; {gaps}" if gaps.count else problem)
        elif gaps.count:
            raise AudioError(Kind.GAPS, str(gaps))

    def _pieces(self) -> Iterator[av.AudioFrame | float]:
        """Frames, and seconds that are missing between them."""
        decode, finder, gaps = self._stream.codec_context.decode, self._finder, self._gaps
        for packet in self._packets():
            try:
                frames = decode(packet)
            except FAULTS as error:
                self._error = error
                finder.lose(packet)
                continue
            if not frames:
                continue
            first = frames[0]
            samples = first.samples if len(frames) == 1 else sum(one.samples for one in frames)
            seconds = samples / first.sample_rate
            if packet is not None and self._has_stamps(first):
                estimates = finder.missing(packet, first.pts, seconds)
                if estimates and (missing_s := gaps.fill(estimates)):
                    yield missing_s
                if (place := packet.pos) is not None:
                    self._first_byte = self._first_byte or place
                    self._end_byte = place + packet.size
            gaps.sound_s += seconds
            yield from frames

    def _has_stamps(self, frame: av.AudioFrame) -> bool:
        """Whether a frame's time stamp means what it says: FLAC counts samples of any rate."""
        return self._form != "flac" or frame.sample_rate == self._rate

    def _packets(self) -> "Iterator[Packet | None]":
        """The packets of the track, and None, which makes the decoder give the rest."""
        failures = 0
        while failures < ATTEMPTS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        failures = 0
                        yield packet
                break
            except IndexError:  # PyAV's, at the end, where tracks have come midway
                break
            except FAULTS as error:  # bytes that are no packets
                self._error = error
                self._finder.lose(None)
                failures += 1
        yield None

    def _stated_s(self) -> float | None:
        """The length that the file states, or None where it states none."""
        forms, stream = set(self._form.split(",")), self._stream
        if forms & STATING and stream.duration:
            return float(stream.duration * (stream.time_base or Fraction(1)))
        if forms & STATING_WHOLE and len(self._container.streams) == 1 and self._container.duration:
            return float(self._container.duration / av.time_base)
        if self._form == "mp3" and (frames := stated_frames(self._file)):
            # What encoders put before and behind the sound is cut off.
            samples = 1152 if self._rate >= 32000 else 576
            return max(0, frames - 3) * samples / self._rate
        return None

    def _ends_early(self) -> bool:
        """Whether more than a second of what may be sound follows the last good packet."""
        if not self._finder.damaged and len(self._container.streams) > 1:
            return False  # the others may be longer
        second = (self._end_byte - self._first_byte) / max(self._gaps.sound_s, TAIL_S)
        tail = self._file.size - self._end_byte
        if tail <= TAIL_S * second:
            return False
        behind = self._file.pread(min(tail, HOLE), self._end_byte)
        return len(untagged(behind).strip(b"\0")) > TAIL_S * second


def _fresh(channels: int) -> tuple[av.AudioResampler, av.AudioFifo]:
    """For sound of one rate, layout and format: what makes it float32, and what gathers it."""
    # Most decoders give a plane for each channel. Of eight PyAV takes what stands behind them in
    # memory for a ninth.
    return av.AudioResampler(format="fltp" if channels < 8 else "flt"), av.AudioFifo()


def _rest(gathered: av.AudioFifo) -> Iterator[Block]:
    if (block := gathered.read()) is not None:
        yield _block(block)


def _block(frame: av.AudioFrame) -> Block:
    samples = frame.to_ndarray().astype(np.float32, copy=False)
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    return frame.sample_rate, samples.T


def stated_frames(file: Part) -> int:
    """The number of frames that an MP3's first one states (Xing, LAME, Fraunhofer); 0 for none."""
    start = 0
    while length := id3_length(file.pread(10, start)):
        start += length
    frame = file.pread(2048, start)
    for name, flags, count in ((b"Xing", 4, 8), (b"Info", 4, 8), (b"VBRI", 14, 14)):
        place = frame.find(name)
        if place >= 0:
            stated, found = (
                int.from_bytes(frame[place + at : place + at + 4], "big") for at in (flags, count)
            )
            return found if name == b"VBRI" or stated & 1 else 0
    return 0
