"""Two-covariance PLDA: which class's distribution explains a vector best, given few of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from embedkit.errors import DatasetError

Floats = NDArray[np.float64]


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
        """Fit by moments, which is unbiased: vectors [n, D] of classes [n].

        Raises:
            DatasetError: fewer than two classes, or none of two vectors.
        """
        numbers, owner, counts = np.unique(classes, return_inverse=True, return_counts=True)
        _require_classes(len(vectors), len(numbers))
        centres = np.array([vectors[owner == index].mean(axis=0) for index in range(len(numbers))])
        residuals = vectors - centres[owner]
        within = residuals.T @ residuals / (len(vectors) - len(numbers))
        # The centres of finite samples scatter more than the true ones, by what `within` adds.
        between = np.atleast_2d(np.cov(centres.T)) - within * np.mean(1 / counts)
        values, axes = np.linalg.eigh(between)
        between = (axes * np.maximum(values, 1e-9 * values.max())) @ axes.T
        return cls(mean=centres.mean(axis=0), between=between, within=within)

    def log_likelihood(self, vectors: Floats, enrolled: Floats) -> Floats:
        """Ln p(x | the class that these vectors are of), for each vector.

        The posterior of the class's centre given n vectors with mean m is normal, with mean
        mean + between (between + within / n)^-1 (m - mean).

        Args:
            vectors: [n, D].
            enrolled: of one class, [m, D].

        Returns:
            [n].
        """
        gain = np.linalg.solve(self.between + self.within / len(enrolled), self.between).T
        centre = self.mean + gain @ (enrolled.mean(axis=0) - self.mean)
        spread = self.between - gain @ self.between + self.within
        likelihood: Floats = np.atleast_1d(multivariate_normal(centre, spread).logpdf(vectors))
        return likelihood


def classify(training: Floats, classes: NDArray[np.int64], vectors: Floats, count: int) -> Floats:
    """Probabilities of the classes, all equally likely beforehand.

    Vectors are centred, brought to length 1, and projected by linear discriminant analysis to one
    dimension less than there are classes; there PLDA is fitted.

    Args:
        training: [n, D].
        classes: of them, from 0 on [n].
        vectors: [m, D].
        count: how many classes there are.

    Returns:
        [m, count]; 0 for a class without training vectors.

    Raises:
        DatasetError: as PLDA.fit.
    """
    centre = training.mean(axis=0)
    training, vectors = (_unit(part - centre) for part in (training, vectors))
    numbers = np.unique(classes)
    _require_classes(len(training), len(numbers))
    training, vectors = _discriminant(training, classes, vectors)
    model = PLDA.fit(training, classes)
    scores = np.full((len(vectors), count), -np.inf)
    for number in numbers:
        scores[:, number] = model.log_likelihood(vectors, training[classes == number])
    probabilities: Floats = softmax(scores, axis=1)
    return probabilities


def _discriminant(
    training: Floats, classes: NDArray[np.int64], vectors: Floats
) -> tuple[Floats, Floats]:
    """Linear discriminant analysis with a shrunk covariance, on principal components.

    As many are kept as leave the covariance within classes of full rank (Belhumeur et al., 1997).
    """
    if np.ptp(training, axis=0).max() < 1e-12:
        raise DatasetError("PLDA needs vectors that differ; all training vectors are equal")
    pca = PCA().fit(training)
    varying = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
    kept = min(int(varying.sum()), len(training) - len(np.unique(classes)))
    training, vectors = (pca.transform(part)[:, :kept] for part in (training, vectors))
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(training, classes)
    return lda.transform(training), lda.transform(vectors)


def _require_classes(vectors: int, classes: int) -> None:
    if classes < 2 or vectors <= classes:
        raise DatasetError(
            f"PLDA needs 2 classes, and one of 2 clips; found {vectors} clips of {classes}"
        )


def _unit(vectors: Floats) -> Floats:
    length: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
