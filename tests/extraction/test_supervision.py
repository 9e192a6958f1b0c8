"""What a run withstands: hanging and crashing decoders, kills, full disks, other runs."""

import ast
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.extraction import Settings, Shard, estimate, extract
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    forget,
    only_run,
    remove_leftovers,
)

Samples = NDArray[np.float32]
CLIPS = 8

# What a worker does is patched in the main module of its parent, which it then imports.
SCRIPT = """
import contextlib, os, signal, sys, time
from pathlib import Path
import numpy as np
import psutil
from embedkit.extraction import Settings, extract, local, process, worker
from embedkit.extraction.worker import decode
from embedkit.runtime.embedder import GraphEmbedder
from embedkit.store import writer

process.no_main = contextlib.nullcontext
{patches}

if __name__ == "__main__":
    done = extract(*map(Path, sys.argv[1:4]), Settings(**eval(sys.argv[4])))
    print([(record.clip, record.kind, record.message) for record in done.failures])
"""


# As the command does it, with its words and its exit code.
COMMAND = """
    import embedkit_cli
    sys.argv = ["embedkit", *eval(sys.argv[4])["first"], "extract", sys.argv[1],
                "--model", sys.argv[2], "--out", sys.argv[3], "--workers", "1"]
    embedkit_cli.main()
"""


def script(folder: Path, patches: str) -> Path:
    path = folder / "run.py"
    path.write_text(SCRIPT.format(patches=patches))
    return path


