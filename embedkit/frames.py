"""Vectors of evenly spaced moments: a window around each, however much these overlap."""

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.audio.segments import BATCH
from embedkit.extractor import Extractor


def frame_vectors(
    extractor: Extractor, waveform: Samples, hop_s: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Embed the window of a segment's length around each moment, in bounded memory.

    Args:
        extractor: to embed with.
        waveform: float32 [samples] at its rate; silence stands before and behind it.
        hop_s: between two moments; the first is at 0 s, the last before the end.

    Returns:
        float32 [moments, D], and the moments in seconds, float64 [moments].
    """
    rate = extractor.sample_rate
    length, _ = extractor.config.segments.samples(rate)
    moments = np.arange(0, len(waveform), hop_s * rate)
    starts = np.round(moments).astype(int)
    padded = np.pad(waveform, (length // 2, length))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)  # no copy
    batches = (starts[place : place + BATCH] for place in range(0, len(starts), BATCH))
    vectors = [extractor.embed_segments(windows[batch]) for batch in batches]
    return np.concatenate(vectors), moments / rate
