"""Worker processes on this machine: one that hangs or dies costs a file, not the run."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait

from embedkit.errors import EmbedkitError, Kind
from embedkit.extraction.cards import Cards
from embedkit.extraction.collection import Task
from embedkit.extraction.process import Item, WorkerProcess
from embedkit.extraction.progress import Progress
from embedkit.extraction.settings import Settings
from embedkit.extraction.worker import Advance, Job
from embedkit.processes import MEMORY
from embedkit.store import FileRecord

AHEAD_FILES = 512  # what a worker is handed before it begins with it: enough never to wait
PATIENCE = 0.1  # seconds between two looks at the workers
SUSPECTS = 8  # files at which a worker died: as many wait to be tried alone
LONGEST_LOOK = 1.0  # seconds; where more have passed, this process was suspended, and they too


def run_local(
    job: Job,
    tasks: Iterator[Task],
    progress: Progress,
    settings: Settings,
    report: Callable[[], None],
) -> None:
    """Embed files in worker processes, each of which writes a shard of the folder.

    A file at which a worker died is tried once more: alone, since memory may have been short, and
    without decoding ahead, to know whether it was the decoder.

    Args:
        job: what all workers do.
        tasks: the files; they are taken as the workers need them.
        progress: is kept up to date; its `total_files` is the number of tasks. It may be set to
            `stopped` from elsewhere.
        settings: the number of workers, and when to give up one of them, or all.
        report: is called whenever there is something new, and ten times a second.

    Raises:
        EmbeddingFolderError: another process writes one of the shards.
        EmbedkitError: a worker failed, and not because of a file.
    """
    count, threads = settings.share_processors(progress.total_files)
    # Runs on other shares of the collection write the shards between.
    first, step = settings.shard.number - 1, settings.shard.count
    shards = [first + step * number for number in range(count)]
    with Cards(job, shards, threads) as cards:
        crew = _Crew(job, tasks, progress, settings, report, cards)
        while (suspects := crew.work(shards, threads)) and not progress.stopped:
            alone = _Crew(job, iter(suspects), progress, settings, report, cards, alone=True)
            alone.work(shards[:1], count * threads)


class _Crew:
    """Workers side by side, or one alone."""

    def __init__(
        self,
        job: Job,
        tasks: Iterator[Task],
        progress: Progress,
        settings: Settings,
        report: Callable[[], None],
        cards: Cards,
        *,
        alone: bool = False,
    ) -> None:
        self._job, self._tasks, self._progress = job, tasks, progress
        self._settings, self._report, self._cards = settings, report, cards
        self._alone = alone
        self._handed = 0
        self._given_back: deque[Item] = deque()
        self._suspects: list[Task] = []

    def work(self, shards: Sequence[int], threads: int) -> list[Task]:
        """Embed files with a worker for each of these shards.

        Returns:
            the files at which one died; if there are none, all is done.
        """
        self._suspects = []
        workers = [self._start(shard, threads) for shard in shards]
        looked = time.monotonic()
        try:
            while workers:
                self._hand_out(workers)
                for connection in wait([worker.connection for worker in workers], PATIENCE):
                    worker = next(one for one in workers if one.connection is connection)
                    message = worker.receive()
                    if isinstance(message, Exception):
                        raise message
                    if message is not None:
                        worker.note(message, self._progress)
                    elif worker.finished():
                        workers.remove(worker)
                    else:
                        self._take_back(worker)
                        workers[workers.index(worker)] = self._start(worker.shard, threads)
                now = time.monotonic()
                seconds, looked = min(now - looked, LONGEST_LOOK), now
                for worker in list(workers):
                    if worker.is_hung(seconds, self._settings.timeout):
                        self._give_up(worker)
                        workers[workers.index(worker)] = self._start(worker.shard, threads)
                self._report()
        finally:
            for worker in workers:
                worker.kill()
        return self._suspects

    def _start(self, shard: int, threads: int) -> WorkerProcess:
        line = self._cards.line(shard)
        return WorkerProcess(self._job, shard, threads, line, ahead=not self._alone)

    def _hand_out(self, workers: list[WorkerProcess]) -> None:
        progress, most = self._progress, self._settings.max_errors
        progress.stopped |= most is not None and progress.errors.total() >= most
        # Half of what is left is kept back, for who is done first.
        share = max(1, (progress.total_files - self._handed) // (2 * len(workers)))
        for worker in workers:
            worker.feed(self._take, min(share, AHEAD_FILES))
            if progress.stopped:
                worker.decoding.stop()

    def _take(self) -> Item | None:
        if self._progress.stopped or len(self._suspects) >= SUSPECTS:
            return None
        if self._given_back:
            return self._given_back.popleft()
        self._handed += 1
        return next(self._tasks, None)

    def _give_up(self, worker: WorkerProcess) -> None:
        """End a worker whose decoder hangs."""
        worker.kill()
        while isinstance(message := worker.receive(), Advance):  # told before its end
            worker.note(message, self._progress)
        worker.connection.close()
        undone, task = worker.leave(self._progress)
        assert task is not None
        timeout = self._settings.timeout
        text = f"the decoder hung: nothing came of it in {timeout:g} s"
        self._settle(task, Kind.TIMEOUT, text, undone)

    def _take_back(self, worker: WorkerProcess) -> None:
        """Take back what a dead worker leaves."""
        worker.connection.close()
        cause, killed = worker.cause_of_death(), worker.was_killed()
        undone, task = worker.leave(self._progress)
        if task is None or (self._alone and not worker.decoding.at_work):
            hint = f"; {MEMORY}" if killed else ""
            raise EmbedkitError(
                f"a worker process, not decoding a file, crashed: {cause}; run again to go on{hint}"
            )
        if self._alone:
            hint = ", with no other worker beside it: memory may be too short for it" * killed
            self._settle(task, Kind.CRASHED, f"the decoder crashed: {cause}{hint}", undone)
        else:
            self._suspects.append(task)
            self._given_back.extend(item for item in undone if item is not task)

    def _settle(self, task: Task, kind: Kind, message: str, undone: list[Item]) -> None:
        """Give back what is undone, with a record instead of one of the files."""
        record = FileRecord(
            clip=task.clip,
            size=task.size,
            mtime_ns=task.mtime_ns,
            duration_s=0.0,
            rows=0,
            kind=str(kind),
            message=message,
        )
        self._given_back.extend(record if item is task else item for item in undone)
