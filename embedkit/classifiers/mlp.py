"""A multilayer perceptron on standardised vectors."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from embedkit.classifiers.method import Floats, Scale, Training, Vectors
from embedkit.errors import DatasetError
from embedkit.progress import Track, untracked

UNITS = 256  # of the hidden layer
EPOCHS = 200  # at most: fewer if the loss stands still
DECAY = 1.0  # L2: vectors are long and clips are few


@dataclass(frozen=True, kw_only=True)
class PerceptronModel:
    """One hidden layer of rectified units, then softmax or, for several labels, sigmoid.

    Attributes:
        mean, scale: mean and deviation of the training vectors [D].
        hidden: [D, units].
        hidden_bias: [units].
        weights: [units, classes].
        bias: [classes].
        several_labels: whether each class is decided by itself, instead of one class for a vector.
    """

    mean: Floats
    scale: Floats
    hidden: Floats
    hidden_bias: Floats
    weights: Floats
    bias: Floats
    several_labels: bool

    def scores(self, vectors: Vectors) -> Floats:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""
        standard = (vectors - self.mean) / self.scale
        linear = (standard @ self.hidden + self.hidden_bias).clip(min=0) @ self.weights + self.bias
        scores: Floats = expit(linear) if self.several_labels else softmax(linear, axis=1)
        return scores


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """The method; it is scikit-learn's, by Adam, for at most 200 epochs."""

    def fit(self, training: Training, track: Track = untracked) -> PerceptronModel:
        """Fit on the vectors all of whose labels are known.

        Args:
            training: labelled vectors.
            track: is not used.

        Returns:
            the model.

        Raises:
            DatasetError: there are no such vectors.
        """
        known = ~np.isnan(training.targets).any(axis=1)
        if not known.any():
            raise DatasetError(
                "a perceptron needs segments of which every label is known; fit by logistic or knn"
            )
        training = training.part(np.flatnonzero(known))
        scale = Scale.of(training.vectors)
        standard = (training.vectors - scale.mean) / scale.scale
        # As a matrix with a column a class the loss is a sum of yes and no, whatever the classes
        # there are: so one label a vector is named by its number.
        classes = training.targets if training.several_labels else training.targets.argmax(axis=1)
        if classes.shape[1:] == (1,):  # of one label, whether it is there
            classes = classes[:, 0]
        solver = MLPClassifier((UNITS,), alpha=DECAY, max_iter=EPOCHS, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
            for each in track([solver], "Fitting", 1):
                model = each.fit(standard, classes)
        hidden, weights = model.coefs_
        hidden_bias, bias = model.intercepts_
        if not training.several_labels:
            weights, bias = _by_class(weights, bias, model.classes_, training.targets.shape[1])
        return PerceptronModel(
            mean=scale.mean,
            scale=scale.scale,
            hidden=hidden,
            hidden_bias=hidden_bias,
            weights=weights,
            bias=bias,
            several_labels=training.several_labels,
        )


def _by_class(
    weights: Floats, bias: Floats, present: np.ndarray, count: int
) -> tuple[Floats, Floats]:
    """Output weights of all classes; a class without training vectors stays out of reach."""
    if len(present) == 2:  # scikit-learn then keeps the odds of the second alone
        weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
        bias = np.concatenate([np.zeros_like(bias), bias])
    every = np.zeros((len(weights), count))
    every_bias = np.full(count, -1e3)
    every[:, present], every_bias[present] = weights, bias
    return every, every_bias
