"""Worker processes on this machine: one that hangs or dies costs a file, not the run."""

import multiprocessing
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

import pyarrow as pa
import pyarrow.compute as pc

from embedkit.errors import EmbedkitError, Kind
from embedkit.extraction.collection import Task
from embedkit.extraction.settings import Settings
from embedkit.extraction.worker import Advance, Decoding, Job, Message, Tasks, run_worker
from embedkit.store import FileRecord, read_journal
from embedkit.workers import end_with_parent

# What a worker is handed before it begins with it: enough never to wait, and little enough for the
# others to take their share of large files.
AHEAD_FILES, AHEAD_BYTES = 512, 16 * 2**20
PATIENCE = 0.1  # seconds between two looks at the workers
EXAMPLES = 1000

# Not a fork of this process, whose threads it would lose, but of one that has loaded torch and has
# no threads: a worker starts at once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["embedkit.extraction.worker"])


@dataclass(kw_only=True)
class Progress:
    """What a run has done so far.

    Attributes:
        total_files: what it has to do.
        total_bytes: of them.
        files: that are finished, good or not.
        bytes: of them.
        audio_s: seconds of audio that are embedded.
        errors: finished files that have a kind, by kind.
        rows: vectors that are on the disk.
        failures: the records of the first thousand files that have a kind.
        peak_bytes: the most memory that a worker held.
        stopped: whether it ended early, because of too many errors.
    """

    total_files: int = 0
    total_bytes: int = 0
    files: int = 0
    bytes: int = 0
    audio_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    failures: list[FileRecord] = field(default_factory=list)
    peak_bytes: int = 0
    stopped: bool = False

    def count(self, records: Collection[FileRecord], seconds: float, sign: int = 1) -> None:
        """Add finished files, or take back those of a worker that died before they were stored."""
        self.audio_s += sign * seconds
        self.files += sign * len(records)
        for record in records:
            self.bytes += sign * record.size
            if record.kind:
                self.errors[record.kind] += sign

    def store(self, record: FileRecord) -> None:
        """Note that a file's rows and record are on the disk."""
        self.rows += record.rows
        if record.kind and len(self.failures) < EXAMPLES:
            self.failures.append(record)


