"""Worker processes, which end with their parent and say what went wrong; and other processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from embedkit.errors import EmbedkitError

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.sharedctypes import Synchronized

P = ParamSpec("P")
T = TypeVar("T")

MEMORY = "if memory is short, fewer workers or a smaller batch need less of it"


class WorkerPool(ProcessPoolExecutor):
    """Processes that end with this one, and whose errors always arrive."""

    def __init__(self, workers: int, start: Callable[..., None] | None = None, *args: Any) -> None:
        """Make the pool; each process first calls `start(*args)`.

        Args:
            workers: number of processes.
            start: is called in each process before any task; None: nothing is.
            args: its arguments.
        """
        # A fork of a threaded torch may hang.
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, initializer=_start, initargs=(start, args))

    def submit(
        self, function: Callable[P, T], /, *args: P.args, **options: P.kwargs
    ) -> "Future[T]":
        """Run a function in a process, as any executor does.

        Whatever it raises arrives as an EmbedkitError or an OSError.

        Args:
            function: is called in the process.
            args: its positional arguments.
            options: its keyword arguments.

        Returns:
            the future result.
        """
        return super().submit(_call, partial(function, *args, **options))

    def kill(self) -> None:
        """End the processes at once, whatever they do: whoever waits for a result gets an error."""
        for process in list((self._processes or {}).values()):
            process.kill()
        self.shutdown(wait=False, cancel_futures=True)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Run a function over items, as any executor does.

        Args:
            fn: is called in the processes.
            iterables: its arguments, one iterable for each.
            timeout: seconds to wait for a result; None: any time.
            chunksize: number of items that a process takes at a time.

        Returns:
            the results, in the order of the items.

        Raises:
            EmbedkitError: a process died, or what the function raised.
        """
        try:
            yield from super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)
        except BrokenProcessPool as error:
            raise EmbedkitError(f"a worker process died; {MEMORY}") from error


def shared_number() -> "Synchronized[float]":
    """A number, 0 at first, that the workers of a pool can share and change."""
    return multiprocessing.get_context("spawn").Value("d", 0.0)


# Not forks of this process, whose threads they would lose, but of one that has none, which start at
# once. Windows has no forks.
HAS_FORK_SERVER = "forkserver" in multiprocessing.get_all_start_methods()

# What the process that has no threads loads once for all of its forks.
PRELOADED = ["embedkit.extraction.worker", "embedkit.audio.features"]


def worker_context() -> "ForkServerContext | SpawnContext":
    """How workers that must start quickly are started."""
    if HAS_FORK_SERVER:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


@contextmanager
def no_main() -> Iterator[None]:
    """Keep workers that are started within from running the caller's script again.

    A new process imports the main module of its parent for what is defined there. A script without
    `if __name__ == "__main__":` would begin again in each. Our workers need nothing of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started within; this process ends them.

    Otherwise a process that is still loading Python would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # POSIX alone has one

    resource_tracker.ensure_running()  # which would unblock the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_server() -> None:
    """Start the process that workers are forked from early, since it takes a while."""
    if HAS_FORK_SERVER:
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(PRELOADED)
        with undisturbed():
            forkserver.ensure_running()


class _WithoutPandas(MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not wanted in this process", name=name)


def leave_pandas_out() -> None:
    """Keep Arrow from loading pandas just to see whether it was given some of it.

    Loading pandas takes a quarter of a second. Only our own processes may call this.
    """
    sys.meta_path.insert(0, _WithoutPandas())


def launch(command: Sequence[str]) -> None:
    """Start a program of the machine that goes on by itself."""
    done = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C stops us alone
    )
    threading.Thread(target=done.wait, daemon=True).start()  # leaves no zombie


def end_with_parent() -> None:
    """Make this process end when its parent does, even if the parent is killed.

    The parent of a worker is the process that asked for it, even if a fork server made it.
    """
    threading.Thread(target=_outlast, args=(os.getppid(),), daemon=True).start()


def portable(error: Exception) -> EmbedkitError | OSError:
    """An error in a form that can cross to another process, with the traceback as a note.

    Any class may refuse to be pickled, or raise when it is unpickled: then its name and its words
    cross instead.
    """
    known = type(error).__module__ == "builtins" or isinstance(error, EmbedkitError)
    found: EmbedkitError | OSError
    if known and isinstance(error, EmbedkitError | OSError):
        found = error
    else:
        text = traceback.format_exception_only(error)[0].strip()
        if isinstance(error, MemoryError) or "out of memory" in text.lower():
            text += f"; {MEMORY}"
        found = EmbedkitError(f"a worker process failed: {text}")
    found.add_note("".join(traceback.format_exception(error)))
    return found


def _outlast(starter: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # its end closes a pipe
    while parent is None and os.getppid() == starter:  # a process of torchrun
        time.sleep(1)
    os._exit(1)


def _start(start: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    end_with_parent()
    if start is not None:
        start(*args)


def _call(task: Callable[[], T]) -> T:
    try:
        return task()
    except Exception as error:
        raise portable(error) from None
