"""Blocks of samples -> segments of equal length with their place in the clip."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedkit.audio.decode import Samples
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, UsageError

BATCH = 64  # segments at a time, so that an hour needs no more memory than a minute


@dataclass(frozen=True, slots=True)
class Segment:
    """One window of a clip.

    Attributes:
        index: 0, 1, 2, ... within the clip.
        start_s: where it starts, in seconds.
        end_s: where it ends, in seconds; for a padded tail, the clip's real end.
        samples: float32 [samples of a whole segment], padded with zeros.
    """

    index: int
    start_s: float
    end_s: float
    samples: Samples


def cut(
    blocks: Iterable[Samples], spec: SegmentSpec, sample_rate: int, speed: float = 1.0
) -> Iterator[Segment]:
    """Cut a stream of blocks into segments; the blocks may have any length.

    Windows start every hop until one reaches the clip's end; the tail is padded with zeros. A clip
    of at least one sample gives a segment, and an empty clip gives none.

    Args:
        blocks: the samples of the clip.
        spec: length of and hop between segments, in seconds as they are heard.
        sample_rate: in Hz.
        speed: how many times as fast as recorded the clip is heard; times are those of the
            recording.

    Yields:
        the segments.

    Raises:
        AudioError: `blocks` raised it; what came before is cut first, as if the clip ended there.
    """
    length, hop = spec.samples(sample_rate)
    held = np.zeros(0, np.float32)
    index = 0
    damage: AudioError | None = None

    def segment(samples: Samples) -> Segment:
        start = index * hop
        start_s, end_s = (place / sample_rate * speed for place in (start, start + len(samples)))
        if len(samples) < length:
            samples = np.pad(samples, (0, length - len(samples)))
        return Segment(index, start_s, end_s, samples)

    blocks = iter(blocks)
    while True:
        try:
            block = next(blocks)
        except StopIteration:
            break
        except AudioError as error:
            damage = error
            break
        held = np.concatenate([held, block])  # of which segments are views
        # A window that ends exactly where the held samples end waits: it may be the last one.
        while len(held) > length:
            yield segment(held[:length])
            held = held[hop:]
            index += 1
    if len(held):  # at most one window long: it reaches the clip's end
        yield segment(held)
    if damage is not None:
        raise damage


def in_batches(segments: Iterable[Segment], size: int) -> Iterator[list[Segment]]:
    """Lists of `size` segments, the last one shorter.

    Args:
        segments: the segments.
        size: length of a list.

    Yields:
        the lists.

    Raises:
        AudioError: `segments` raised it; what came before is yielded first.
    """
    batch: list[Segment] = []
    damage: AudioError | None = None
    try:
        for segment in segments:
            batch.append(segment)
            if len(batch) == size:
                yield batch
                batch = []
    except AudioError as error:
        damage = error
    if batch:
        yield batch
    if damage is not None:
        raise damage


def stack(segments: Sequence[Segment]) -> Samples:
    """The samples of segments as one array, float32 [segments, samples]."""
    return np.stack([segment.samples for segment in segments])


def batches_of(waveform: Samples, spec: SegmentSpec, sample_rate: int) -> Iterator[Samples]:
    """The segments of a waveform, some at a time.

    Args:
        waveform: float32 [samples].
        spec: length of and hop between segments.
        sample_rate: in Hz.

    Yields:
        float32 [B, samples].

    Raises:
        UsageError: the waveform is not one-dimensional, empty, or not finite.
    """
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 1 or not len(waveform):
        raise UsageError(f"expected a waveform [samples], found shape {waveform.shape}")
    if not np.isfinite(waveform).all():
        raise UsageError("the waveform holds NaN or infinity")
    return map(stack, in_batches(cut([waveform], spec, sample_rate), BATCH))
