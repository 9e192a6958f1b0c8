"""Processes that embedkit starts: they end with their parent, and their errors reach it."""

import importlib
import inspect
import os
import pickle
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import embedkit_cli
import numpy as np
import psutil
import pytest
from patience import PATIENCE, until

import embedkit
from embedkit.errors import AudioError, EmbedkitError, Kind
from embedkit.extraction import Settings, extract
from embedkit.extraction.settings import count_processors
from embedkit.processes import WorkerPool, portable

# A worker imports its parent's main module, where it is not kept from it: there it gets a decoder
# that never ends.
HANGING = """
import contextlib, os, sys, time
from pathlib import Path
from embedkit.extraction import Settings, extract, process, worker
from embedkit.search import query_embedder
from embedkit.store import EmbeddingTable
from embedkit.web.uploads import Uploads
from embedkit.processes import WorkerPool

audio, model, emb, begun = map(Path, sys.argv[1:])

def hang(*_):
    (begun / str(os.getpid())).touch()
    time.sleep(999)

process.no_main = contextlib.nullcontext
worker.decode = query_embedder.decode = hang
if __name__ == "__main__":
    {what}
"""

PARENTS = {
    "extraction": "extract(audio, model, emb, Settings(workers=2))",
    "upload": "Uploads(EmbeddingTable.open(emb).provenance).add(b'x')",
    "pool": "list(WorkerPool(2).map(hang, range(2)))",
}


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def kill_and_wait(parent: subprocess.Popen, begun: Callable[[], list[int]]) -> None:
    """Kill a parent when its workers have begun, and see all that it started go."""
    until(lambda: parent.poll() is not None or begun(), "it never begins")
    assert parent.poll() is None, parent.stderr and parent.stderr.read()
    started = psutil.Process(parent.pid).children(recursive=True)
    assert {process.pid for process in started} >= set(begun())
    parent.kill()
    parent.wait()
    try:
        until(lambda: not alive(started), "something of it lives on")
    finally:
        for process in alive(started):
            process.kill()


@pytest.mark.parametrize("parent", PARENTS)
def test_nothing_outlives_a_parent_that_is_killed(
    tmp_path: Path,
    model_dir: Path,
    make_sound: Callable[..., np.ndarray],
    write_audio: Callable[..., Path],
    parent: str,
) -> None:
    write_audio(tmp_path / "audio/a.wav", make_sound(1))
    write_audio(tmp_path / "audio/b.wav", make_sound(1, seed=1))
    (tmp_path / "begun").mkdir()
    script = tmp_path / "run.py"
    script.write_text(HANGING.format(what=PARENTS[parent]))
    if parent == "upload":
        extract(tmp_path / "audio", model_dir, tmp_path / "emb")
    places = (tmp_path / "audio", model_dir, tmp_path / "emb", tmp_path / "begun")
    running = subprocess.Popen([sys.executable, script, *places])
    wanted = 1 if parent == "upload" else 2

    def begun() -> list[int]:
        found = [int(path.name) for path in (tmp_path / "begun").iterdir()]
        return found if len(found) == wanted else []

    kill_and_wait(running, begun)


def test_a_process_of_another_launcher_ends_with_it_too(tmp_path: Path) -> None:
    """As those of torchrun do, which knows nothing of multiprocessing."""
    child = (
        "import os, sys, time; from pathlib import Path; from embedkit.processes import"
        " end_with_parent; end_with_parent(); Path(sys.argv[1], str(os.getpid())).touch();"
        " time.sleep(999)"
    )
    parent = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"
    )
    running = subprocess.Popen([sys.executable, "-c", parent, child, tmp_path])
    kill_and_wait(running, lambda: [int(path.name) for path in tmp_path.iterdir()])


