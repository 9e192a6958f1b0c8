"""An audio file as blocks of mono samples at the model's rate, in constant memory."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from io import FileIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.band import Passage
from embedkit.audio.blocks import Block, Note, Raw, floats, full_scale, truncated
from embedkit.audio.read import read
from embedkit.errors import AudioError, Kind, UsageError
from embedkit.hearing import AS_RECORDED, Hearing

Samples = NDArray[np.float32]
RawOf = TypeVar("RawOf", Samples, Raw)

# Far beyond any recording, and far below where the power of a window overflows float32.
LOUDEST = 1e9


@dataclass(frozen=True)
class Channel:
    """Which channel of a file becomes the mono signal: their mean, or one of them from 1 on."""

    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Channel":
        """Read `mix`, `left`, `right` or a number from 1 on.

        Raises:
            UsageError: it is none of these.
        """
        named = {"mix": None, "left": 1, "right": 2}
        if text in named:
            return cls(named[text])
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"channel {text!r}: expected mix, left, right or a number from 1 on")
        return cls(int(text))

    def __str__(self) -> str:
        return "mix" if self.number is None else str(self.number)

    def of(self, block: Raw, seconds: float = 0.0) -> Samples:
        """Take the mono signal out of a block.

        Args:
            block: samples [samples, channels].
            seconds: where the block begins, for the message.

        Returns:
            float32 [samples].

        Raises:
            AudioError: the block does not have the channel.
        """
        channels = block.shape[1]
        if self.number is None and channels > 1:
            # Column by column: eight times as fast as block.mean(axis=1). A product with a vector
            # is as fast, but wakes BLAS threads, which take the network's time. To divide once, at
            # the end, rounds as dividing int16 by a power of two before would, which is exact.
            mean: Samples = reduce(np.add, block.astype(np.float32, copy=False).T)
            return mean / np.float32(channels * full_scale(block))
        number = self.number or 1  # one channel is its own mean
        if number > channels:
            place = f" from {seconds:.2f} s on" if seconds else ""
            raise AudioError(
                Kind.NO_CHANNEL, f"channel {number} was asked for, the file has {channels}{place}"
            )
        return floats(block[:, number - 1])


MIX = Channel()


def decode(
    path: Path,
    sample_rate: int,
    channel: Channel = MIX,
    track: int | None = None,
    note: Note = lambda message: None,
    hearing: Hearing = AS_RECORDED,
) -> Iterator[Samples]:
    """Decode, take the channel and the band, and resample; the blocks may have any length.

    Content, and not the suffix, decides which decoder reads the file. The length that a header
    states is not trusted, but a file that ends before it is reported after its last block. Where a
    piece is missing midway, silence of its length keeps the time axis right.

    Args:
        path: the file.
        sample_rate: sample rate of what comes out, in Hz.
        channel: becomes the signal.
        track: which of several sound tracks, from 1 on; by default the first, and `note` is told
            that there are more.
        note: is told, in words for people, what is odd about a file that can be read.
        hearing: the speed at which it is heard, and its band: samples at a rate r are taken as
            samples at r times the speed.

    Yields:
        float32 [samples] at `sample_rate`, nominally in [-1, 1].

    Raises:
        AudioError: before the first block if nothing can be decoded; after some blocks if the file
            is damaged (its good part has been yielded).
    """
    seconds = 0.0
    passage = None
    rate = 0
    damage: AudioError | None = None
    first: Samples | None = None  # set while no sample has come out of the passage
    with open_file(path) as file:
        try:
            for block_rate, block in _noted(read(file, path, note, track), note):
                mono, fault = _finite(channel.of(block, seconds), seconds, block_rate)
                if passage is None or block_rate != rate:
                    if passage is not None and len(out := _last(passage)):
                        first = None
                        yield out
                    rate = block_rate
                    passage = None  # what it held is out
                    passage = Passage(rate, sample_rate, hearing)
                if seconds == 0 and len(mono):
                    first = mono[:1]
                seconds += len(mono) / rate
                out = passage.take(mono)
                if len(out):
                    first = None
                    yield out
                if fault is not None:
                    raise fault
        except AudioError as error:
            damage = error
        except Exception as error:  # a decoder's own fault: one bad file never stops a run
            damage = truncated(seconds, f"{type(error).__name__}: {error}")
    if passage is not None and len(out := _last(passage)):
        first = None
        yield out
    if first is not None:
        # Fewer samples than one of the target rate: a clip of at least one sample gives a row.
        yield first
    if damage is not None:
        raise damage
    if seconds == 0:
        raise AudioError(Kind.EMPTY, "it holds no sample")


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What decoding a file to its end found.

    Attributes:
        sample_rate: at the file's beginning, in Hz; 0 if nothing could be decoded.
        channels: at its beginning; 0 if nothing could be decoded.
        duration_s: seconds that were decoded.
        problem: what is wrong, as kind and message; empty for a good file.
        notes: what is odd about it, though it can be read.
    """

    sample_rate: int
    channels: int
    duration_s: float
    problem: str
    notes: list[str]


