"""Logistic regression on standardised vectors."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from embedkit.backends.method import Floats, Scale, Training, Vectors

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # C's that cross-validation chooses from
FOLDS = 5
CHOICE = 10_000  # vectors, at most, that it is chosen on

# The odds for a class that the training vectors all have, or none has: as good as certain.
CERTAIN = 30.0


@dataclass(frozen=True, kw_only=True)
class LogisticModel:
    """Linear scores of standardised vectors, by softmax or, for several labels, by sigmoid.

    Attributes:
        mean, scale: of the training vectors [D].
        weights: [classes, D].
        bias: [classes].
        several_labels: one yes or no a class, instead of one class a vector.
        c: inverse strength of the L2 penalty it was fitted with.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    several_labels: bool
    c: float

    def scores(self, vectors: Vectors) -> Floats:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""
        linear = (vectors - self.mean) / self.scale @ self.weights.T + self.bias
        scores: Floats = expit(linear) if self.several_labels else softmax(linear, axis=1)
        return scores


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """How to fit it.

    Attributes:
        c: inverse strength of the L2 penalty; None: chosen by cross-validation, by whole groups, of
            the vectors it is fitted on, for the least log loss.
    """

    c: float | None = None

    def fit(self, training: Training) -> LogisticModel:
        """Fit."""
        return _fit(training, choose_c(training) if self.c is None else self.c)


def choose_c(training: Training) -> float:
    """The strength under which vectors of groups that were not fitted on are likeliest."""
    if len(training) > CHOICE:
        rng = np.random.default_rng(0)
        training = training.part(rng.choice(len(training), CHOICE, replace=False))
    folds = min(FOLDS, len(set(training.groups)))
    if folds < 2:
        return STRENGTHS[-2]
    splitter = GroupKFold(n_splits=folds, shuffle=True, random_state=0)
    losses = np.zeros(len(STRENGTHS))
    for rows, held in splitter.split(training.vectors, groups=training.groups):
        part, wanted = training.part(rows), training.targets[held]
        if not training.several_labels and len(set(part.targets.argmax(axis=1))) < 2:
            continue
        for number, c in enumerate(STRENGTHS):
            scores = _fit(part, c).scores(training.vectors[held]).clip(1e-7, 1 - 1e-7)
            losses[number] -= (wanted * np.log(scores)).sum()
            if training.several_labels:
                losses[number] -= ((1 - wanted) * np.log(1 - scores)).sum()
    return STRENGTHS[int(losses.argmin())]


def _fit(training: Training, c: float) -> LogisticModel:
    scale = Scale.of(training.vectors)
    standard = (training.vectors - scale.mean) / scale.scale
    weights = np.zeros((training.targets.shape[1], training.vectors.shape[1]))
    # A class without a training vector stays out of reach.
    bias = np.full(len(weights), -CERTAIN)
    if training.several_labels:
        for index, column in enumerate(training.targets.T):
            if column.all():
                bias[index] = CERTAIN
            elif column.any():
                model = LogisticRegression(C=c, max_iter=1000).fit(standard, column)
                weights[index], bias[index] = model.coef_[0], model.intercept_[0]
    else:
        classes = training.targets.argmax(axis=1)
        model = LogisticRegression(C=c, max_iter=1000).fit(standard, classes)
        if len(model.classes_) == 2:  # scikit-learn then keeps the odds of the second alone
            weights[model.classes_] = np.stack([np.zeros_like(model.coef_[0]), model.coef_[0]])
            bias[model.classes_] = [0.0, model.intercept_[0]]
        else:
            weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return LogisticModel(
        mean=scale.mean,
        scale=scale.scale,
        weights=weights,
        bias=bias,
        several_labels=training.several_labels,
        c=c,
    )
