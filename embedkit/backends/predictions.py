"""Predictions as a table that other tools open."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from embedkit.files import atomic_write


def write_predictions(
    path: Path, clips: list[str], labels: tuple[str, ...], scores: NDArray[np.float64]
) -> None:
    """Write clip, label, score and a column `score:<label>` for each, as the suffix says.

    Args:
        path: a .csv or .parquet file.
        clips: names [n].
        labels: the classes.
        scores: [n, classes]; `label` is the class of the highest, `score` its score.
    """
    best = scores.argmax(axis=1)
    table = pa.table(
        {
            "clip": clips,
            "label": [labels[index] for index in best],
            "score": scores.max(axis=1),
            **{f"score:{label}": scores[:, index] for index, label in enumerate(labels)},
        }
    )
    with atomic_write(path) as file:
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(table, file, compression="zstd")
        else:
            pyarrow.csv.write_csv(table, file)
