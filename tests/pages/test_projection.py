"""Projections."""

import numpy as np
from made import draw
from threadpoolctl import threadpool_limits

from embedkit.pages.projection import project


def test_projection_keeps_two_far_clusters_apart_whatever_their_vectors_lengths() -> None:
    centres = np.repeat(np.float32([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]), 15, axis=0)
    vectors = centres + draw(30, 5) * 0.05
    lengths = np.float32(2.0) ** np.arange(-15, 15, dtype=np.float32)[:, None]
    with threadpool_limits(1):  # threads wait long for each other where others compute too
        points, scaled = project(vectors), project(vectors * lengths)
    first, second = points[:15], points[15:]
    radius = max(np.linalg.norm(part - part.mean(axis=0), axis=1).max() for part in (first, second))
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > 2 * radius
    np.testing.assert_array_equal(scaled, points)
