"""Are two sounds of one class, one animal, one machine? Pairs scored by PLDA."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.backends.classifier import Classifier
from embedkit.backends.plda import PldaModel
from embedkit.datasets.table import read_rows
from embedkit.errors import DatasetError, UsageError
from embedkit.store import EmbeddingTable

SAME = {"1": True, "true": True, "same": True, "0": False, "false": False, "different": False}


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Pairs of clips, all of one length n.

    Attributes:
        first, second: clips of a collection.
        same: whether they are of one class, bool [n].
    """

    first: list[str]
    second: list[str]
    same: NDArray[np.bool_]


def read_trials(path: Path) -> Trials:
    """Read a CSV or Parquet file with the columns first, second and same (1 or 0).

    Raises:
        DatasetError: it is none, or has no trial of the one or the other kind.
    """
    rows = read_rows(path)
    first, second, same = [], [], []
    for number, row in enumerate(rows, start=2):
        if not {"first", "second", "same"} <= set(row):
            raise DatasetError(
                f"{path}: expected the columns first, second and same, found: {', '.join(row)}"
            )
        verdict = SAME.get((row["same"] or "").lower())
        if not row["first"] or not row["second"] or verdict is None:
            raise DatasetError(f"{path}, row {number}: expected two clips, and 1 or 0 for same")
        first.append(row["first"])
        second.append(row["second"])
        same.append(verdict)
    if len(set(same)) < 2:
        raise DatasetError(f"{path}: expected trials of both kinds, same 1 and 0")
    return Trials(first=first, second=second, same=np.array(same))


def plda_of(classifier: Classifier) -> PldaModel:
    """The PLDA in a classifier.

    Raises:
        UsageError: it is of another method.
    """
    if not isinstance(classifier.model, PldaModel):
        raise UsageError("pairs are scored by PLDA: fit one with `classify fit --method plda`")
    return classifier.model


def score_trials(table: EmbeddingTable, model: PldaModel, trials: Trials) -> NDArray[np.float64]:
    """Log likelihood ratio of each pair [n], of the clips' vectors.

    Raises:
        DatasetError: the collection lacks a clip.
    """
    clips, vectors = table.clip_vectors({*trials.first, *trials.second})
    number = {clip: index for index, clip in enumerate(clips)}
    for clip in (*trials.first, *trials.second):
        if clip not in number:
            raise DatasetError(f"{table.folder}: has no clip {clip}")
    first, second = (
        vectors[[number[clip] for clip in side]] for side in (trials.first, trials.second)
    )
    return model.log_likelihood_ratio(first, second)
