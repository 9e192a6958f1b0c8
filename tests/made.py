"""Embedding folders and labelled vectors that tests make up."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers.classifier import Classifier, find_method
from embedkit.classifiers.logistic import LogisticModel
from embedkit.labels.join import Labelled
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

FINGERPRINT = "f" * 64
Vectors = NDArray[np.float32]


def write_table_of(
    folder: Path,
    clips: Mapping[str, Vectors],
    *,
    root: Path = Path("/audio"),
    last_s: float = 0.5,
    hop_s: float = 1.0,
    size: int = 4,
) -> EmbeddingTable:
    """Clips whose segments [n, D] last 1 s, the last one of each `last_s`; of none D is `size`."""
    size = next(iter(clips.values())).shape[1] if clips else size
    provenance = Provenance(
        audio_root=str(root), model="model", fingerprint=FINGERPRINT, embedding_size=size,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=hop_s, channel="mix", runtime="torch",
    )  # fmt: skip
    with EmbeddingWriter(folder, provenance) as writer:
        for clip, vectors in clips.items():
            index = np.arange(len(vectors), dtype=np.int32)
            start = hop_s * index
            end = start + 1
            end[-1] += last_s - 1
            writer.add_rows(clip, index, start, end, vectors)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": end[-1], "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=len(vectors), **facts))
    return EmbeddingTable.open(folder)


def draw(rows: int, size: int = 4, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((rows, size)).astype(np.float32)


def labelled(classes: int, each: int = 12, *, folds: int = 3, size: int = 6) -> Labelled:
    """Overlapping clouds of clips, one a class, in folds by turns and groups of two."""
    count = classes * each
    truth = np.arange(count) % classes
    centres = np.random.default_rng(1).standard_normal((classes, size))
    vectors = (draw(count, size) + centres[truth]) * [1, 10, 0.1, 1, 1, 1] + 3
    return Labelled(
        clips=[f"{n}.wav" for n in range(count)],
        vectors=vectors.astype(np.float32),
        targets=np.eye(classes, dtype=np.float32)[truth],
        labels=tuple("abcdefgh"[:classes]),
        several_labels=False,
        folds=[str(n // classes // 2 % folds) for n in range(count)],
        splits=None,
        groups=[str(n // classes // 2) for n in range(count)],
    )


def pipeline(c: float = 0.1) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


def fit(data: Labelled, rows: Any = slice(None), **settings: Any) -> Classifier:
    several = settings.pop("several_labels", False)
    data = replace(data, targets=settings.pop("targets", data.targets), several_labels=several)
    method = find_method(settings.pop("method", "logistic"), **{"c": 0.1, **settings})
    return Classifier.fit(data, np.arange(len(data.clips))[rows], method, fingerprint=FINGERPRINT)


def namer(*labels: str, size: int | None = None, fingerprint: str = FINGERPRINT) -> Classifier:
    """A classifier whose n-th label has the logistic function of a vector's n-th number."""
    size = size or len(labels)
    model = LogisticModel(
        mean=np.zeros(size), scale=np.ones(size), weights=np.eye(len(labels), size),
        bias=np.zeros(len(labels)), several_labels=True, c=1.0,
    )  # fmt: skip
    return Classifier(
        labels=labels, several_labels=True, fingerprint=fingerprint, size=size, model=model
    )


def log_odds(*rows: tuple[float, ...]) -> Vectors:
    """Vectors to which `namer` gives these probabilities."""
    return logit(np.array(rows)).astype(np.float32)
