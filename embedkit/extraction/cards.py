"""The processes of GPUs, or a thread of this process, which compute for all workers."""

from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType

import numpy as np

from embedkit.extraction.card import Line, open_line, serve, serve_here
from embedkit.extraction.process import CONTEXT
from embedkit.extraction.worker import Job
from embedkit.processes import no_main


class Cards:
    """One process for each GPU, and for each worker a line to one of them.

    On a CPU there are none: every worker has its own network. If only this process can compute the
    network, a thread of it does so for all.
    """

    def __init__(self, job: Job, shards: Sequence[int], threads: int) -> None:
        """Start them.

        Args:
            job: what the workers do.
            shards: shards of the workers, which are dealt to the GPUs in turn.
            threads: threads that each process may use.
        """
        stays = job.program.stays
        programs = [job.program] if stays else job.program.by_card()[: len(shards)]
        self._lines: dict[int, Line] = {}
        self._processes = []
        self._thread: Thread | None = None
        self._ended = Event()
        if not programs:
            return
        length, _ = job.segments.samples(job.program.sample_rate)
        row = job.program.front_end()(np.zeros((1, length), np.float32)).shape[1:]
        shape = job.batch_size, *row
        for number, program in enumerate(programs):
            theirs = []
            for shard in shards[number :: len(programs)]:
                self._lines[shard], line = open_line(CONTEXT, shape, program.embedding_size)
                theirs.append(line)
            if stays:
                self._thread = Thread(
                    target=serve_here, args=(program, theirs, self._ended), daemon=True
                )
                self._thread.start()
                return
            process = CONTEXT.Process(target=serve, args=(program, threads, theirs), daemon=True)
            with no_main():
                process.start()
            for line in theirs:
                line.connection.close()  # if it ends, its workers are to see it
            self._processes.append(process)

    def line(self, shard: int) -> Line | None:
        """The line of a shard's worker, if it has one."""
        return self._lines.get(shard)

    def __enter__(self) -> "Cards":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()  # it keeps nothing
            process.join()
        self._ended.set()
        if self._thread is not None:
            self._thread.join()  # at the end of a batch
        for line in self._lines.values():
            line.connection.close()
