"""A full folder for temporary files is named, whatever is at hand; real limits, no made-up ones."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run

from embedkit import scratch
from embedkit.errors import EmbedkitError
from embedkit.exchange import Foreign, import_vectors
from embedkit.export.quantise import quantise
from embedkit.extraction import Runtime, Settings, estimate, extract
from embedkit.scratch import scratch_folder
from embedkit.store import EmbeddingTable
from embedkit.training.mixtures import mix
from embedkit.web.uploads import Uploads

MOST = 16 * 1024  # bytes that a file may have: fewer than any of the temporary ones
WORDS = "temporary files cannot be written.*TMPDIR"


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond MOST, as on a disk that is nearly full: writing then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def audio(
    tmp_path: Path, write_audio: Callable[..., Path], make_sound: Callable[..., np.ndarray]
) -> Path:
    return write_audio(tmp_path / "audio" / "a.wav", make_sound(2.0)).parent


def vectors(folder: Path) -> Path:
    """Another tool's vectors, more of them than fit in MOST."""
    rows = 2 * MOST // (4 * 64)
    values = np.random.default_rng(0).standard_normal((rows, 64)).astype(np.float32)
    table = pa.table({
        "clip": ["a.wav"] * rows,
        "start_s": np.arange(rows, dtype=float),
        "end_s": np.arange(rows, dtype=float) + 1,
        "embedding": list(values),
    })  # fmt: skip
    pq.write_table(table, folder / "theirs.parquet")
    return folder / "theirs.parquet"


def test_another_tools_file_is_not_blamed(tmp_path: Path) -> None:
    source = vectors(tmp_path)
    with small_files(), pytest.raises(EmbedkitError, match=WORDS) as caught:
        import_vectors(source, "parquet", Foreign(name="theirs"), tmp_path / "out")
    assert str(caught.value).startswith(f"{tempfile.gettempdir()}: ")
    assert "theirs" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    import_vectors(source, "parquet", Foreign(name="theirs"), tmp_path / "out")


@pytest.mark.parametrize("what", [extract, estimate])
def test_neither_the_model_nor_a_sound_is_blamed(
    tmp_path: Path, audio: Path, model_dir: Path, what: Callable[..., object]
) -> None:
    for number in range(400):  # to list them takes more than one small file
        (audio / f"{number:060}.wav").hardlink_to(audio / "a.wav")
    settings = Settings(workers=1, runtime=Runtime.ONNX)
    with small_files(), pytest.raises(EmbedkitError, match=WORDS) as caught:
        what(audio, model_dir, tmp_path / "emb", settings)
    assert not any(str(path) in str(caught.value) for path in (audio, model_dir))
    assert not list((tmp_path / "emb").rglob("*.parquet"))


def test_a_network_that_is_quantised(model_dir: Path) -> None:
    network = onnx.load(model_dir / "network.onnx")
    features = np.zeros((2, 1, 98, 64), np.float32)
    with small_files(), pytest.raises(EmbedkitError, match=WORDS):
        quantise(network, features)


def test_mixing(tmp_path: Path, audio: Path) -> None:
    pytest.importorskip("audiomentations")
    with small_files(), pytest.raises(EmbedkitError, match=WORDS):
        mix(audio, tmp_path / "out", hours=0.001)


def test_an_upload(tmp_path: Path, audio: Path, model_dir: Path) -> None:
    extract(audio, model_dir, tmp_path / "emb", Settings(workers=1))
    uploads = Uploads(EmbeddingTable.open(tmp_path / "emb").provenance)
    with small_files(), pytest.raises(EmbedkitError, match=WORDS):
        uploads.add((audio / "a.wav").read_bytes())


def test_no_folder_for_temporary_files_at_all(
    tmp_path: Path, audio: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [f"{tmp_path}/file/x"])
    with pytest.raises(EmbedkitError, match=r"No usable temporary directory.*TMPDIR"):
        scratch_folder().__enter__()
    done = run("extract", audio, "--model", model_dir, "--out", tmp_path / "emb")
    assert (done.returncode, "TMPDIR" in done.stderr) == (1, True)


HOLDER = """
import time
from embedkit.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "upload").write_text("a sound")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLDER]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    try:
        alive, killed = (
            Path((process.stdout or sys.stdin).readline().strip()) for process in processes
        )
        processes[1].kill()
        processes[1].wait()
        own = tmp_path / "elsewhere"  # a folder that a link leads to
        own.mkdir()
        (own / scratch.HELD).touch()
        (tmp_path / "embedkit-link").symlink_to(own)
        (tmp_path / "embedkit-new").mkdir()  # not locked yet
        assert (killed / "upload").exists()
        scratch._remove_leftovers.cache_clear()
        with scratch_folder() as folder:
            assert sorted(path.name for path in folder.iterdir()) == [scratch.HELD]
            assert not killed.exists()
            assert (alive / "upload").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            [alive.name, "elsewhere", "embedkit-link", "embedkit-new"]
        )
        assert (own / scratch.HELD).exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
