"""Vectors of another extractor that a student learns: any Parquet with the columns of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedkit.datasets.columns import PATH, START, VECTOR, require
from embedkit.datasets.names import match
from embedkit.datasets.table import LISTS
from embedkit.errors import DatasetError
from embedkit.store.layout import MANIFEST, ROWS, list_parts


@dataclass(frozen=True)
class Targets:
    """Vectors of some clips, sorted by clip and time.

    Attributes:
        name: name of the extractor that made them, as far as the folder's name tells.
        clip: index of the clip in the list that was asked for: int64 [rows].
        start_s: beginning of the segment in seconds: float64 [rows].
        vectors: floating point [rows, D].
    """

    name: str
    clip: NDArray[np.int64]
    start_s: NDArray[np.float64]
    vectors: NDArray[np.floating]

    def find(
        self, clip: NDArray[np.int64], start_s: NDArray[np.float64], within_s: float
    ) -> NDArray[np.int64]:
        """The row that is nearest in time to each of some segments.

        Args:
            clip: index of each segment's clip [n].
            start_s: beginning of each segment in seconds [n].
            within_s: the largest difference that is near enough.

        Returns:
            int64 [n]; -1 where no row is near enough.
        """
        span = 4 * within_s + max(self.start_s.max(), start_s.max(initial=0.0))
        rows, wanted = self.clip * span + self.start_s, clip * span + start_s
        after = np.searchsorted(rows, wanted).clip(1, max(1, len(rows) - 1))
        before = after - 1
        after = after.clip(max=len(rows) - 1)
        nearest = np.where(wanted - rows[before] <= rows[after] - wanted, before, after)
        # Compared as times of one clip: the keys above have lost some digits.
        near = np.abs(self.start_s[nearest] - start_s) <= within_s
        return np.where(near & (self.clip[nearest] == clip), nearest, -1)


def read_targets(path: Path, clips: Sequence[str]) -> Targets:
    """Read the vectors of some clips.

    Args:
        path: an embedding folder, or Parquet files with the columns clip, start_s and embedding:
            one file, or a folder of them.
        clips: names of the clips, which are paths below the folder of audio.

    Returns:
        the vectors.

    Raises:
        DatasetError: there is no Parquet, it is not such Parquet, or it has none of the clips.
    """
    files = _files(path)
    parts = [part for file in files for part in _read(file, clips)]
    sizes = {part[2].shape[1] for part in parts}
    if len(sizes) > 1:
        raise DatasetError(f"{path}: vectors of {' and of '.join(map(str, sorted(sizes)))} numbers")
    if not sum(len(part[0]) for part in parts):
        raise DatasetError(
            f"{path}: no vectors of any of the {len(clips)} clips; are they named there by their"
            f" paths below the audio folder, as in {clips[0]!r}?"
        )
    clip, start_s, vectors = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((start_s, clip))
    return Targets(path.stem, clip[order], start_s[order], vectors[order])


def _files(path: Path) -> list[Path]:
    if (path / MANIFEST).exists():
        files = [path / ROWS / part.name for part in list_parts(path)]
    elif path.is_dir():
        files = sorted(path.rglob("*.parquet"))
    else:
        files = [path]
    if not files:
        raise DatasetError(f"{path}: no Parquet file in it")
    return files


Part = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.floating]]


def _read(file: Path, clips: Sequence[str]) -> Iterator[Part]:
    try:
        with pq.ParquetFile(file) as parquet:
            headings = parquet.schema_arrow.names
            columns = [require(meaning, headings, file) for meaning in (PATH, START, VECTOR)]
            path, start, vector = columns
            there: set[str] = set()
            for batch in parquet.iter_batches(columns=[path]):
                there.update(pc.unique(batch[path].cast(pa.string())).drop_null().to_pylist())
            called = match(clips, there)  # by our names, theirs
            asked = [index for index, clip in enumerate(clips) if clip in called]
            names = pa.array([called[clips[index]] for index in asked], pa.string())
            number = np.array(asked, np.int64)
            for batch in parquet.iter_batches(columns=columns):
                index = pc.index_in(batch[path].cast(pa.string()), names)
                known = batch.filter(index.is_valid())
                start_s = np.asarray(known[start].cast(pa.float64()))
                clip = number[np.asarray(index.drop_null(), np.int64)]
                yield clip, start_s, _vectors(known[vector])
    except DatasetError as error:
        raise DatasetError(f"{file}: {error}" if str(file) not in str(error) else error) from error
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DatasetError(f"{file}: cannot be read as vectors: {error}") from error


def _vectors(column: pa.Array) -> NDArray[np.floating]:
    kind = column.type
    if not any(known(kind) for known in LISTS):
        raise DatasetError(f"its embedding column holds {kind}, not lists of numbers")
    if not pa.types.is_floating(kind.value_type):
        raise DatasetError(f"its embeddings are of {kind.value_type}, not floating point")
    if not len(column):
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
        return np.empty((0, size), np.float32)
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DatasetError(f"its embeddings are not of one size: {lengths[:5]}")
    values = np.asarray(column.flatten()).reshape(len(column), lengths[0])
    if not np.isfinite(values).all():
        raise DatasetError("its embeddings hold NaN or infinity")
    return values
