"""Folders for caches that cannot be written: work goes on without, or says which and what to do."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from embedkit.errors import ModelFolderError
from embedkit.exchange import Foreign, import_vectors
from embedkit.models.hub import download
from embedkit.search.index import IndexKind
from embedkit.search.segments import SearchIndex
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Ten clips of random vectors."""
    root = tmp_path_factory.mktemp("caches")
    np.save(root / "v.npy", np.random.default_rng(0).standard_normal((10, 64)).astype("f4"))
    (root / "rows.csv").write_text(
        "\n".join(["path,start,end", *(f"{n}.wav,0,1" for n in range(10))])
    )
    import_vectors(
        root / "v.npy", "npy", Foreign(name="random", rows=root / "rows.csv"), root / "emb"
    )
    return EmbeddingTable.open(root / "emb")


def no_home(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """A container's user, whom nobody knows."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)


def home_is_a_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(file))


def cache_is_below_a_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(file / "cache"))


def may_not_write(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    cache, make = file.parent / "cache", Path.mkdir

    def refuse(path: Path, *args: Any, **options: Any) -> None:
        if path.is_relative_to(cache):
            raise PermissionError(13, "Permission denied", str(path))
        make(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)  # the tests may run as root, whom nothing refuses
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def is_full(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Room for names, and for no content."""
    cache = file.parent / "cache"
    write = faiss.write_index

    def refuse(index: object, name: str) -> None:
        if name.startswith(str(cache)):
            raise RuntimeError(f"Error: 'fwrite' failed in {name}: No space left on device")
        write(index, name)

    monkeypatch.setattr(faiss, "write_index", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


WAYS = [no_home, home_is_a_file, cache_is_below_a_file, may_not_write, is_full]


@pytest.mark.parametrize("way", WAYS)
def test_an_index_that_cannot_be_kept_answers_all_the_same(
    table: EmbeddingTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: Callable[[pytest.MonkeyPatch, Path], None],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    exact = SearchIndex(table, kind=IndexKind.FLAT)
    query = table.clip_vector("3.wav")[None]
    way(monkeypatch, tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        graph = SearchIndex(table, kind=IndexKind.HNSW)
    [told] = caplog.messages
    assert "the index is not kept for the next time: XDG_CACHE_HOME names another" in told
    assert [hit.clip for hit in graph.search(query, 5)[0]] == [
        hit.clip for hit in exact.search(query, 5)[0]
    ]
    assert not (tmp_path / "~").exists()


def test_onnx_runtime_reports_nothing_and_marks_no_machine(tmp_path: Path) -> None:
    code = "import embedkit, onnxruntime; onnxruntime.get_all_providers()"
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    unset = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS")  # it keeps still in automatic tests
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run([sys.executable, "-c", code], env=environment | places, check=True)
    assert not list(tmp_path.rglob("*"))  # else there would be a `deviceid`


def test_the_cache_of_the_hub_is_named_and_not_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "file" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ModelFolderError, match=r"cache of the Hub.*Not a directory; HF_HOME"):
        download("user/name")


@pytest.mark.parametrize(
    "arguments",
    ["map EMB --projection umap --out OUT.png", "mix AUDIO --hours 0.01 --out OUT"],
)
def test_numba_without_a_place_says_how_to_name_one(
    table: EmbeddingTable,
    tmp_path: Path,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., np.ndarray],
    arguments: str,
) -> None:
    pytest.importorskip("umap")
    pytest.importorskip("audiomentations")
    write_audio(tmp_path / "audio" / "a.wav", make_sound(1.0))
    (tmp_path / "file").write_text("")
    places = {
        "EMB": table.folder, "AUDIO": tmp_path / "audio", "OUT": tmp_path / "out",
        "OUT.png": tmp_path / "out.png",
    }  # fmt: skip
    words = [str(places.get(word, word)) for word in arguments.split()]
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "file"),
        "XDG_CACHE_HOME": str(tmp_path / "file"),
        # As where the libraries are another user's, beside which this one may write nothing.
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    code = "from embedkit_cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()  # nor does matplotlib speak of its own folder
    assert "NUMBA_CACHE_DIR names another folder" in line


def test_pictures_need_no_home_and_nothing_is_said_of_it(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code = "from embedkit_cli import main; main()"
    words = ["map", str(table.folder), "--out", str(tmp_path / "map.png")]
    environment = {**os.environ, "HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": "/dev/null/x"}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, f"{tmp_path}/map.png: 10 sounds\n")
