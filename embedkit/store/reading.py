"""Opens the files of a part, and says in words what happened to them while they were read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedkit.errors import EmbeddingFolderError
from embedkit.store.layout import METADATA


class RewrittenError(EmbeddingFolderError):
    """A part is gone while it was read: another run has put a successor in its place."""


def repair(name: str) -> str:
    """What to do about a part that is damaged."""
    return (
        f"remove rows/{name} and files/{name} there and run `embedkit extract` again, which embeds"
        " their clips anew"
    )


def checked(table: pa.Table) -> pa.Table:
    """A table as it was read. Anyone may have written it: Arrow takes any bytes for text.

    Raises:
        ArrowInvalid: some of its text is not UTF-8.
    """
    table.validate(full=True)
    return table


def check_schema(part: pq.ParquetFile, path: Path, expected: pa.Schema, fingerprint: str) -> None:
    """Refuse a file of other columns, or of another model.

    Args:
        part: the open file.
        path: where it is.
        expected: its columns.
        fingerprint: of the model that the folder's manifest names.

    Raises:
        EmbeddingFolderError: it has other columns, or was made by another model.
    """
    found = part.schema_arrow
    if not found.equals(expected):
        raise EmbeddingFolderError(
            f"{path}: expected the columns {_columns(expected)}; found {_columns(found)}"
        )
    if _fingerprint(found) != fingerprint:
        raise EmbeddingFolderError(
            f"{path}: made by another model than the manifest names; vectors of two models"
            " cannot be compared"
        )


def _fingerprint(schema: pa.Schema) -> object:
    try:
        return json.loads(schema.metadata[METADATA])["fingerprint"]
    except (KeyError, TypeError, ValueError):
        return None  # not ours


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a part's file of rows or journal.

    Raises:
        RewrittenError: it is gone.
        EmbeddingFolderError: it cannot be read.
    """
    try:
        with pq.ParquetFile(path) as part:
            yield part
    except FileNotFoundError as error:
        raise RewrittenError(
            f"{path}: is gone: another run has rewritten the folder meanwhile; run this again"
        ) from error
    except OSError as error:  # the disk's, not the part's
        raise EmbeddingFolderError(f"{path}: cannot be read: {error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).strip().rstrip(".")
        raise EmbeddingFolderError(
            f"{path}: cannot be read: {reason}; if it is damaged, {repair(path.name)}"
        ) from error
