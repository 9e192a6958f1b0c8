"""Whether a folder of audio is the collection that an embedding folder was made of."""

import logging
from pathlib import Path

import pyarrow as pa

from embedkit.errors import UsageError
from embedkit.store import clip_path

log = logging.getLogger(__name__)

SAME_SIZE = 0.9  # of the files that are there: some may have changed since
COARSE = 2 * 10**9  # ns; the step of times on FAT, and more than that of any other file system


def compare_files(journal: pa.Table, root: Path) -> dict[str, int]:
    """Compare the files below a folder with those of a journal, by size and time.

    It is the same collection if at least half of the files are there, nine in ten of those have
    their size, and most of them have their time too. If copying has set all times anew, at least
    half of the sizes must differ from each other instead: recordings of one length have one size,
    so that those of another year would pass.

    Args:
        journal: the journal.
        root: the folder.

    Returns:
        mtime_ns by clip of the files that have other times though they have not changed: all of the
        same size if times are lost, else those that a coarser clock has rounded.

    Raises:
        UsageError: it is another collection; says what agrees.
    """
    files = missing = 0
    sizes: list[int] = []
    rounded: dict[str, int] = {}
    late: dict[str, int] = {}
    log.info("comparing the files below %s with those that were embedded", root)
    columns = (journal[name].to_pylist() for name in ("clip", "size", "mtime_ns"))
    for clip, size, time in zip(*columns, strict=True):
        if not size:  # it could not be looked at, or had no byte
            continue
        files += 1
        try:
            status = clip_path(root, clip).stat()
        except OSError:
            missing += 1
            continue
        if status.st_size != size:
            continue
        sizes.append(size)
        if status.st_mtime_ns != time:
            new = rounded if abs(status.st_mtime_ns - time) <= COARSE else late
            new[clip] = status.st_mtime_ns
    times_kept = 2 * len(late) < len(sizes)
    sizes_tell = 2 * len(set(sizes)) > len(sizes)
    sizes_kept = 2 * len(sizes) >= files and len(sizes) >= SAME_SIZE * (files - missing)
    if files and not (sizes_kept and (times_kept or sizes_tell)):
        raise UsageError(
            f"{root}: not the collection that was embedded. Of {files} files {missing} are not"
            f" there, {files - missing - len(sizes)} have another size, {len(late)} have the same"
            f" size and another time, {len(sizes) - len(late)} have the same size and time, and"
            f" there are {len(set(sizes))} sizes. Nothing was changed. If it is the same, copy it"
            " with its times (cp -p, rsync -t); else embed it into another folder"
        )
    return rounded if times_kept else rounded | late
