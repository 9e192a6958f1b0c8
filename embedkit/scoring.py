"""The one definition of a clip's score, and of its vector.

Both are the mean over the clip's segments, weighted by their real duration: a tail of 0.1 s that is
padded to 1 s counts a tenth of a whole segment.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST_S = 1e-9  # what a segment without duration counts: imported ones may be moments


def no_sums(clips: int, size: int) -> Floats:
    """Empty sums for `add`.

    Args:
        clips: number of clips.
        size: length of a vector, or number of scores.

    Returns:
        zeros [clips, size + 1]: sums of the values and, in the last column, of the weights.
    """
    return np.zeros((clips, size + 1))


def add(
    total: Floats,
    values: ArrayLike,
    seconds: ArrayLike,
    owners: NDArray[np.integer] | None = None,
) -> None:
    """Add a batch of segments to the sums of their clips, in place.

    Args:
        total: the sums, which `no_sums` began.
        values: scores or vectors of the segments [n, size].
        seconds: real duration of each segment [n].
        owners: number of the clip of each segment [n]; by default all are of the first clip.
    """
    weights = np.maximum(np.asarray(seconds, np.float64), LEAST_S)[:, None]
    weighted = np.concatenate([weights * np.asarray(values, np.float64), weights], axis=1)
    if owners is None:
        total[0] += weighted.sum(axis=0)
    else:
        np.add.at(total, owners, weighted)


def means(total: Floats) -> Floats:
    """Scores or vectors of clips [clips, size] from their sums; zeros where there is no segment."""
    found: Floats = total[:, :-1] / np.maximum(total[:, -1:], LEAST_S)
    return found


def clip_means(
    values: ArrayLike, seconds: ArrayLike, owners: NDArray[np.integer], clips: int
) -> Floats:
    """Scores or vectors of clips from those of all their segments.

    Args:
        values: scores or vectors of the segments [n, size].
        seconds: real duration of each segment [n].
        owners: number of the clip of each segment [n].
        clips: number of clips.

    Returns:
        [clips, size]; zeros where a clip has no segment.
    """
    total = no_sums(clips, np.shape(values)[1])
    add(total, values, seconds, owners)
    return means(total)


def clip_mean(values: ArrayLike, seconds: ArrayLike) -> Floats:
    """Score or vector of one clip from those of its segments.

    Args:
        values: scores or vectors of the segments [n, size].
        seconds: real duration of each segment [n].

    Returns:
        [size].
    """
    total = no_sums(1, np.shape(values)[1])
    add(total, values, seconds)
    mean: Floats = means(total)[0]
    return mean


def mostly_sound(numbers: ArrayLike, seconds: ArrayLike, segment_s: float) -> NDArray[np.bool_]:
    """Which segments to learn from, and to search among, one by one.

    A sliver at a clip's end, shorter than half a segment, is mostly padding: a classifier would
    learn silence from it, and a search for silence would find it. In its clip's mean it counts by
    the sound that it holds.

    Args:
        numbers: numbers of the segments within their clips [n]; the first segment stays, however
            short it is.
        seconds: real duration of each segment [n].
        segment_s: duration of a whole segment.

    Returns:
        bool [n].
    """
    long_enough = np.asarray(seconds) >= segment_s / 2
    found: NDArray[np.bool_] = long_enough | (np.asarray(numbers) == 0)
    return found