def run_local(
    job: Job,
    tasks: Iterator[Task],
    progress: Progress,
    settings: Settings,
    report: Callable[[], None],
) -> None:
    """Embed files in worker processes, each with a shard of the embedding folder for itself.

    Args:
        job: what all workers do.
        tasks: the files; taken as the workers need them.
        progress: is kept up to date; its `total_files` is how many tasks there are.
        settings: how many workers, and when to give up one of them, or all.
        report: called whenever there is something new, and ten times a second.

    Raises:
        EmbeddingFolderError: another process writes one of the shards.
        EmbedkitError: a worker died, and not of a file.
    """
    given_back: deque[Task | FileRecord] = deque()
    handed = 0

    def take() -> Task | FileRecord | None:
        nonlocal handed
        if progress.stopped:
            return None
        if given_back:
            return given_back.popleft()
        handed += 1
        return next(tasks, None)

    def replace(worker: _Worker, kind: Kind, reason: str) -> None:
        worker.kill()
        while isinstance(message := worker.receive(), Advance):  # told before its end
            worker.note(message, progress)
        worker.connection.close()
        if not worker.decoding.under_way:
            raise EmbedkitError(
                f"a worker process, not decoding a file, {reason}; run again to go on"
            )
        given_back.extend(worker.given_back(kind, f"the decoder {reason}", progress))
        workers[workers.index(worker)] = _Worker(job, worker.shard, threads)

    count, threads = settings.share_processors(progress.total_files)
    # Runs on other shares of the collection write the shards between.
    first, step = settings.shard.number - 1, settings.shard.count
    workers = [_Worker(job, first + step * number, threads) for number in range(count)]
    max_errors, timeout = settings.max_errors, settings.timeout
    try:
        while workers:
            progress.stopped |= max_errors is not None and progress.errors.total() >= max_errors
            # Half of what is left is kept back, for who is done first.
            share = max(1, (progress.total_files - handed) // (2 * len(workers)))
            for worker in workers:
                worker.feed(take, min(share, AHEAD_FILES))
                if progress.stopped:
                    worker.decoding.stop()
            for connection in wait([worker.connection for worker in workers], PATIENCE):
                worker = next(one for one in workers if one.connection is connection)
                message = worker.receive()
                if isinstance(message, Exception):
                    raise message
                if message is not None:
                    worker.note(message, progress)
                elif worker.finished():
                    workers.remove(worker)
                else:
                    replace(worker, Kind.CRASHED, f"crashed: {worker.cause_of_death()}")
            for worker in list(workers):
                if worker.is_hung(timeout):
                    replace(worker, Kind.TIMEOUT, f"hung: nothing came of it in {timeout:g} s")
            report()
    finally:
        for worker in workers:
            worker.kill()


class _Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, job: Job, shard: int, threads: int) -> None:
        self.shard = shard
        self._folder = job.folder
        self.decoding = Decoding(CONTEXT)
        self.connection, theirs = CONTEXT.Pipe(duplex=False)
        self._tasks: Tasks = (
            CONTEXT.Queue()
        )  # not a pipe, which may block both sides when it is full
        self._tasks.cancel_join_thread()  # a process that has died takes no more
        self._process = CONTEXT.Process(
            target=_work,
            args=(job, shard, threads, self._tasks, self.decoding, theirs),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._ahead: deque[Task | FileRecord] = deque()  # handed over, and not begun with
        self._begun = 0
        self._taken: deque[Task | FileRecord] = deque()  # handed over, and not on the disk
        self._stored = 0
        self._records: deque[FileRecord] = deque()  # of files that are finished and not on the disk
        self._seconds = 0.0  # embedded since the last time that something came to the disk
        self._ended = False  # whether it was told that there is no more

    def feed(self, take: Callable[[], Task | FileRecord | None], ahead: int) -> None:
        """Hand over what it needs next, or tell it that there is no more."""
        while self._begun < self.decoding.begun:
            self._ahead.popleft()
            self._begun += 1
        room = AHEAD_BYTES - sum(item.size for item in self._ahead)
        while not self._ended and room > 0 and len(self._ahead) < ahead:
            item = take()
            self._tasks.put(item)
            if item is None:
                self._ended = True
            else:
                self._ahead.append(item)
                self._taken.append(item)
                room -= item.size

    def receive(self) -> Message | None:
        """The next message, or None if the process has ended."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return None
        return message

    def note(self, advance: Advance, progress: Progress) -> None:
        """Take up what it tells."""
        self._records.extend(advance.records)
        progress.count(advance.records, advance.seconds)
        self._seconds = 0.0 if advance.stored else self._seconds + advance.seconds
        for _ in range(advance.stored):
            self._taken.popleft()
            progress.store(self._records.popleft())
        self._stored += advance.stored
        progress.peak_bytes = max(progress.peak_bytes, advance.peak_bytes)

    def finished(self) -> bool:
        """Whether a process that has ended had done all that it was handed."""
        done = self.decoding.stopped or (self._ended and not self._taken)
        return done and self._process.exitcode == 0

    def cause_of_death(self) -> str:
        """Why it ended, in words."""
        code = self._process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def is_hung(self, timeout: float) -> bool:
        """Whether it decodes, and gave no sign for so many seconds."""
        silence = time.monotonic() - self.decoding.last_sign
        return self.decoding.under_way and silence > timeout

    def kill(self) -> None:
        """End the process at once; what it had not brought to the disk is lost."""
        self._process.kill()
        self._process.join()

    def given_back(self, kind: Kind, message: str, progress: Progress) -> list[Task | FileRecord]:
        """What a process that has ended leaves undone; the file that it decoded as a record."""
        progress.count(self._records, self._seconds, sign=-1)
        guilty = self._taken[self.decoding.begun - self._stored - 1]
        # It may have died after it brought files to the disk and before it told.
        stored = self._on_disk()
        for known in stored.values():
            progress.count([known], known.duration_s)
            progress.store(known)
        record = FileRecord(
            clip=guilty.clip,
            size=guilty.size,
            mtime_ns=guilty.mtime_ns,
            duration_s=0.0,
            rows=0,
            kind=str(kind),
            message=message,
        )
        undone = (item for item in self._taken if item.clip not in stored)
        return [record if item is guilty else item for item in undone]

    def _on_disk(self) -> dict[str, FileRecord]:
        """The records of what it was handed and of which it told nothing."""
        journal = read_journal(self._folder)
        clips = pa.array([item.clip for item in self._taken], pa.string())
        found = journal.filter(pc.is_in(journal["clip"], clips)).to_pylist()
        return {row["clip"]: FileRecord(**row) for row in found}


def _work(
    job: Job, shard: int, threads: int, tasks: Tasks, decoding: Decoding, parent: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    end_with_parent()
    run_worker(job, shard, threads, tasks, decoding, parent)
