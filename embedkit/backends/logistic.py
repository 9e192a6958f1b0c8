"""Logistic regression on standardised clip vectors, kept as arrays and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from embedkit.errors import DatasetError, EmbedkitError
from embedkit.files import atomic_write

SETTINGS, ARRAYS = "classifier.json", "classifier.safetensors"
METHOD = "logistic"

# The odds for a class that the training clips all have, or none has: as good as certain.
CERTAIN = 30.0


@dataclass(frozen=True, kw_only=True)
class LogisticClassifier:
    """Linear scores of standardised vectors, by softmax or, for several labels, by sigmoid.

    Attributes:
        labels: the classes.
        several_labels: one yes or no a class, instead of one class a clip.
        fingerprint: of the extractor whose vectors it was fitted on.
        mean, scale: of the training vectors [D].
        weights: [classes, D].
        bias: [classes].
    """

    labels: tuple[str, ...]
    several_labels: bool
    fingerprint: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        vectors: NDArray[np.float32],
        targets: NDArray[np.float32],
        *,
        labels: tuple[str, ...],
        several_labels: bool,
        fingerprint: str,
        c: float = 0.1,
    ) -> "LogisticClassifier":
        """Fit on vectors [n, D] and targets [n, classes].

        Args:
            vectors: of the training clips.
            targets: 1 where a clip has the label.
            labels: names of the columns of `targets`.
            several_labels: whether a clip may have more than one.
            fingerprint: of the extractor.
            c: inverse strength of the L2 penalty.

        Raises:
            DatasetError: fewer than two classes among the training clips.
        """
        scaler = StandardScaler().fit(vectors.astype(np.float64))
        standard = scaler.transform(vectors.astype(np.float64))
        weights = np.zeros((len(labels), vectors.shape[1]))
        # A class without a training clip stays out of reach.
        bias = np.full(len(labels), -CERTAIN)
        if several_labels:
            for index, column in enumerate(targets.T):
                if column.all():
                    bias[index] = CERTAIN
                elif column.any():
                    model = LogisticRegression(C=c, max_iter=1000).fit(standard, column)
                    weights[index], bias[index] = model.coef_[0], model.intercept_[0]
        else:
            classes = targets.argmax(axis=1)
            if len(set(classes)) < 2:
                raise DatasetError(
                    "a classifier needs at least 2 labels among the clips it is fitted on"
                )
            model = LogisticRegression(C=c, max_iter=1000).fit(standard, classes)
            if len(model.classes_) == 2:  # scikit-learn then keeps the odds of the second alone
                weights[model.classes_] = np.stack([np.zeros_like(model.coef_[0]), model.coef_[0]])
                bias[model.classes_] = [0.0, model.intercept_[0]]
            else:
                weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
        return cls(
            labels=labels,
            several_labels=several_labels,
            fingerprint=fingerprint,
            mean=scaler.mean_,
            scale=scaler.scale_,
            weights=weights,
            bias=bias,
        )

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""
        linear = (vectors - self.mean) / self.scale @ self.weights.T + self.bias
        scores: NDArray[np.float64] = expit(linear) if self.several_labels else softmax(linear, 1)
        return scores

    def save(self, folder: Path) -> None:
        """Write classifier.json and classifier.safetensors."""
        arrays = {
            "mean": self.mean,
            "scale": self.scale,
            "weights": self.weights,
            "bias": self.bias,
        }
        settings = {
            "method": METHOD,
            "labels": list(self.labels),
            "several_labels": self.several_labels,
            "fingerprint": self.fingerprint,
        }
        with atomic_write(folder / ARRAYS) as file:
            file.write(save(arrays))
        with atomic_write(folder / SETTINGS) as file:
            file.write(json.dumps(settings, indent=2, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Path) -> "LogisticClassifier":
        """Read what `save` wrote.

        Raises:
            EmbedkitError: not a classifier's folder, or a damaged one.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            arrays = load((folder / ARRAYS).read_bytes())
            if settings["method"] != METHOD:
                raise EmbedkitError(f"{folder}: a classifier of another method")
            classes, size = arrays["weights"].shape
            shapes = [arrays[name].shape for name in ("mean", "scale", "bias")]
            if classes != len(settings["labels"]) or shapes != [(size,), (size,), (classes,)]:
                raise EmbedkitError(f"{folder}: the classifier's arrays do not fit its labels")
            return cls(
                labels=tuple(settings["labels"]),
                several_labels=settings["several_labels"],
                fingerprint=settings["fingerprint"],
                mean=arrays["mean"],
                scale=arrays["scale"],
                weights=arrays["weights"],
                bias=arrays["bias"],
            )
        except FileNotFoundError as error:
            raise EmbedkitError(
                f"{folder}: not a classifier: it has no {Path(error.filename).name}."
                " `embedkit classify fit` makes one."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise EmbedkitError(f"{folder}: not a readable classifier: {error}") from error