def probe(path: Path, track: int | None = None) -> AudioInfo:
    """Decode a file to its end and tell what it holds; headers are not trusted.

    Args:
        path: the file.
        track: which of several sound tracks, from 1 on; by default the first.

    Returns:
        what was found; a damaged file has a `problem`, and raises nothing.
    """
    first_rate = channels = 0
    seconds = 0.0
    problem = ""
    notes: list[str] = []
    try:
        with open_file(path) as file:
            for rate, block in _noted(read(file, path, notes.append, track), notes.append):
                if not first_rate:
                    first_rate, channels = rate, block.shape[1]
                good, fault = _finite(block, seconds, rate)
                seconds += len(good) / rate
                if fault is not None:
                    raise fault
        if not seconds:
            raise AudioError(Kind.EMPTY, "it holds no sample")
    except AudioError as error:
        problem = f"{error.kind}: {error}"
    except Exception as error:  # a decoder's own fault
        fault = truncated(seconds, f"{type(error).__name__}: {error}")
        problem = f"{fault.kind}: {fault}"
    return AudioInfo(
        sample_rate=first_rate,
        channels=channels,
        duration_s=seconds,
        problem=problem,
        notes=notes,
    )


def _last(passage: Passage) -> Samples:
    return passage.take(np.zeros(0, np.float32), last=True)


def _noted(blocks: Iterator[Block], note: Note) -> Iterator[Block]:
    """The blocks; at their end `note` is told if the rate or the channels changed midway."""
    seconds = 0.0
    form: tuple[int, int] | None = None
    changes = 0
    first = ""
    try:
        for rate, block in blocks:
            if form != (rate, block.shape[1]):
                if form is not None and not changes:
                    first = f"{seconds:.2f} s, to {rate} Hz and {block.shape[1]} channels"
                changes += form is not None
                form = rate, block.shape[1]
            seconds += len(block) / rate
            yield rate, block
    finally:
        if changes:
            times = "once, at" if changes == 1 else f"{changes} times, first at"
            note(f"its sample rate or its channels change {times} {first}")


def open_file(path: Path) -> FileIO:
    """Open a sound for `read`.

    Raises:
        AudioError: it is no regular file, cannot be opened, or has no byte.
    """
    try:
        status = path.stat()
        # To open a pipe would wait for its writer, and to open a device may set it to work.
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(
                Kind.NOT_A_FILE, "a pipe, socket, device or folder, not a regular file"
            )
        # Should it be one by now; Windows has no such flag, and one that keeps bytes as they are.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        reason = error.strerror or str(error)
        if path.is_symlink():
            reason += " (a link that leads nowhere)"
        raise AudioError(Kind.UNREADABLE, f"cannot be opened: {reason}") from error
    if status.st_size == 0:
        os.close(descriptor)
        raise AudioError(Kind.EMPTY, "the file has 0 bytes")
    # Unbuffered: where we seek to is where libsndfile goes on from the descriptor.
    return os.fdopen(descriptor, "rb", buffering=0)


def _finite(block: RawOf, seconds: float, rate: int) -> tuple[RawOf, AudioError | None]:
    """The samples before the first one that is not finite, and the error that follows them."""
    if block.min() >= -LOUDEST and block.max() <= LOUDEST:  # false for NaN too
        return block, None
    bad = ~(np.abs(block) <= LOUDEST)
    end = int(bad.reshape(len(block), -1).any(axis=1).argmax())
    place_s = seconds + end / rate
    return block[:end], AudioError(Kind.NON_FINITE, f"NaN or infinity after {place_s:.2f} s")
