import itertools
import math

import numpy as np
import pytest

from embedkit.audio.segments import Segment, cut, in_batches, stack
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, Kind

RATE = 100  # samples a second, so that a spec's seconds are whole samples
SPECS = [(10, 1), (10, 3), (10, 10), (13, 7), (100, 25), (100, 100)]  # length, hop


def spec(length: int, hop: int) -> SegmentSpec:
    return SegmentSpec(duration_s=length / RATE, hop_s=hop / RATE)


def clip(samples: int) -> np.ndarray:
    return np.arange(1, samples + 1, dtype=np.float32)  # no zero, so that padding shows


def blocks_of(samples: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    blocks, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= len(samples):
            return blocks
        blocks.append(samples[start : start + size])
        start += size
    raise AssertionError


def lengths(length: int, hop: int) -> list[int]:
    """Clips at and beside every place where the number of segments changes."""
    edges = [1, hop, length, length + hop, length + 4 * hop, 3 * length]
    return sorted({edge + step for edge in edges for step in (-1, 0, 1) if edge + step >= 0})


@pytest.mark.parametrize(("length", "hop"), SPECS)
@pytest.mark.parametrize("sizes", [(1,), (3, 0, 5), (10,), (64,), (1000,)])
def test_segments_equal_slices_of_the_whole_clip(length, hop, sizes):
    for samples in lengths(length, hop):
        whole = clip(samples)
        found = list(cut(blocks_of(whole, sizes), spec(length, hop), RATE))
        number = 0 if samples == 0 else 1 + max(0, math.ceil((samples - length) / hop))
        assert [segment.index for segment in found] == list(range(number)), samples
        for segment in found:
            start, end = segment.index * hop, min(segment.index * hop + length, samples)
            assert (segment.start_s, segment.end_s) == (start / RATE, end / RATE)
            expected = np.zeros(length, np.float32)
            expected[: end - start] = whole[start:end]
            np.testing.assert_array_equal(segment.samples, expected)


def test_one_second_at_sixteen_kilohertz_is_one_segment_and_a_sample_more_is_two():
    for samples, ends in ((16000, [1.0]), (16001, [1.0, 1 + 1 / 16000])):
        found = list(cut([clip(samples)], SegmentSpec(), 16000))
        assert [segment.end_s for segment in found] == ends


@pytest.mark.parametrize(("length", "hop"), SPECS)
@pytest.mark.parametrize("samples", [0, 1, 9, 130, 250])
def test_damage_comes_after_the_segments_of_what_was_before_it(length, hop, samples):
    def damaged():
        yield from blocks_of(clip(samples), (7,))
        raise AudioError(Kind.TRUNCATED, "the rest is gone")

    found: list[Segment] = []
    with pytest.raises(AudioError, match="the rest is gone"):
        found.extend(cut(damaged(), spec(length, hop), RATE))
    whole = list(cut([clip(samples)], spec(length, hop), RATE))
    assert [(s.index, s.start_s, s.end_s) for s in found] == [
        (s.index, s.start_s, s.end_s) for s in whole
    ]
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
@pytest.mark.parametrize("number", [0, 1, 4, 12])
@pytest.mark.parametrize("damaged", [False, True])
def test_batches_hold_all_segments_in_order_and_damage_comes_last(size, number, damaged):
    segments = [Segment(i, i, i + 1, np.full(2, i, np.float32)) for i in range(number)]

    def stream():
        yield from segments
        if damaged:
            raise AudioError(Kind.TRUNCATED, "gone")

    batches: list[list[Segment]] = []
    try:
        batches.extend(in_batches(stream(), size))
    except AudioError:
        assert damaged
    else:
        assert not damaged
    assert batches == [segments[start : start + size] for start in range(0, number, size)]
    for batch in batches:
        np.testing.assert_array_equal(stack(batch)[:, 0], [segment.index for segment in batch])
