"""Two-covariance PLDA: which class's distribution explains a vector best, given few of each."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers.method import Floats, Training, Vectors
from embedkit.errors import DatasetError
from embedkit.progress import Track, untracked

FLOOR = 1e-6  # of the mean variance: less than this varies, within classes too, in no direction
NOISE = 1e-6  # of the vectors' length: differences of this size are of float32's rounding


@dataclass(frozen=True, kw_only=True)
class PLDA:
    """x = y + e: y, the class's centre, from N(mean, between), and e from N(0, within).

    Probabilistic linear discriminant analysis (Ioffe, 2006; Prince and Elder, 2007) in its
    two-covariance form (Brummer and de Villiers, 2010).

    Attributes:
        mean: [D].
        between: covariance of the classes' centres [D, D].
        within: covariance of vectors around the centre of their class [D, D].
    """

    mean: Floats
    between: Floats
    within: Floats

    @classmethod
    def fit(cls, vectors: Floats, classes: NDArray[np.int64]) -> "PLDA":
        """Fit by moments, which is unbiased.

        Args:
            vectors: [n, D].
            classes: number of each one's class [n].

        Returns:
            the distribution.

        Raises:
            DatasetError: there are fewer than two classes, or none has two vectors.
        """
        numbers, owner, counts = np.unique(classes, return_inverse=True, return_counts=True)
        _require_classes(len(vectors), len(numbers))
        centres = np.array([vectors[owner == index].mean(axis=0) for index in range(len(numbers))])
        residuals = vectors - centres[owner]
        within = residuals.T @ residuals / (len(vectors) - len(numbers))
        scatter = np.atleast_2d(np.cov(centres.T))
        # The centres of finite samples scatter more than the true ones, by what `within` adds.
        between = _at_least(scatter - within * np.mean(1 / counts), 0.0)
        # Copies in every class leave directions in which nothing varies within classes.
        least = FLOOR * float(np.trace(scatter + within)) / len(within)
        return cls(mean=centres.mean(axis=0), between=between, within=_at_least(within, least))

    def log_likelihood(self, vectors: Floats, enrolled: Floats, count: int) -> Floats:
        """Ln p(x | the class of some known vectors), for each x.

        The posterior of the class's centre given n vectors with mean m is normal, with mean
        mean + between (between + within / n)^-1 (m - mean).

        Args:
            vectors: [n, D].
            enrolled: mean of the known vectors [D].
            count: number of the known vectors.

        Returns:
            [n].
        """
        gain = np.linalg.solve(self.between + self.within / count, self.between).T
        centre = self.mean + gain @ (enrolled - self.mean)
        spread = self.between - gain @ self.between + self.within
        likelihood: Floats = np.atleast_1d(multivariate_normal(centre, spread).logpdf(vectors))
        return likelihood

    def log_likelihood_ratio(self, first: Floats, second: Floats) -> Floats:
        """Ln of how much likelier each pair is to be of one class than of two.

        It is ln p(x, y | one class) - ln p(x) - ln p(y) of the rows x and y.

        Args:
            first: x [n, D].
            second: y [n, D].

        Returns:
            [n].
        """
        total = self.between + self.within
        gain = np.linalg.solve(total, self.between).T
        # Given x, y is normal around the posterior mean of the class's centre.
        after = multivariate_normal(cov=total - gain @ self.between)
        before = multivariate_normal(cov=total)
        apart = second - self.mean
        ratio: Floats = after.logpdf(apart - (first - self.mean) @ gain.T) - before.logpdf(apart)
        return np.atleast_1d(ratio)


@dataclass(frozen=True, kw_only=True)
class PldaModel:
    """PLDA of vectors that are centred, scaled to length 1, and projected.

    Attributes:
        centre: mean of the training vectors [D].
        projection: [D, d].
        offset: [d].
        mean: mean of the projected vectors' classes [d].
        between, within: covariances [d, d].
        centres: mean of each class's projected training vectors [classes, d].
        counts: number of each class's training vectors, int64 [classes].
    """

    centre: Floats
    projection: Floats
    offset: Floats
    mean: Floats
    between: Floats
    within: Floats
    centres: Floats
    counts: NDArray[np.int64]

    def scores(self, vectors: Vectors) -> Floats:
        """Probabilities of the classes, all equally likely beforehand, [n, classes].

        A class without training vectors has 0.
        """
        projected = self._project(vectors)
        scores = np.full((len(vectors), len(self.counts)), -np.inf)
        for number in np.flatnonzero(self.counts):
            # For the posterior the mean of a class's vectors stands for all of them.
            scores[:, number] = self._plda.log_likelihood(
                projected, self.centres[number], int(self.counts[number])
            )
        probabilities: Floats = softmax(scores, axis=1)
        return probabilities

    def log_likelihood_ratio(self, first: Vectors, second: Vectors) -> Floats:
        """Ln of how much likelier each pair is to be of one class; above 0 speaks for one class.

        Args:
            first: vectors [n, D].
            second: vectors [n, D].

        Returns:
            [n].
        """
        return self._plda.log_likelihood_ratio(self._project(first), self._project(second))

    @property
    def _plda(self) -> PLDA:
        return PLDA(mean=self.mean, between=self.between, within=self.within)

    def _project(self, vectors: Vectors) -> Floats:
        return _unit(vectors - self.centre) @ self.projection + self.offset


@dataclass(frozen=True, kw_only=True)
class Plda:
    """The settings of the method.

    Attributes:
        lda: project by linear discriminant analysis, to one dimension less than there are classes;
            else only leave out directions in which nothing varies.
    """

    lda: bool = True

    def fit(self, training: Training, track: Track = untracked) -> PldaModel:
        """Fit by moments.

        Args:
            training: labelled vectors.
            track: is not used.

        Returns:
            the model.

        Raises:
            DatasetError: vectors have several labels, there are fewer than two classes, no class
                has two vectors, or all vectors are equal but for rounding.
        """
        if training.several_labels:
            raise DatasetError("PLDA tells apart classes: it needs one label a clip")
        classes = training.targets.argmax(axis=1)
        _require_classes(len(classes), len(set(classes)))
        centre = training.vectors.mean(axis=0, dtype=np.float64)
        apart = np.linalg.norm(training.vectors - centre, axis=1).max()
        if apart <= NOISE * np.linalg.norm(centre):
            raise DatasetError(
                f"PLDA needs vectors that differ; the {len(classes)} that it is fitted on are"
                " equal, but for rounding: are they of silence, or copies of one sound?"
            )
        units = _unit(training.vectors - centre)
        projection, offset = self._projection(units, classes)
        projected = units @ projection + offset
        plda = PLDA.fit(projected, classes)
        counts = np.bincount(classes, minlength=training.targets.shape[1])
        sums = np.zeros((len(counts), projected.shape[1]))
        np.add.at(sums, classes, projected)
        return PldaModel(
            centre=centre,
            projection=projection,
            offset=offset,
            mean=plda.mean,
            between=plda.between,
            within=plda.within,
            centres=sums / np.maximum(counts, 1)[:, None],
            counts=counts,
        )

    def _projection(self, units: Floats, classes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Principal components, and linear discriminant analysis with a shrunk covariance on them.

        As many components are kept as leave the covariance within classes of full rank (Belhumeur
        et al., 1997).
        """
        pca = PCA().fit(units)
        varying = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
        kept = min(int(varying.sum()), len(units) - len(np.unique(classes)))
        projection: Floats = pca.components_[:kept].T
        if self.lda:
            floor = FLOOR * float(pca.explained_variance_[:kept].mean())
            lda = LinearDiscriminantAnalysis(
                solver="eigen", covariance_estimator=_ShrunkCovariance(floor)
            )
            with np.errstate(invalid="ignore"):  # shares of no variance between equal centres
                lda.fit((units - pca.mean_) @ projection, classes)
            dimensions = min(kept, len(lda.classes_) - 1)
            projection = projection @ lda.scalings_[:, :dimensions]
        return projection, -pca.mean_ @ projection


class _ShrunkCovariance(BaseEstimator):  # type: ignore[misc]
    """The shrinkage "auto" of LinearDiscriminantAnalysis, with a small lower bound everywhere."""

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def fit(self, X: Floats) -> Self:
        """Estimate `covariance_` [D, D] of X [n, D], by Ledoit and Wolf (2004)."""
        scaler = StandardScaler().fit(X)
        shrunk, _ = ledoit_wolf(scaler.transform(X))
        covariance = scaler.scale_[:, None] * shrunk * scaler.scale_
        self.covariance_ = covariance + self.floor * np.eye(X.shape[1])
        return self


def _at_least(covariance: Floats, least: float) -> Floats:
    """The covariance with eigenvalues that are no smaller than `least`."""
    values, axes = np.linalg.eigh(covariance)
    raised: Floats = (axes * np.maximum(values, least)) @ axes.T
    return raised


def _require_classes(vectors: int, classes: int) -> None:
    if classes < 2 or vectors <= classes:
        raise DatasetError(
            f"PLDA needs 2 classes, and one of 2 clips; found {vectors} clips of {classes}"
        )


def _unit(vectors: Floats) -> Floats:
    length: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
