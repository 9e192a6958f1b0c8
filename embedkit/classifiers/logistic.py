"""Logistic regression on standardised vectors."""

import warnings
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from embedkit.classifiers.method import Floats, Scale, Training, Vectors
from embedkit.errors import EmbedkitWarning
from embedkit.progress import Track, untracked

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # C's that cross-validation chooses from
FOLDS = 5
STEPS = 1000  # of the solver, at most
CHOICE = 10_000  # vectors, at most, that it is chosen on
SCORES = 2_000_000  # of vectors times labels, at most, that it is chosen on
LABELS = 20  # labels, at most, that it is chosen on where a vector may have several

# The odds for a class that the training vectors all have, or none has: as good as certain.
CERTAIN = 30.0


@dataclass(frozen=True, kw_only=True)
class LogisticModel:
    """Linear scores of standardised vectors, by softmax or, for several labels, by sigmoid.

    Attributes:
        mean, scale: mean and deviation of the training vectors [D].
        weights: [classes, D].
        bias: [classes].
        several_labels: whether each class is decided by itself, instead of one class for a vector.
        c: inverse strength of the L2 penalty that it was fitted with.
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
    """The settings of the method.

    Attributes:
        c: inverse strength of the L2 penalty. None: cross-validation of the vectors it is fitted
            on, by whole groups, chooses the one with the least log loss. The work is bounded: 20
            fits, on no more than 10,000 vectors (fewer if there are more than 200 labels); where a
            vector may have several labels, on 20 labels drawn at random.
    """

    c: float | None = None

    def fit(self, training: Training, track: Track = untracked) -> LogisticModel:
        """Fit.

        Args:
            training: labelled vectors.
            track: shows the progress.

        Returns:
            the model.
        """
        c = choose_c(training, track) if self.c is None else self.c
        return _fit(training, c, track)


def choose_c(training: Training, track: Track = untracked) -> float:
    """The strength under which vectors of held-out groups are likeliest.

    Args:
        training: labelled vectors.
        track: shows the progress.

    Returns:
        the inverse strength C.
    """
    training = _sample(training)
    folds = min(FOLDS, len(set(training.groups)))
    if folds < 2:
        return STRENGTHS[-2]
    splitter = GroupKFold(n_splits=folds, shuffle=True, random_state=0)
    splits = splitter.split(training.vectors, groups=training.groups)
    work = list(product(splits, enumerate(STRENGTHS)))
    losses = np.zeros(len(STRENGTHS))
    for (rows, held), (number, c) in track(work, "Choosing C", len(work)):
        part, wanted = training.part(rows), training.targets[held]
        if not training.several_labels and len(set(part.targets.argmax(axis=1))) < 2:
            continue
        scores = _fit(part, c).scores(training.vectors[held]).clip(1e-7, 1 - 1e-7)
        losses[number] -= np.nansum(wanted * np.log(scores))
        if training.several_labels:
            losses[number] -= np.nansum((1 - wanted) * np.log(1 - scores))
    return STRENGTHS[int(losses.argmin())]


def _sample(training: Training) -> Training:
    """The vectors that the strength is chosen on; their number is bounded, and so is the time."""
    rng = np.random.default_rng(0)
    labels = training.targets.shape[1]
    if training.several_labels and labels > LABELS:
        labels = LABELS
        open_questions = np.flatnonzero(
            (training.targets == 1).any(axis=0) & (training.targets == 0).any(axis=0)
        )
        drawn = rng.permutation(open_questions)[:LABELS]
        training = replace(training, targets=training.targets[:, np.sort(drawn)])
    most = min(CHOICE, SCORES // labels)
    if len(training) > most:
        training = training.part(rng.choice(len(training), most, replace=False))
    return training


def _fit(training: Training, c: float, track: Track = untracked) -> LogisticModel:
    scale = Scale.of(training.vectors)
    standard = (training.vectors - scale.mean) / scale.scale
    weights = np.zeros((training.targets.shape[1], training.vectors.shape[1]))
    # A class without a training vector stays out of reach.
    bias = np.full(len(weights), -CERTAIN)
    if training.several_labels:
        for index, column in track(enumerate(training.targets.T), "Fitting", len(weights)):
            known = ~np.isnan(column)
            if not column[known].any():
                continue
            if column[known].all():
                bias[index] = CERTAIN
            else:
                model = _solve(standard[known], column[known], c)
                weights[index], bias[index] = model.coef_[0], model.intercept_[0]
    else:
        classes = training.targets.argmax(axis=1)
        for wanted in track([classes], "Fitting", 1):
            model = _solve(standard, wanted, c)
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


def _solve(vectors: Floats, classes: Any, c: float) -> Any:
    """Scikit-learn's regression; if it ends too early, a warning says so in our words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=c, max_iter=STEPS).fit(vectors, classes)
    if model.n_iter_.max() >= STEPS:
        warnings.warn(
            f"logistic regression had not converged after {STEPS} steps (C = {c:g}): its scores may"
            " be off by a little; a smaller C converges sooner",
            EmbedkitWarning,
            stacklevel=2,
        )
    return model