def test_processes_are_made_in_one_place_alone() -> None:
    starts = re.compile(
        r"ProcessPoolExecutor|get_context|\bsubprocess\b|os\.fork|\bPopen\b|\.Pool\("
    )
    found = set()
    for package in (embedkit, embedkit_cli):
        [root] = map(Path, package.__path__)
        for path in root.rglob("*.py"):
            if starts.search(path.read_text()):
                found.add(path.relative_to(root).as_posix())
    assert found == {"processes.py"}


def all_errors() -> set[type[EmbedkitError]]:
    for package in (embedkit, embedkit_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, waiting = set(), [EmbedkitError]
    while waiting:
        error = waiting.pop()
        found.add(error)
        waiting += error.__subclasses__()
    return {error for error in found if error.__module__.startswith("embedkit")}


def test_every_error_survives_the_way_to_another_process() -> None:
    errors = all_errors()
    assert AudioError in errors
    for error in errors:
        # Of any arguments that it takes, by their types.
        taken = list(inspect.signature(error.__init__).parameters.values())[1:]
        given = [
            Kind.EMPTY if one.annotation in (Kind, "Kind") else f"text of {one.name}"
            for one in taken
            if one.kind is one.POSITIONAL_OR_KEYWORD
        ] or ["text"]
        made = error(*given)
        made.add_note("where it was raised")
        found = pickle.loads(pickle.dumps(made))
        assert type(found) is error
        assert (str(found), vars(found)) == (str(made), vars(made))
        assert "text" in str(made)


class OddError(Exception):
    """Cannot be pickled, and would not come back if it could."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")
        self.hold = lambda: None


def fail(number: int) -> None:
    errors = [
        OddError("a", "b"),
        AudioError(Kind.EMPTY, "no sample"),
        OSError(28, "No space left on device", "/disk"),
        MemoryError(),
    ]
    if number == len(errors):
        os.kill(os.getpid(), signal.SIGKILL)
    raise errors[number]


def test_whatever_a_worker_raises_arrives_with_its_words_and_the_pool_lives_on() -> None:
    with WorkerPool(1) as pool:
        futures = [pool.submit(fail, number) for number in range(4)]
        odd, audio, disk, memory = (future.exception(timeout=PATIENCE) for future in futures)
        assert type(odd) is EmbedkitError
        assert str(odd).endswith("OddError: a and b")
        assert isinstance(audio, AudioError)
        assert (audio.kind, str(audio)) == (Kind.EMPTY, "no sample")
        assert isinstance(disk, OSError)
        assert (disk.errno, disk.filename) == (28, "/disk")
        assert type(memory) is EmbedkitError
        assert "MemoryError; if memory is short" in str(memory)
        for error in (odd, audio, disk, memory):
            assert "in fail" in "".join(error.__notes__)  # for --verbose
        with pytest.raises(EmbedkitError, match="a worker process died"):
            list(pool.map(fail, [4]))


def test_an_error_keeps_its_class_only_where_that_class_can_travel() -> None:
    class DiskError(OSError):
        pass

    assert type(portable(DiskError(5, "Input/output error"))) is EmbedkitError
    assert type(portable(FileNotFoundError(2, "none"))) is FileNotFoundError


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_workers_share_processors_by_default_on_whatever_device_the_network_is(device: str) -> None:
    assert Settings(device=device).share_processors(1000)[0] == count_processors()
    assert Settings(device=device, workers=3).share_processors(1000)[0] == 3


@pytest.mark.parametrize(
    ("allowed", "workers", "threads"),
    [("", 1, 8), ("", 3, 2), ("1", 1, 1), ("3", 1, 3), ("3", 4, 2), ("0", 1, 1), ("all", 1, 8)],
)
def test_a_worker_has_its_share_of_the_threads_that_the_environment_allows(
    monkeypatch: pytest.MonkeyPatch, allowed: str, workers: int, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    monkeypatch.setattr("embedkit.extraction.settings.count_processors", lambda: 8)
    assert Settings(workers=workers).share_processors(1000) == (workers, threads)
