"""Two-covariance PLDA against joint normal distributions, written down in full."""

import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from embedkit.classifiers.method import Training
from embedkit.classifiers.plda import PLDA, Plda
from embedkit.errors import DatasetError

RNG = np.random.default_rng(0)


def covariance(size: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((size, 2 * size))
    return root @ root.T / size


def classify(
    vectors: np.ndarray, classes: np.ndarray, asked: np.ndarray, count: int, *, lda: bool = True
) -> np.ndarray:
    training = Training(
        vectors=vectors.astype(np.float32),
        targets=np.eye(count, dtype=np.float32)[classes],
        several_labels=False,
        groups=np.arange(len(vectors)).astype(object),
    )
    return Plda(lda=lda).fit(training).scores(asked.astype(np.float32))


@pytest.mark.parametrize("enrolled", [1, 2, 5])
def test_the_likelihood_is_the_ratio_of_joint_densities(enrolled: int) -> None:
    size = 3
    between, within = covariance(size, 1), covariance(size, 2)
    model = PLDA(mean=RNG.standard_normal(size), between=between, within=within)
    known, vectors = RNG.standard_normal((enrolled, size)), RNG.standard_normal((4, size))

    def joint(count: int) -> multivariate_normal:
        """Of `count` vectors of one class, one after the other."""
        shared = np.kron(np.ones((count, count)), model.between)
        return multivariate_normal(
            np.tile(model.mean, count), shared + np.kron(np.eye(count), model.within)
        )

    before = joint(enrolled).logpdf(known.ravel())
    expected = [
        joint(enrolled + 1).logpdf(np.concatenate([known.ravel(), vector])) - before
        for vector in vectors
    ]
    found = model.log_likelihood(vectors, known.mean(axis=0), enrolled)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_fit_recovers_the_covariances_that_vectors_were_drawn_from() -> None:
    between, within, mean = covariance(2, 3), covariance(2, 4), np.array([5.0, -2.0])
    centres = RNG.multivariate_normal(mean, between, size=4000)
    classes = np.repeat(np.arange(4000), 3)
    vectors = centres[classes] + RNG.multivariate_normal([0, 0], within, size=12000)
    model = PLDA.fit(vectors, classes)
    np.testing.assert_allclose(model.within, within, atol=0.06 * within.max())
    np.testing.assert_allclose(model.between, between, atol=0.06 * between.max())
    np.testing.assert_allclose(model.mean, mean, atol=0.1)


def test_the_ratio_of_a_pair_is_that_of_its_joint_densities() -> None:
    size = 3
    model = PLDA(
        mean=RNG.standard_normal(size), between=covariance(size, 1), within=covariance(size, 2)
    )
    first, second = RNG.standard_normal((2, 7, size))
    total = model.between + model.within
    one = np.block([[total, model.between], [model.between, total]])
    alone = multivariate_normal(model.mean, total)
    expected = (
        multivariate_normal(np.tile(model.mean, 2), one).logpdf(np.hstack([first, second]))
        - alone.logpdf(first)
        - alone.logpdf(second)
    )
    np.testing.assert_allclose(model.log_likelihood_ratio(first, second), expected, rtol=1e-9)
    np.testing.assert_allclose(model.log_likelihood_ratio(second, first), expected, rtol=1e-9)
    # Whatever the place, scale and axes.
    matrix, shift = RNG.standard_normal((size, size)), RNG.standard_normal(size)
    moved = PLDA(
        mean=matrix @ model.mean + shift,
        between=matrix @ model.between @ matrix.T,
        within=matrix @ model.within @ matrix.T,
    )
    found = moved.log_likelihood_ratio(first @ matrix.T + shift, second @ matrix.T + shift)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_scores_are_the_posteriors_of_the_enrolled_classes() -> None:
    classes = np.arange(60) % 3
    vectors = RNG.standard_normal((60, 8)) + 2 * RNG.standard_normal((3, 8))[classes]
    training = Training(
        vectors=vectors.astype(np.float32),
        targets=np.eye(3, dtype=np.float32)[classes],
        several_labels=False,
        groups=np.arange(60).astype(object),
    )
    model = Plda().fit(training)
    asked = RNG.standard_normal((5, 8)).astype(np.float32)

    def project(part: np.ndarray) -> np.ndarray:
        centred = part - model.centre
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        return unit @ model.projection + model.offset

    known, new = project(training.vectors), project(asked)
    plda = PLDA.fit(known, classes)
    likelihoods = np.stack(
        [
            plda.log_likelihood(new, known[classes == number].mean(axis=0), 20)
            for number in range(3)
        ],
        axis=1,
    )
    expected = np.exp(likelihoods) / np.exp(likelihoods).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.scores(asked), expected, atol=1e-9)


