"""A classifier: a fitted model with its labels, stored as arrays and JSON."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embedkit.atomic import atomic_write
from embedkit.classifiers.knn import Neighbours, NeighboursModel
from embedkit.classifiers.logistic import Logistic, LogisticModel
from embedkit.classifiers.method import Floats, Method, Model, Training, Vectors
from embedkit.classifiers.mlp import Perceptron, PerceptronModel
from embedkit.classifiers.plda import Plda, PldaModel
from embedkit.errors import DatasetError, EmbedkitError, UsageError, choices
from embedkit.labels.join import Labelled
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable
from embedkit.untrusted import read_json

log = logging.getLogger(__name__)

SETTINGS, ARRAYS = "classifier.json", "classifier.safetensors"
MOST = 100_000  # vectors that a model is fitted on: of more, a sample

METHODS: dict[str, Callable[..., Method]] = {
    "logistic": Logistic,
    "knn": Neighbours,
    "plda": Plda,
    "mlp": Perceptron,
}
MODELS: dict[str, type[Any]] = {
    "logistic": LogisticModel,
    "knn": NeighboursModel,
    "plda": PldaModel,
    "mlp": PerceptronModel,
}


def find_method(name: str, **settings: Any) -> Method:
    """A method by its name, with settings.

    Raises:
        UsageError: there is no such method, or it has no such setting.
    """
    if name not in METHODS:
        raise UsageError(f"no method {name!r}{choices(name, METHODS)}")
    try:
        return METHODS[name](**settings)
    except TypeError as error:
        raise UsageError(f"{name} has no setting {', '.join(settings)}") from error


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Scores of vectors for each label.

    Attributes:
        labels: the classes.
        several_labels: whether a vector may have more than one label.
        fingerprint: that of the extractor whose vectors it was fitted on.
        size: D.
        model: computes the scores.
    """

    labels: tuple[str, ...]
    several_labels: bool
    fingerprint: str
    size: int
    model: Model

    @classmethod
    def fit(
        cls,
        data: Labelled,
        rows: NDArray[np.int64],
        method: Method,
        *,
        fingerprint: str,
        track: Track = untracked,
    ) -> Self:
        """Fit on some labelled vectors; of more than 100,000, on 100,000 drawn at random.

        If some must go, vectors without any label go first.

        Args:
            data: the labelled vectors.
            rows: numbers of those to fit on.
            method: how to fit.
            fingerprint: that of the extractor that made the vectors.
            track: shows the progress.

        Returns:
            the classifier.

        Raises:
            DatasetError: there is only one label, or the method cannot be fitted on these vectors.
        """
        if not data.several_labels and len(set(data.classes[rows])) < 2:
            raise DatasetError(
                "a classifier needs at least 2 labels among the clips it is fitted on"
            )
        if data.several_labels and not (data.targets[rows] == 0).any():
            raise DatasetError(
                "a classifier needs to know what a label is not: of all that it is fitted on, each"
                " has every label; mark other sounds too, some with the sign -"
            )
        if len(rows) > MOST:
            log.warning("fitted on %d of %d vectors, drawn at random", MOST, len(rows))
            rng = np.random.default_rng(0)
            has_any = (data.targets[rows] == 1).any(axis=1)
            kept, others = rows[has_any], rows[~has_any]
            spare = (
                rng.choice(others, max(0, MOST - len(kept)), replace=False)
                if len(others)
                else others
            )
            kept = rng.choice(kept, min(MOST, len(kept)), replace=False)
            rows = np.sort(np.concatenate([kept, spare]))
        training = Training(
            vectors=data.vectors[rows],
            targets=data.targets[rows],
            several_labels=data.several_labels,
            groups=np.array(data.groups, object)[rows],
        )
        return cls(
            labels=data.labels,
            several_labels=data.several_labels,
            fingerprint=fingerprint,
            size=data.vectors.shape[1],
            model=method.fit(training, track),
        )

    def check(self, table: EmbeddingTable) -> None:
        """Refuse a folder of other vectors.

        Raises:
            EmbedkitError: they are of another extractor, or of another size.
        """
        if self.fingerprint != table.provenance.fingerprint:
            raise EmbedkitError(
                f"{table.folder}: its vectors are of extractor {table.provenance.fingerprint[:12]},"
                f" the classifier was fitted on those of {self.fingerprint[:12]}; extract with that"
                " model, or fit anew"
            )
        if self.size != table.embedding_size:
            raise EmbedkitError(
                f"{table.folder}: its vectors have {table.embedding_size} numbers, the classifier"
                f" was fitted on vectors of {self.size}; extract with --dim {self.size}"
            )

    def scores(self, vectors: Vectors) -> Floats:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""
        return self.model.scores(vectors)

    def save(self, folder: Path) -> None:
        """Write classifier.json and classifier.safetensors."""
        name = next(name for name, kind in MODELS.items() if isinstance(self.model, kind))
        values = vars(self.model)
        arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
        settings = {
            "method": name,
            "labels": list(self.labels),
            "several_labels": self.several_labels,
            "fingerprint": self.fingerprint,
            "size": self.size,
            "model": {key: value for key, value in values.items() if key not in arrays},
        }
        with atomic_write(folder / ARRAYS) as file:
            file.write(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))
        with atomic_write(folder / SETTINGS) as file:
            file.write(json.dumps(settings, indent=2, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            EmbedkitError: it is no classifier's folder, or a damaged one.
        """
        try:
            settings = read_json(folder / SETTINGS)
            arrays = load((folder / ARRAYS).read_bytes())
            kind = MODELS.get(settings["method"])
            if kind is None:
                raise EmbedkitError(f"{folder}: a classifier of a method that is not known here")
            values = {**arrays, **settings["model"]}
            classifier = cls(
                labels=tuple(map(str, settings["labels"])),
                several_labels=bool(settings["several_labels"]),
                fingerprint=str(settings["fingerprint"]),
                size=int(settings["size"]),
                model=kind(**{field.name: values[field.name] for field in fields(kind)}),
            )
            # Arrays that do not fit each other, or the labels, show in one vector's scores.
            found = classifier.scores(np.zeros((1, classifier.size), np.float32))
            fits = found.shape == (1, len(classifier.labels)) and np.isrealobj(found)
            if not fits or not np.isfinite(found).all():
                raise EmbedkitError(f"{folder}: the classifier's arrays do not fit its labels")
        except FileNotFoundError as error:
            raise EmbedkitError(
                f"{folder}: not a classifier: it has no {Path(error.filename).name}."
                " `embedkit classify fit` makes one."
            ) from error
        except EmbedkitError:
            raise
        except (OSError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise EmbedkitError(f"{folder}: not a readable classifier: {error}") from error
        except SafetensorError as error:
            raise EmbedkitError(f"{folder}: not a readable classifier: {error}") from error
        return classifier
