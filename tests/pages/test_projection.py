"""Projections."""

import numpy as np
from made import draw
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from embedkit.pages.projection import Projection, principal_axes, project, project_some


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


def test_principal_axes_are_those_of_scikit_learn() -> None:
    vectors = draw(50, 6, seed=1) * np.float32([5, 1, 3, 1, 1, 1])
    expected = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(principal_axes(vectors), expected.components_, atol=1e-5)
    same = np.ones((4, 3), np.float32)  # vary in no direction
    np.testing.assert_allclose(principal_axes(same) @ principal_axes(same).T, np.eye(2), atol=1e-6)


def test_of_many_vectors_some_are_laid_out_and_others_stand_among_their_nearest() -> None:
    vectors = draw(1500, 8, seed=3)
    np.testing.assert_array_equal(
        project_some(vectors, Projection.PCA, 1500), project(vectors, Projection.PCA)
    )
    points = project_some(vectors, Projection.PCA, 200)
    drawn = np.sort(np.random.default_rng(0).choice(1500, 200, replace=False))
    placed = project(vectors[drawn], Projection.PCA)
    nearest = NearestNeighbors(n_neighbors=3, metric="cosine").fit(vectors[drawn])
    expected = placed[nearest.kneighbors(vectors, return_distance=False)].mean(axis=1)
    expected[drawn] = placed
    np.testing.assert_allclose(points, expected, atol=1e-6)