@pytest.mark.parametrize("lda", [True, False])
def test_classify_does_not_care_for_scale_and_place(lda: bool) -> None:
    classes = np.arange(90) % 3
    vectors = RNG.standard_normal((90, 8)) + 3 * RNG.standard_normal((3, 8))[classes]
    found = classify(vectors[:60], classes[:60], vectors[60:], 3, lda=lda)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == classes[60:]).mean() > 0.9
    moved = 7 * vectors + RNG.standard_normal(8)
    again = classify(moved[:60], classes[:60], moved[60:], 3, lda=lda)
    np.testing.assert_allclose(again, found, atol=1e-3)  # vectors are float32


def test_a_class_without_training_vectors_has_no_probability() -> None:
    classes = np.array([0, 0, 2, 2])
    found = classify(RNG.standard_normal((4, 3)), classes, RNG.standard_normal((5, 3)), 4)
    np.testing.assert_array_equal(found[:, [1, 3]], 0)


def test_equal_vectors_are_refused() -> None:
    with pytest.raises(DatasetError, match="PLDA needs vectors that differ"):
        classify(np.ones((6, 3)), np.arange(6) % 2, np.ones((1, 3)), 2)


def test_vectors_that_only_rounding_tells_apart_are_refused() -> None:
    one = 5 * np.random.default_rng(1).standard_normal(16)
    vectors = one * (1 + 1e-7 * np.random.default_rng(2).standard_normal((12, 16)))
    assert len(np.unique(vectors.astype(np.float32), axis=0)) == 12
    for lda in (True, False):
        with pytest.raises(DatasetError, match="12 that it is fitted on are equal, but for round"):
            classify(vectors, np.arange(12) % 3, vectors, 3, lda=lda)


POINTS = np.random.default_rng(3).standard_normal((6, 16))


@pytest.mark.parametrize("lda", [True, False])
@pytest.mark.parametrize(
    ("vectors", "classes"),
    [
        (np.repeat(POINTS[:2], 5, axis=0), [0] * 5 + [1] * 5),
        (np.repeat(POINTS[:3], 4, axis=0), np.repeat([0, 1, 2], 4)),
        (np.repeat(POINTS, 2, axis=0), np.repeat([0, 1, 2], 4)),  # two copies twice in each class
        (np.repeat(POINTS, 2, axis=0), np.repeat(np.arange(6), 2)),
        (POINTS[[0, 0, 1]], [0, 0, 1]),
        (
            np.repeat(POINTS[:3], 4, axis=0) + 1e-6 * RNG.standard_normal((12, 16)),
            np.repeat([0, 1, 2], 4),
        ),
    ],
)
def test_copies_within_classes_are_told_apart_without_infinite_certainty(
    vectors: np.ndarray, classes: Any, lda: bool
) -> None:
    classes = np.asarray(classes)
    count = classes.max() + 1
    found = classify(vectors, classes, vectors, count, lda=lda)
    np.testing.assert_array_equal(found.argmax(axis=1), classes)
    assert np.isfinite(found).all()
    # Noise far below the differences between classes changes nothing.
    noisy = vectors + 1e-4 * np.random.default_rng(4).standard_normal(vectors.shape)
    again = classify(vectors, classes, noisy, count, lda=lda)
    np.testing.assert_array_equal(again.argmax(axis=1), classes)


