"""Changes to the closed parts of an embedding folder: taking clips out, and cleaning up."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedkit.atomic import atomic_write
from embedkit.store.layout import FILES, ROWS, Part, list_parts
from embedkit.store.locks import appending_if_free, rewriting, rewriting_if_free, starting


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left: temporary files, and rows without a journal.

    Shards that another process is writing or rewriting are left alone.
    """
    with starting(folder):  # a lock held here must not look like a writer to another run's start
        for shard in _untidy(folder):
            with appending_if_free(folder, shard) as held:
                if held:
                    remove_shard_leftovers(folder, shard)


def _untidy(folder: Path) -> list[int]:
    """The shards that seem to have leftovers: of a thousand tidy ones none is listed by itself."""
    names = {path.name for name in (FILES, ROWS) for path in (folder / name).glob("*")}
    names -= {part.name for part in list_parts(folder)}
    found = (re.match(r"\.?part-(\d+)-", name) for name in names)
    return sorted({int(one[1]) for one in found if one})


def remove_shard_leftovers(folder: Path, shard: int) -> None:
    """Remove what a killed run left of a shard.

    Args:
        folder: the embedding folder.
        shard: number of the shard; the caller holds its lock to append.
    """
    with rewriting_if_free(folder, shard) as held:
        if not held:
            return  # what a live process is rewriting looks like a leftover
        for name in (FILES, ROWS):
            _remove_uncounted(folder, name, shard)
            for path in (folder / name).glob(f".part-{shard:05d}-*.tmp"):
                path.unlink(missing_ok=True)  # another process's first write may remove it too


def _remove_uncounted(folder: Path, name: str, shard: int) -> None:
    found = list((folder / name).glob(f"part-{shard:05d}-*.parquet"))
    counted = {part.name for part in list_parts(folder, shard)}  # listed later: not too few
    for path in found:
        if path.name not in counted:
            path.unlink()


def forget(folder: Path, clips: Collection[str]) -> None:
    """Take clips out of the rows and of the journal.

    Others may append to the folder and take other clips out of it at the same time: it waits for
    them, shard by shard. If the process is killed, each part has lost all of these clips or none.

    Args:
        folder: the embedding folder.
        clips: names of the clips.
    """
    going = frozenset(clips)
    for shard in sorted({part.shard for part in list_parts(folder)}):
        with rewriting(folder, shard):
            # Of a rewriter that was killed; it would count again when its successor goes.
            _remove_uncounted(folder, FILES, shard)
            for part in list_parts(folder, shard):
                _rewrite(folder, part, going)


def _rewrite(folder: Path, part: Part, going: frozenset[str]) -> None:
    import pyarrow.compute as pc

    journal = pq.read_table(folder / FILES / part.name)
    # Not `is_in`, which goes through all that goes anew: parts and clips grow together.
    goes = pa.array([clip in going for clip in journal["clip"].to_pylist()], pa.bool_())
    if not pc.any(goes).as_py():
        return
    kept = journal.filter(pc.invert(goes))
    if len(kept) and not pc.any(pc.greater(journal.filter(goes)["rows"], 0)).as_py():
        _write_journal(kept, folder, part)  # the rows stay what they are
        return
    if len(kept):
        successor = replace(part, revision=part.revision + 1)
        _copy_rows(folder, part, successor, journal.filter(goes)["clip"].combine_chunks())
        _write_journal(kept, folder, successor)
    for name in (FILES, ROWS):
        (folder / name / part.name).unlink()


def _write_journal(journal: pa.Table, folder: Path, part: Part) -> None:
    with atomic_write(folder / FILES / part.name) as file:
        pq.write_table(journal, file, compression="zstd")


def _copy_rows(folder: Path, part: Part, successor: Part, without: pa.Array) -> None:
    import pyarrow.compute as pc

    with (
        pq.ParquetFile(folder / ROWS / part.name) as rows,
        atomic_write(folder / ROWS / successor.name) as file,
        pq.ParquetWriter(file, rows.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(rows.num_row_groups):
            table = rows.read_row_group(group)
            kept = table.filter(pc.invert(pc.is_in(table["clip"], without)))
            if len(kept):
                writer.write_table(kept, row_group_size=len(kept))
