"""An embedding folder as a whole: who may write to it, and taking clips out of it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from embedkit.errors import EmbeddingFolderError
from embedkit.files import atomic_write
from embedkit.store.contract import FILES, ROWS, Part, list_parts

LOCK_TIMEOUT = 60.0  # seconds; what it waits for takes a run a moment


@contextmanager
def only_run(folder: Path, share: int = 1, shares: int = 1) -> Iterator[None]:
    """Keep off other runs that could embed the same files, until the last part is written.

    Runs may write side by side if they cut the collection into the same number of shares and each
    has another one.

    Args:
        folder: the embedding folder; made if it is not there.
        share: which share of the collection the run embeds, from 1 on.
        shares: how many there are.

    Raises:
        EmbeddingFolderError: another run has the same share, or cuts the collection otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = FileLock(folder / f".run-{share}-of-{shares}")
    with _start(folder):
        for path in folder.glob(".run-*-of-*"):
            if not path.name.endswith(f"-of-{shares}"):
                _refuse_if_held(path, folder)
        try:
            own.acquire(timeout=0)
        except Timeout as error:
            raise _another_run(folder) from error
    try:
        yield
    finally:
        own.release()


@contextmanager
def _start(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / ".lock", timeout=LOCK_TIMEOUT):
            yield
    except Timeout as error:
        raise _another_run(folder) from error


def _refuse_if_held(path: Path, folder: Path) -> None:
    try:
        with FileLock(path, timeout=0):
            path.unlink()
    except Timeout as error:
        raise _another_run(folder) from error


def _another_run(folder: Path) -> EmbeddingFolderError:
    return EmbeddingFolderError(
        f"{folder}: another run is writing to it; wait for it or stop it. Runs that share the work"
        " need --shard I/N, all with the same N"
    )


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left: temporary files, and rows without a journal.

    Shards that a live process is writing are left alone.
    """
    with _start(folder):  # a lock held here must not look like a writer to another run's start
        for path in folder.glob(".lock-*"):
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                remove_shard_leftovers(folder, int(path.name.removeprefix(".lock-")))
            finally:
                lock.release()


def remove_shard_leftovers(folder: Path, shard: int) -> None:
    """Remove what a killed run left of a shard; the caller holds its lock."""
    counted = {part.name for part in list_parts(folder, shard)}
    for name in (FILES, ROWS):
        for path in (folder / name).glob(f"part-{shard:05d}-*.parquet"):
            if path.name not in counted:
                path.unlink()
        for path in (folder / name).glob(f".part-{shard:05d}-*.tmp"):
            path.unlink()


def forget(folder: Path, clips: Collection[str]) -> None:
    """Take clips out of the rows and of the journal; the caller holds the only run.

    Killed at any moment, a part has lost all of its clips that are to go, or none.
    """
    for part in list_parts(folder):
        journal = pq.read_table(folder / FILES / part.name)
        goes = pc.is_in(journal["clip"], pa.array(clips, pa.string()))
        if not pc.any(goes).as_py():
            continue
        kept = journal.filter(pc.invert(goes))
        if not len(kept):
            for name in (FILES, ROWS):
                (folder / name / part.name).unlink()
            continue
        if not pc.any(pc.greater(journal.filter(goes)["rows"], 0)).as_py():
            with atomic_write(folder / FILES / part.name) as file:  # the rows stay what they are
                pq.write_table(kept, file, compression="zstd")
            continue
        successor = replace(part, revision=part.revision + 1)
        _copy_rows(folder, part, successor, clips)
        with atomic_write(folder / FILES / successor.name) as file:
            pq.write_table(kept, file, compression="zstd")
        for name in (FILES, ROWS):
            (folder / name / part.name).unlink()


def _copy_rows(folder: Path, part: Part, successor: Part, without: Collection[str]) -> None:
    clips = pa.array(without, pa.string())
    with (
        pq.ParquetFile(folder / ROWS / part.name) as rows,
        atomic_write(folder / ROWS / successor.name) as file,
        pq.ParquetWriter(file, rows.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(rows.num_row_groups):
            table = rows.read_row_group(group)
            kept = table.filter(pc.invert(pc.is_in(table["clip"], clips)))
            if len(kept):
                writer.write_table(kept, row_group_size=len(kept))