@pytest.mark.parametrize("lda", [True, False])
def test_classes_that_have_the_same_vectors_are_equally_likely(lda: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = classify(np.tile(POINTS, (3, 1)), np.repeat([0, 1, 2], 6), POINTS, 3, lda=lda)
    np.testing.assert_allclose(found, 1 / 3, atol=1e-6)


def test_no_direction_varies_less_than_the_floor() -> None:
    # Within classes one of four directions varies; between them all do.
    rng = np.random.default_rng(5)
    classes = np.repeat(np.arange(20), 6)
    within = np.outer(rng.standard_normal(120), [1, 0, 0, 0])
    model = PLDA.fit(rng.standard_normal((20, 4))[classes] + within, classes)
    values = np.linalg.eigvalsh(model.within)
    total = np.trace(model.within) + np.trace(model.between)
    np.testing.assert_allclose(values[:3], 1e-6 * total / 4, rtol=0.2)
    assert values[3] == pytest.approx(1, rel=0.3)
    assert np.linalg.eigvalsh(model.between).min() > -1e-12


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_too_few_vectors_are_refused(classes: list[int]) -> None:
    with pytest.raises(DatasetError, match="PLDA needs 2 classes"):
        PLDA.fit(RNG.standard_normal((3, 2)), np.array(classes))
    with pytest.raises(DatasetError, match="PLDA needs 2 classes"):
        classify(RNG.standard_normal((3, 2)), np.array(classes), RNG.standard_normal((1, 2)), 3)


@pytest.fixture(scope="module")
def speechbrain() -> Iterator[ModuleType]:
    """An independent implementation: PLDA by expectation maximisation, and its scores of pairs."""
    pytest.importorskip("speechbrain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("speechbrain.processing.PLDA_LDA")
    # Some of its modules load what is not there as soon as anyone looks at them: Hypothesis does.
    for name in [name for name in sys.modules if name.partition(".")[0] == "speechbrain"]:
        del sys.modules[name]


def as_statistics(module: ModuleType, vectors: np.ndarray, names: np.ndarray) -> Any:
    count = len(vectors)
    nothing = np.array([None] * count)
    return module.StatObject_SB(
        modelset=names.astype(object),
        segset=np.array([f"{number:05d}" for number in range(count)], dtype=object),
        start=nothing,
        stop=nothing,
        stat0=np.ones((count, 1)),
        stat1=vectors.copy(),
    )


def test_scores_of_pairs_are_those_of_speechbrain(speechbrain: ModuleType) -> None:
    size, mean = 4, RNG.standard_normal(4)
    root, within = RNG.standard_normal((size, size)), covariance(size, 2)
    first, second = RNG.standard_normal((3, size)), RNG.standard_normal((5, size))
    scores = speechbrain.fast_PLDA_scoring(
        *(
            as_statistics(speechbrain, part, np.arange(len(part)).astype(str))
            for part in (first, second)
        ),
        speechbrain.Ndx(),
        mean,
        root,
        within,
        check_missing=False,
    )
    model = PLDA(mean=mean, between=root @ root.T, within=within)
    for vector, expected in zip(first, scores.scoremat, strict=True):
        found = model.log_likelihood_ratio(np.tile(vector, (5, 1)), second)
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_the_fit_by_moments_is_where_speechbrains_expectation_maximisation_ends(
    speechbrain: ModuleType,
) -> None:
    size, each = 3, 8
    centres = RNG.multivariate_normal(np.ones(size), covariance(size, 3), size=400)
    classes = np.repeat(np.arange(400), each)
    noise = RNG.multivariate_normal(np.zeros(size), covariance(size, 4), size=len(classes))
    vectors = centres[classes] + noise
    theirs = speechbrain.PLDA(rank_f=size, nb_iter=300)
    theirs.plda(as_statistics(speechbrain, vectors, np.char.zfill(classes.astype(str), 4)))
    ours = PLDA.fit(vectors, classes)
    # Classes of one size: maximum likelihood has a closed form, ours but for 1 in 400.
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-9)
    np.testing.assert_allclose(ours.within, theirs.Sigma, atol=0.002 * ours.within.max())
    np.testing.assert_allclose(ours.between, theirs.F @ theirs.F.T, atol=0.004 * ours.between.max())
