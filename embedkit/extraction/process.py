"""A worker process as its parent sees it: what it was given, what it has done, how it ended."""

import signal
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from embedkit.extraction.card import Line
from embedkit.extraction.collection import Task
from embedkit.extraction.progress import Progress
from embedkit.extraction.worker import Advance, Decoding, Job, Message, Tasks, run_worker
from embedkit.processes import end_with_parent, leave_pandas_out, no_main, worker_context
from embedkit.store import FileRecord, read_journal

# What a worker is handed before it begins with it is little enough for the others to take their
# share of large files.
AHEAD_BYTES = 16 * 2**20

CONTEXT = worker_context()

Item = Task | FileRecord  # a record is of a file that ended elsewhere


class WorkerProcess:
    """A worker process, as its parent sees it."""

    def __init__(
        self, job: Job, shard: int, threads: int, line: Line | None, *, ahead: bool
    ) -> None:
        """Start it; see `run_worker`.

        Args:
            job: what all workers do.
            shard: shard of the embedding folder.
            threads: threads that the network may use.
            line: its line to a GPU's process, if it has one.
            ahead: whether it decodes while the network works.
        """
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
            args=(job, shard, threads, self._tasks, self.decoding, theirs, line, ahead),
            daemon=True,
        )
        with no_main():
            self._process.start()
        theirs.close()
        self._ahead: deque[Item] = deque()  # handed over, and not begun with
        self._begun = 0
        self._taken: deque[Item] = deque()  # handed over, and not on the disk
        self._stored = 0
        self._records: deque[FileRecord] = deque()  # of files that are finished and not on the disk
        self._seconds = 0.0  # embedded since the last time that something came to the disk
        self._ended = False  # whether it was told that there is no more
        self._signs = 0  # of its decoder, when it was last looked at
        self._silence = 0.0  # seconds since then

    def feed(self, take: Callable[[], Item | None], ahead: int) -> None:
        """Give it what it needs next, or tell it that there is no more.

        Args:
            take: gives the next item, or None.
            ahead: number of items to hand over before it begins with them.
        """
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
        """Take in a message.

        Args:
            advance: how far the worker has come.
            progress: is kept up to date.
        """
        self._records.extend(advance.records)
        progress.count(advance.records, advance.seconds)
        self._seconds = 0.0 if advance.stored else self._seconds + advance.seconds
        for _ in range(advance.stored):
            self._taken.popleft()
            progress.store(self._records.popleft())
        self._stored += advance.stored
        progress.peak_bytes = max(progress.peak_bytes, advance.peak_bytes)

    def finished(self) -> bool:
        """Whether a process that has ended had done all that it was given."""
        done = self.decoding.stopped or (self._ended and not self._taken)
        return done and self._process.exitcode == 0

    def cause_of_death(self) -> str:
        """Why it ended, in words."""
        code = self._process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def was_killed(self) -> bool:
        """Whether somebody else ended it, as the kernel does where memory is short."""
        return self._process.exitcode == -getattr(signal, "SIGKILL", 9)  # Windows has none

    def is_hung(self, seconds: float, timeout: float) -> bool:
        """Whether its decoder has given no sign for too long.

        Args:
            seconds: seconds since this was last asked.
            timeout: seconds that are too long.

        Returns:
            whether it hangs.
        """
        signs = self.decoding.signs
        if signs != self._signs or not self.decoding.at_work:
            self._signs, self._silence = signs, 0.0
        elif not self._is_suspended():
            self._silence += seconds
        return self._silence > timeout

    def _is_suspended(self) -> bool:
        try:
            status = Path(f"/proc/{self._process.pid}/stat").read_bytes()
        except OSError:  # it has ended, or this is no Linux
            return False
        return status.rpartition(b")")[2].split()[0] in {b"T", b"t"}

    def kill(self) -> None:
        """End the process at once; what it had not brought to the disk is lost."""
        self._process.kill()
        self._process.join()

    def leave(self, progress: Progress) -> tuple[list[Item], Task | None]:
        """What an ended process leaves undone, and which file it was decoding, if any."""
        progress.count(self._records, self._seconds, sign=-1)
        begun = list(self._taken)[: self.decoding.begun - self._stored]
        # It may have died after it brought files to the disk and before it told.
        stored = self._on_disk()
        for known in stored.values():
            progress.count([known], known.duration_s)
            progress.store(known)
        undone = [item for item in self._taken if item.clip not in stored]
        at_hand = [item for item in begun if isinstance(item, Task) and item.clip not in stored]
        return undone, at_hand[-1] if at_hand else None

    def _on_disk(self) -> dict[str, FileRecord]:
        """The records of files that it was given and had told nothing about."""
        import pyarrow.compute as pc

        journal = read_journal(self._folder)
        clips = pa.array([item.clip for item in self._taken], pa.string())
        found = journal.filter(pc.is_in(journal["clip"], clips)).to_pylist()
        return {row["clip"]: FileRecord(**row) for row in found}


def _work(
    job: Job,
    shard: int,
    threads: int,
    tasks: Tasks,
    decoding: Decoding,
    parent: Connection,
    line: Line | None,
    ahead: bool,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    end_with_parent()
    leave_pandas_out()
    run_worker(job, shard, threads, tasks, decoding, parent, line, ahead=ahead)