def start(path: Path, audio: Path, model: Path, emb: Path, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, path, audio, model, emb, repr(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def audio(
    tmp_path_factory: pytest.TempPathFactory,
    make_sound: Callable[..., Samples],
    write_audio: Callable[..., Path],
) -> Path:
    root = tmp_path_factory.mktemp("audio")
    for seed in range(CLIPS):
        write_audio(root / f"{seed}.wav", make_sound(0.5 + seed / 3, seed=seed))
    return root


@pytest.fixture(scope="module")
def whole(audio: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """What a run that nothing disturbed gives."""
    emb = tmp_path_factory.mktemp("whole") / "emb"
    extract(audio, model_dir, emb, Settings(workers=1))
    return EmbeddingTable.open(emb)


def check_equal(emb: Path, whole: EmbeddingTable) -> None:
    found = EmbeddingTable.open(emb)
    assert found.journal == whole.journal
    rows, expected = found.rows(), whole.rows()
    assert rows.clips.tolist() == expected.clips.tolist()
    np.testing.assert_array_equal(rows.segments, expected.segments)
    np.testing.assert_allclose(rows.embeddings, expected.embeddings, rtol=0, atol=1e-5)
    # Any tool that opens emb/rows sees the same.
    assert pq.read_table(emb / "rows").num_rows == len(expected.clips)


BAD_DECODERS = """
def decode_or_not(path, *settings):
    if path.name == "2.wav":
        time.sleep(999)
    if path.name == "4.wav":
        signal.raise_signal(signal.SIGSEGV)  # in this thread, as a real one
    return decode(path, *settings)

worker.decode = decode_or_not
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_decoder_that_hangs_or_crashes_costs_its_file(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable, workers: int
) -> None:
    emb = tmp_path / "emb"
    path = script(tmp_path, BAD_DECODERS)
    done = start(path, audio, model_dir, emb, timeout=5.0, workers=workers)
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    assert sorted(ast.literal_eval(out)) == [
        ("2.wav", "timeout", "the decoder hung: nothing came of it in 5 s"),
        ("4.wav", "crashed", "the decoder crashed: signal SIGSEGV"),
    ]
    kinds = {record.clip: record.kind for record in EmbeddingTable.open(emb).journal}
    assert kinds == {f"{n}.wav": {2: "timeout", 4: "crashed"}.get(n, "") for n in range(CLIPS)}
    again = extract(audio, model_dir, emb, Settings(retry_errors=True))
    assert (again.files, again.already_done, again.failed_before) == (2, CLIPS - 2, 0)
    check_equal(emb, whole)


def test_a_worker_that_dies_of_no_file_ends_the_run(
    tmp_path: Path, audio: Path, model_dir: Path
) -> None:
    path = script(tmp_path, "worker.EmbeddingWriter = lambda *_: os._exit(7)")
    done = start(path, audio, model_dir, tmp_path / "emb", workers=1)
    _, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 1
    assert "a worker process, not decoding a file, crashed: exit code 7" in err


FAILING_NETWORK = """
class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{{one}} and {{two}}")
        self.hold = lambda: None

def embed(self, segments):
    {failure}

GraphEmbedder.embed_segments = embed
local.SUSPECTS = 1
"""


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "Tried to allocate"),
        ("raise OddError('this', 'that')", "OddError: this and that"),
        ("signal.raise_signal(signal.SIGSEGV)", "crashed: signal SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; run again to go on; if memory is short"),
    ],
)
def test_a_failing_network_ends_the_run_in_its_own_words_and_blames_no_file(
    tmp_path: Path,
    audio: Path,
    model_dir: Path,
    whole: EmbeddingTable,
    failure: str,
    words: str,
) -> None:
    emb = tmp_path / "emb"
    path = script(tmp_path, FAILING_NETWORK.format(failure=failure))
    path.write_text(path.read_text().split("    done = ")[0] + COMMAND)
    verbose = failure.startswith("raise Odd")
    done = start(path, audio, model_dir, emb, first=["--verbose"] * verbose)
    _, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 1, err
    assert words in err
    assert err.count("embedkit: ") == 1
    # The worker's own, that shows the place.
    assert ("Traceback" in err, "in embed\n" in err) == (verbose, verbose)
    assert EmbeddingTable.open(emb).journal == []
    extract(audio, model_dir, emb)
    check_equal(emb, whole)


KILLED = """
def decode_or_die(path, *settings):
    if path.name in ("3.wav", "5.wav"):
        tries = Path(sys.argv[3]).with_name(path.stem)
        beside = len(psutil.Process(os.getppid()).children())  # of the fork server
        again = tries.exists()
        with tries.open("a") as file:
            file.write(f"{{beside}} ")
        if {always} or not again:
            os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, *settings)

worker.decode = decode_or_die
local.SUSPECTS = 1
"""


@pytest.mark.parametrize("always", [False, True])
def test_a_file_whose_worker_was_killed_is_tried_once_more_and_alone(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable, always: bool
) -> None:
    emb = tmp_path / "emb"
    path = script(tmp_path, KILLED.format(always=always))
    done = start(path, audio, model_dir, emb, workers=2)
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    for name in "35":
        first, second = (tmp_path / name).read_text().split()
        assert int(first) in {1, 2}
        assert int(second) == 1
    failed = sorted(ast.literal_eval(out))
    assert [(clip, kind) for clip, kind, _ in failed] == (
        [("3.wav", "crashed"), ("5.wav", "crashed")] if always else []
    )
    assert all("SIGKILL" in text and "memory" in text for _, _, text in failed)
    if always:
        extract(audio, model_dir, emb, Settings(retry_errors=True))
    check_equal(emb, whole)


SLOW_NETWORK = """
def embed(self, segments):
    if not slow:
        slow.append(True)
        time.sleep(6)
    return embed_segments(self, segments)

slow = []
embed_segments = GraphEmbedder.embed_segments
GraphEmbedder.embed_segments = embed
"""


def test_a_batch_slower_than_the_timeout_is_not_the_decoders_silence(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb = tmp_path / "emb"
    path = script(tmp_path, SLOW_NETWORK)
    done = start(path, audio, model_dir, emb, workers=1, batch_size=1, timeout=5.0)
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    assert ast.literal_eval(out) == []
    check_equal(emb, whole)


WAITING = """
def decode_when_told(path, *settings):
    if path.name in ("2.wav", "5.wav"):
        begun = Path(sys.argv[3]).with_name(path.stem)
        begun.write_text(f"{os.getpid()} ")
        while not begun.with_suffix(".go").exists():
            time.sleep(0.02)
    return decode(path, *settings)

worker.decode = decode_when_told
"""


def test_a_run_or_a_worker_that_is_suspended_for_longer_than_the_timeout_goes_on(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb = tmp_path / "emb"
    path = script(tmp_path, WAITING)
    running = start(path, audio, model_dir, emb, workers=1, timeout=5.0)
    for name, send in (("2", os.killpg), ("5", os.kill)):  # the run, as Ctrl-Z does; one worker
        begun = tmp_path / name
        while not (begun.exists() and begun.read_text().endswith(" ")):
            assert running.poll() is None, running.communicate()
            time.sleep(0.02)
        process = running.pid if send is os.killpg else int(begun.read_text())
        send(process, signal.SIGSTOP)
        time.sleep(6)
        send(process, signal.SIGCONT)
        time.sleep(0.5)  # the parent looks before the decoder gives a sign
        begun.with_suffix(".go").touch()
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert ast.literal_eval(out) == []
    check_equal(emb, whole)


SILENT_CRASH = """
def decode_or_crash(path, *settings):
    if path.name == "5.wav":
        while not Path(sys.argv[3], "files/part-00000-00002.parquet").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, *settings)

worker.decode = decode_or_crash
worker.TELL = 999.0
worker._Sink.is_urgent = lambda self: False
writer.PART_SECONDS = 0.0
"""


def test_files_whose_worker_died_before_it_told_are_not_embedded_twice(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb = tmp_path / "emb"
    running = start(script(tmp_path, SILENT_CRASH), audio, model_dir, emb, workers=1, batch_size=1)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert [clip for clip, *_ in ast.literal_eval(out)] == ["5.wav"]
    extract(audio, model_dir, emb, Settings(retry_errors=True))
    check_equal(emb, whole)


NOT_FINITE = """
def embed(self, segments):
    vectors = embed_segments(self, segments)
    vectors[np.abs(segments).max(axis=1) > 0.98] = np.inf
    return vectors

embed_segments = GraphEmbedder.embed_segments
GraphEmbedder.embed_segments = embed
"""


def test_a_vector_that_is_not_finite_is_flagged_and_not_written(
    tmp_path: Path, model_dir: Path, write_audio: Callable[..., Path], make_sound: Callable
) -> None:
    sound = make_sound(3.5)
    sound[20000] = 0.99
    write_audio(tmp_path / "audio/a.wav", sound)
    write_audio(tmp_path / "audio/b.wav", 0.5 * make_sound(1))
    emb = tmp_path / "emb"
    path = script(tmp_path, NOT_FINITE)
    done = start(path, tmp_path / "audio", model_dir, emb, workers=1, batch_size=2)
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    assert ast.literal_eval(out) == [
        ("a.wav", "non-finite", "no finite vectors of 1 segments, the first at 1.00 s")
    ]
    table = EmbeddingTable.open(emb)
    assert table.rows().segments.tolist() == [0, 2, 3, 0]
    assert [record.rows for record in table.journal] == [3, 1]


def test_silence_denormals_and_clipping_give_finite_vectors(
    tmp_path: Path, model_dir: Path, write_audio: Callable[..., Path], make_sound: Callable
) -> None:
    sound = make_sound(1)
    for name, samples in {
        "silence": np.zeros(16000),
        "denormal": np.full(16000, 1e-40),
        "constant": np.ones(16000),
        "clipped": np.clip(100 * sound, -1, 1),
        "beyond": 1000 * sound,
    }.items():
        write_audio(tmp_path / f"audio/{name}.wav", samples, subtype="FLOAT")
    done = extract(tmp_path / "audio", model_dir, tmp_path / "emb")
    assert (done.files, done.rows, done.errors.total()) == (5, 5, 0)
    rows = EmbeddingTable.open(tmp_path / "emb").rows()
    assert np.isfinite(rows.embeddings).all()
    vectors = dict(zip(rows.clips, rows.embeddings, strict=True))
    np.testing.assert_array_equal(vectors["silence.wav"], vectors["denormal.wav"])


SHORT_PARTS = "writer.PART_SECONDS = 0.0"


def test_killed_at_random_moments_and_run_again_gives_the_rows_of_a_whole_run(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb, path = tmp_path / "emb", script(tmp_path, SHORT_PARTS)
    draw = random.Random(0)
    for _ in range(5):
        running = start(path, audio, model_dir, emb, workers=2, batch_size=2)
        while not (emb / ".lock-00000").exists() and running.poll() is None:
            time.sleep(0.01)  # until it begins to write
        time.sleep(draw.uniform(0, 0.3))
        with suppress(ProcessLookupError):  # it is done already
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        (emb / ".lock-00000").unlink(missing_ok=True)  # gone where the run ended in time
    extract(audio, model_dir, emb)
    check_equal(emb, whole)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_can_go_on(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable, stop: signal.Signals
) -> None:
    emb = tmp_path / "emb"
    patches = "import embedkit_cli\n" + BAD_DECODERS.replace("4.wav", "none").replace(
        "2.wav", "3.wav"
    )
    path = script(tmp_path, patches)
    path.write_text(path.read_text().split("if __name__")[0] + (
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    sys.argv = ['embedkit', 'extract', sys.argv[1], '--model', sys.argv[2], '--out',"
        " sys.argv[3], '--workers', '1']\n"
        "    embedkit_cli.main()"
    ))  # fmt: skip
    running = start(path, audio, model_dir, emb)
    while not (emb / ".lock-00000").exists():
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)  # the third file hangs, and two may be done
    running.send_signal(stop)
    _, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, err) == (130, "interrupted; run again to go on\n")
    extract(audio, model_dir, emb)
    check_equal(emb, whole)


def test_too_many_errors_stop_the_run_and_it_can_go_on(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    mixed = shutil.copytree(audio, tmp_path / "audio")
    for number in range(600):
        (mixed / f"bad-{number:03}.wav").write_text("no audio")
    arguments = ("extract", mixed, "--model", model_dir, "--out", tmp_path / "emb", "--workers", 1)
    done = run(*arguments, "--max-errors", 3, "--batch-size", 1, "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["stopped"]) == (1, True)
    assert "run again to go on" in done.stderr
    failed = result["errors"]["unreadable"]
    assert 3 <= failed < 300
    again = run(*arguments, "--json")
    assert again.returncode == 3
    kinds = [record.kind for record in EmbeddingTable.open(tmp_path / "emb").journal]
    assert (kinds.count("unreadable"), kinds.count("")) == (600, CLIPS)


WRITES = (
    (pq.ParquetWriter, "write_table"),
    (pq.ParquetWriter, "close"),
    (pq, "write_table"),
    (os, "fsync"),
    (Path, "replace"),
)


def write_clips(emb: Path, whole: EmbeddingTable, clips: slice) -> None:
    """Write some clips of a folder to another one, as one part."""
    rows = whole.rows()
    with EmbeddingWriter(emb, whole.provenance) as writer:
        for record in whole.journal[clips]:
            mine = rows.clips == record.clip
            writer.add_rows(
                record.clip,
                rows.segments[mine],
                rows.start_s[mine],
                rows.end_s[mine],
                rows.embeddings[mine],
            )
            writer.finish_file(record)


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("number", range(11))  # a part asks eleven things of the disk
def test_whatever_write_fails_nothing_that_was_written_is_lost(
    tmp_path: Path,
    whole: EmbeddingTable,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    problem: int,
) -> None:
    emb = tmp_path / "emb"
    write_clips(emb, whole, slice(3))
    calls = []

    def failing(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            calls.append(function)
            if len(calls) == number + 1:
                raise OSError(problem, os.strerror(problem))
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in WRITES:
            patch.setattr(owner, name, failing(getattr(owner, name)))
        with pytest.raises(OSError, match=os.strerror(problem)):
            write_clips(emb, whole, slice(3, 6))
    remove_leftovers(emb)
    kept = [record.clip for record in EmbeddingTable.open(emb).journal]
    # The journal's rename makes a part count; what fails after it is too late to undo it.
    assert kept == [f"{n}.wav" for n in range(6 if number == 10 else 3)]
    write_clips(emb, whole, slice(len(kept), None))
    check_equal(emb, whole)


def test_a_full_disk_ends_the_run_in_words_and_room_lets_it_go_on(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb = tmp_path / "disk"
    emb.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", emb]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        done = run("extract", audio, "--model", model_dir, "--out", emb, "--workers", 1)
        assert (done.returncode, done.stdout) == (1, "")
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=2m", emb], check=True)
        extract(audio, model_dir, emb)
        check_equal(emb, whole)
    finally:
        subprocess.run(["umount", "--lazy", emb], check=True)


def test_shards_side_by_side_give_the_rows_of_one_run(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    emb = tmp_path / "emb"
    done = []
    for number in (1, 2, 3):
        if number == 2:
            with only_run(emb, 1, 3):  # another machine has the first
                done.append(extract(audio, model_dir, emb, Settings(shard=Shard(2, 3), workers=2)))
        else:
            done.append(extract(audio, model_dir, emb, Settings(shard=Shard(number, 3))))
    assert sum(one.files for one in done) == CLIPS
    assert all(one.files for one in done)
    assert [one.vanished for one in done] == [0, 0, 0]
    check_equal(emb, whole)
    assert extract(audio, model_dir, emb).already_done == CLIPS


def test_runs_that_would_embed_the_same_files_are_refused(
    tmp_path: Path, audio: Path, model_dir: Path
) -> None:
    emb = tmp_path / "emb"
    for held, asked in [((2, 3), (2, 3)), ((2, 3), (1, 2)), ((2, 3), (1, 1)), ((1, 1), (2, 3))]:
        with only_run(emb, *held), pytest.raises(EmbeddingFolderError, match="another run"):
            extract(audio, model_dir, emb, Settings(shard=Shard(*asked)))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N"):
        Shard.parse(text)


def test_every_clip_is_in_one_shard_and_shards_are_about_equal() -> None:
    clips = [f"folder/{number}.wav" for number in range(4000)]
    counts = [sum(Shard.parse(f"{i}/7").owns(clip) for clip in clips) for i in range(1, 8)]
    assert sum(counts) == 4000
    assert min(counts) > 0.8 * 4000 / 7


def test_refresh_follows_the_collection(
    tmp_path: Path,
    model_dir: Path,
    make_sound: Callable[..., Samples],
    write_audio: Callable[..., Path],
    audio: Path,
) -> None:
    root, emb = shutil.copytree(audio, tmp_path / "audio"), tmp_path / "emb"
    extract(root, model_dir, emb, Settings(workers=2))
    write_audio(root / "1.wav", make_sound(4, seed=50))
    (root / "6.wav").unlink()
    write_audio(root / "new.wav", make_sound(1, seed=51))
    looked = extract(root, model_dir, emb)
    assert (looked.files, looked.changed, looked.vanished) == (1, 1, 1)
    done = extract(root, model_dir, emb, Settings(refresh=True))
    assert (done.files, done.changed, done.vanished, done.already_done) == (1, 0, 0, CLIPS - 1)
    extract(root, model_dir, tmp_path / "fresh")
    check_equal(emb, EmbeddingTable.open(tmp_path / "fresh"))


def test_a_collection_that_is_not_mounted_takes_nothing_out(
    tmp_path: Path, audio: Path, model_dir: Path
) -> None:
    root, emb = shutil.copytree(audio, tmp_path / "audio"), tmp_path / "emb"
    extract(root, model_dir, emb)
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(UsageError, match="is the disk mounted"):
        extract(root, model_dir, emb, Settings(refresh=True))
    assert len(EmbeddingTable.open(emb).journal) == CLIPS
    assert extract(audio / "0.wav", model_dir, tmp_path / "one").files == 1


def forget_and_die(emb: Path, gone: set[str], moment: int) -> int:
    """Forget clips, and end after so many steps; how many steps there were."""
    steps = 0

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal steps
            if steps == moment:
                raise KeyboardInterrupt  # and nothing after it works either
            steps += 1
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        for owner, name in (*WRITES, (Path, "unlink")):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        forget(emb, gone)
    return steps


# A writer that cannot close complains when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_forgetting_that_is_killed_leaves_each_part_old_or_new(
    tmp_path: Path, whole: EmbeddingTable
) -> None:
    gone = {"0.wav", "2.wav", "3.wav"}  # half a part, and a whole one
    full = tmp_path / "full"
    for first in range(0, CLIPS, 2):
        write_clips(full, whole, slice(first, first + 2))
    steps = forget_and_die(shutil.copytree(full, tmp_path / "all"), gone, moment=-1)
    assert steps > 10
    for moment in range(steps + 1):
        emb = shutil.copytree(full, tmp_path / str(moment))
        forget_and_die(emb, gone, moment)
        check_forgotten(emb, whole, gone)


def check_forgotten(emb: Path, whole: EmbeddingTable, gone: set[str]) -> None:
    remove_leftovers(emb)
    found = EmbeddingTable.open(emb)
    left = {record.clip for record in found.journal}
    every = {record.clip for record in whole.journal}
    assert every - gone <= left <= every
    assert ("2.wav" in left) == ("3.wav" in left)  # they stood in one part
    assert set(found.rows().clips) == left
    assert pq.read_table(emb / "rows").num_rows == len(found.rows().clips)
    forget(emb, gone)
    rows, expected = EmbeddingTable.open(emb).rows(), whole.rows()
    kept = ~np.isin(expected.clips.astype(str), list(gone))
    np.testing.assert_array_equal(rows.embeddings, expected.embeddings[kept])


def test_a_dry_run_foretells_the_run_and_changes_nothing(
    tmp_path: Path,
    audio: Path,
    model_dir: Path,
    whole: EmbeddingTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine the sample would be cut short; the package's `estimate` is the function.
    monkeypatch.setattr(sys.modules["embedkit.extraction.estimate"], "SECONDS", 999.0)
    root, emb = shutil.copytree(audio, tmp_path / "audio"), tmp_path / "emb"
    found = estimate(root, model_dir, emb)
    assert not emb.exists()
    seconds = sum(record.duration_s for record in whole.journal)
    assert (found.files, found.already_done, found.sampled) == (CLIPS, 0, CLIPS)
    assert found.audio_s == pytest.approx(seconds, rel=0.01)
    assert found.rows == pytest.approx(len(whole), abs=CLIPS / 2)
    assert found.seconds == pytest.approx(found.audio_s / found.speed)
    for number in range(4):
        (root / f"{number}.wav").rename(tmp_path / f"{number}.wav")
    extract(root, model_dir, emb)
    for number in range(4):
        (tmp_path / f"{number}.wav").rename(root / f"{number}.wav")
    printed = succeed("extract", root, "--model", model_dir, "--out", emb, "--dry-run", "--json")
    result = json.loads(printed)
    assert (result["files"], result["already_done"]) == (4, CLIPS - 4)
    assert len(EmbeddingTable.open(emb).journal) == CLIPS - 4
    (root / "7.wav").touch()
    again = estimate(root, model_dir, emb, Settings(refresh=True))
    assert (again.files, again.already_done, again.changed) == (5, CLIPS - 5, 1)
