"""Who may do what in an embedding folder while others work in it.

    .lock              for a moment: a run that begins, or that cleans up
    .run-<i>-of-<n>    a run that embeds share i of n, until its last part is written
    .lock-<shard>      whoever appends to a shard, as long as it does: a worker of a run
    .rewrite-<shard>   whoever rewrites the closed parts of a shard, or removes leftovers from it
    .manifest-lock     for a moment: whoever writes the manifest

Appending and rewriting do not exclude each other: a writer makes new parts, a rewriter changes
closed ones. Both exclude cleaning, which takes `.lock-<shard>` and then `.rewrite-<shard>`, and
leaves a shard alone where it does not get them at once.

Nothing can wait in a circle. The order is `.run`, `.lock`, `.lock-<shard>`, `.rewrite-<shard>`, and
the only lock that anyone waits for as long as it takes is `.rewrite-<shard>`: a rewriter, which
holds no other one but that of its run, and lets go of one shard before it asks for the next. It
lists the shard's parts when it has the lock: what it knew before may be out of date.

Readers take no lock. A part is replaced by renaming its successor into place before it is removed,
so a reader lists the parts again where one of them has gone (`EmbeddingTable.open`).

All of them are `flock`: the kernel lets go of them when a process dies, however it dies.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from embedkit.atomic import unpublished
from embedkit.errors import EmbeddingFolderError

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mounts")
LOCAL = {"localflock", "nolock", "local_lock=flock", "local_lock=all"}  # options of Lustre and NFS

START_TIMEOUT = 60.0  # seconds; what it waits for takes a run a moment
APPEND_TIMEOUT = 5.0  # another run looks for leftovers of the shard in less


@contextmanager
def only_run(folder: Path, share: int = 1, shares: int = 1) -> Iterator[None]:
    """Keep off other runs that could embed the same files, until the last part is written.

    Runs may write side by side if they divide the collection into the same number of shares and
    each takes another share.

    Args:
        folder: the embedding folder; it is made if it is not there.
        share: which share of the collection the run embeds, from 1 on.
        shares: the number of shares.

    Yields:
        nothing; the share is locked within.

    Raises:
        EmbeddingFolderError: another run has the same share, or divides the collection otherwise,
            or the file system does not lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    require_locks(folder)
    if shares > 1 and (option := _local_option(folder)):
        log.warning(
            "%s: mounted with %s, so locks hold on this machine alone: run all shares here, or"
            " mount it without",
            folder,
            option,
        )
    own = FileLock(folder / f".run-{share}-of-{shares}")
    with starting(folder):
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
def starting(folder: Path) -> Iterator[None]:
    """Keep off other runs that begin or clean up.

    Raises:
        EmbeddingFolderError: another run did not finish beginning in time.
    """
    try:
        with FileLock(folder / ".lock", timeout=START_TIMEOUT):
            yield
    except Timeout as error:
        raise _another_run(folder) from error


def lock_to_append(folder: Path, shard: int) -> FileLock:
    """Take the lock that a process needs to append to a shard.

    Args:
        folder: the embedding folder.
        shard: number of the shard.

    Returns:
        the lock; release it when all is written.

    Raises:
        EmbeddingFolderError: another process has it, or the file system does not lock.
    """
    require_locks(folder)
    lock = _append_lock(folder, shard)
    try:
        lock.acquire(timeout=APPEND_TIMEOUT)
    except Timeout as error:
        raise EmbeddingFolderError(
            f"{folder}: another run is writing shard {shard}; wait for it or stop it"
        ) from error
    return lock


@contextmanager
def rewriting(folder: Path, shard: int) -> Iterator[None]:
    """Keep off everyone else who would rewrite or clean a shard's closed parts; waits for them.

    Args:
        folder: the embedding folder.
        shard: number of the shard.

    Yields:
        nothing; the shard is locked within.
    """
    lock = _rewrite_lock(folder, shard)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: waiting for another run, which rewrites the parts of shard %d", folder, shard)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def appending_if_free(folder: Path, shard: int) -> Iterator[bool]:
    """Take the lock to append to a shard if nobody has it.

    Args:
        folder: the embedding folder.
        shard: number of the shard.

    Yields:
        whether it was taken.
    """
    with _if_free(_append_lock(folder, shard)) as held:
        yield held


@contextmanager
def rewriting_if_free(folder: Path, shard: int) -> Iterator[bool]:
    """Take the lock to rewrite a shard if nobody has it.

    Args:
        folder: the embedding folder.
        shard: number of the shard.

    Yields:
        whether it was taken.
    """
    with _if_free(_rewrite_lock(folder, shard)) as held:
        yield held


def require_locks(folder: Path) -> None:
    """Refuse to write where locks do not lock.

    Raises:
        EmbeddingFolderError: the file system has no `flock`, or one that lets everybody in.
    """
    if sys.platform == "win32":
        return  # it locks by other means
    import fcntl

    with unpublished(folder / ".probe") as probe, probe.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # as it should: `unpublished` has locked it
            return
        except OSError as error:
            raise _no_locks(folder, f"flock: {error.strerror}") from error
    raise _no_locks(folder, "two could lock one file at once")


def _no_locks(folder: Path, found: str) -> EmbeddingFolderError:
    return EmbeddingFolderError(
        f"{folder}: the file system does not lock files ({found}), so two runs at once could spoil"
        " the folder. Mount it with locks (Lustre: the option flock; NFS: version 4, or version 3"
        " with lockd), or write to another disk and copy the folder: to read it needs no locks"
    )


def _local_option(folder: Path) -> str:
    """The mount option by which Lustre or NFS keeps a folder's locks to one machine, if any."""
    place = folder.resolve()
    while not place.is_mount():
        place = place.parent
    options: set[str] = set()
    with suppress(OSError):  # not Linux
        for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
            _, where, _, found, *_ = line.split(" ")
            if where.replace("\\040", " ") == str(place):
                options = set(found.split(","))  # of several the last one is on top
    return min(options & LOCAL, default="")


def _append_lock(folder: Path, shard: int) -> FileLock:
    return FileLock(folder / f".lock-{shard:05d}")


def _rewrite_lock(folder: Path, shard: int) -> FileLock:
    return FileLock(folder / f".rewrite-{shard:05d}")


@contextmanager
def _if_free(lock: FileLock) -> Iterator[bool]:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        held = False
    else:
        held = True
    try:
        yield held
    finally:
        if held:
            lock.release()


def _refuse_if_held(path: Path, folder: Path) -> None:
    with _if_free(FileLock(path)) as held:
        if not held:
            raise _another_run(folder)
        path.unlink()


def _another_run(folder: Path) -> EmbeddingFolderError:
    return EmbeddingFolderError(
        f"{folder}: another run is writing to it; wait for it or stop it. Runs that share the work"
        " need --shard I/N, all with the same N"
    )
