"""Decides by PLDA whether two sounds are of one class, such as one animal or one machine."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.plda import PldaModel
from embedkit.datasets.columns import require
from embedkit.datasets.names import match, nearest
from embedkit.datasets.table import read_table, refuse_times
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import clip_names
from embedkit.store import EmbeddingTable

COLUMNS = ("first", "second", "same")
SAME = {"1": True, "true": True, "same": True, "0": False, "false": False, "different": False}


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Pairs of clips, all of one length n.

    Attributes:
        first, second: names of clips of a collection.
        same: whether they are of one class, bool [n].
    """

    first: list[str]
    second: list[str]
    same: NDArray[np.bool_]


def read_trials(path: Path) -> Trials:
    """Read a CSV or Parquet file with the columns first, second and same (1 or 0).

    Raises:
        DatasetError: it is no such table, or lacks trials of one kind.
    """
    table = read_table(path)
    refuse_times(table, ", and pairs are of whole clips; take the column out")
    columns = [table.texts(require(name, table.headings, path)) for name in COLUMNS]
    first, second, same = [], [], []
    for number, one, other, text in zip(table.rows, *columns, strict=True):
        verdict = SAME.get((text or "").strip().lower())
        if not one or not other or verdict is None:
            raise DatasetError(f"{path}, row {number}: expected two clips, and 1 or 0 for same")
        first.append(one)
        second.append(other)
        same.append(verdict)
    if len(set(same)) < 2:
        raise DatasetError(f"{path}: expected trials of both kinds, same 1 and 0")
    return Trials(first=first, second=second, same=np.array(same))


def plda_of(classifier: Classifier) -> PldaModel:
    """The PLDA in a classifier.

    Raises:
        UsageError: the classifier is of another method.
    """
    if not isinstance(classifier.model, PldaModel):
        raise UsageError("pairs are scored by PLDA: fit one with `classify fit --method plda`")
    return classifier.model


def score_trials(table: EmbeddingTable, model: PldaModel, trials: Trials) -> NDArray[np.float64]:
    """Log likelihood ratio of each pair, by the clips' vectors.

    Args:
        table: the collection.
        model: the PLDA.
        trials: the pairs.

    Returns:
        float64 [n].

    Raises:
        DatasetError: the collection lacks a clip.
    """
    asked = dict.fromkeys((*trials.first, *trials.second))
    there = clip_names(table)
    found = match(asked, there)
    for clip in asked:
        if clip not in found:
            near = nearest(clip, there)
            hint = f"; did you mean {near}?" if near else ""
            raise DatasetError(f"{table.folder}: has no clip {clip}{hint}")
    clips, vectors = table.clip_vectors({*found.values()})
    number = {clip: index for index, clip in enumerate(clips)}
    first, second = (
        vectors[[number[found[clip]] for clip in side]] for side in (trials.first, trials.second)
    )
    return model.log_likelihood_ratio(first, second)
