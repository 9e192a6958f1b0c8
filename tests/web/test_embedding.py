"""`embedkit explore` of a folder of sound: it is embedded while the page is open."""

import logging
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Server, ask, cookie_of
from command import run
from fastapi import FastAPI
from patience import PATIENCE

from embedkit.extraction import extract
from embedkit.store import EmbeddingTable, read_manifest
from embedkit.web import serving


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, write_audio: Any, make_sound: Any) -> Path:
    root = tmp_path_factory.mktemp("embedding") / "sounds"
    for number in range(6):
        write_audio(root / "a" / f"{number}.wav", 0.3 * make_sound(1.5, seed=number))
    (root / "bad.wav").write_bytes(b"RIFF")
    return root


def test_a_folder_of_sound_is_embedded_as_extract_does_and_explored(
    sounds: Path, model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "emb"
    server = Server(sounds, "--out", out, "--model", model_dir)
    seen = []
    while "embedding" in (facts := server.facts()):
        assert list(facts) == ["embedding"]
        seen.append(facts["embedding"])
    assert facts["clips"] == 6
    assert facts["errors"] == {"unreadable": 1}
    assert seen[0]["total"] in {0, 7}
    for before, after in pairwise(seen):
        assert after["done"] >= before["done"]
        assert after["seconds_of_audio"] >= before["seconds_of_audio"]
    clips = ask(server.address, f"api/{facts['edition']}/clips")["names"]
    assert "6 clips" in server.interrupt()
    extract(sounds, model_dir, tmp_path / "expected")
    expected = EmbeddingTable.open(tmp_path / "expected").clip_vectors()
    names, vectors = EmbeddingTable.open(out).clip_vectors()
    assert clips == names == expected[0]
    np.testing.assert_allclose(vectors, expected[1], rtol=0, atol=1e-5)


def test_what_was_begun_is_gone_on_with_as_it_was_begun(
    sounds: Path, model_dir: Path, tmp_path: Path, write_audio: Any, make_sound: Any
) -> None:
    folder = tmp_path / "sounds"
    for number in range(60):
        write_audio(folder / f"{number}.flac", 0.3 * make_sound(2.0, seed=number))
    run("extract", folder, "--model", model_dir, "--out", tmp_path / "sounds-embeddings",
        "--hop", "0.5", "--channel", "left", "--shard", "1/4")  # fmt: skip
    before = read_manifest(tmp_path / "sounds-embeddings")
    done = len(EmbeddingTable.open(tmp_path / "sounds-embeddings").clip_vectors()[0])
    assert 0 < done < 60
    server = Server(folder)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        ask(server.address, "api/0123456789abcdef/clips")
    said = server.interrupt()
    assert "another run goes on" in said
    server = Server(folder)
    while "embedding" in (facts := server.facts()):
        assert facts["embedding"]["done"] >= done or not facts["embedding"]["total"]
    server.interrupt()
    assert facts["clips"] == 60
    assert read_manifest(tmp_path / "sounds-embeddings") == before


def test_what_cannot_be_embedded_ends_it_with_words(tmp_path: Path, sounds: Path) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "bad.wav").write_bytes(b"RIFF")
    done = run("explore", tmp_path / "sounds", "--port", "0")
    assert (done.returncode, "no vectors to explore" in done.stderr) == (1, True), done.stderr
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    for arguments, words in (
        ((tmp_path / "texts",), "neither an embedding folder, which has a manifest.json, nor"),
        ((tmp_path / "sounds", "--audio-root", sounds), "--audio-root is for an embedding folder"),
        ((tmp_path / "sounds-embeddings", "--out", tmp_path / "x"), "has its vectors"),
    ):
        done = run("explore", *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    done = run("explore", tmp_path / "nowhere")
    assert done.returncode != 0
    assert "no such folder" in done.stderr or "not an embedding folder" in done.stderr


def test_ctrl_c_while_a_sound_is_embedded_says_nothing_odd(
    sounds: Path, model_dir: Path, tmp_path: Path
) -> None:
    extract(sounds, model_dir, tmp_path / "emb")
    server = Server(tmp_path / "emb")
    path = f"api/{server.facts()['edition']}/upload"
    with ThreadPoolExecutor() as pool:
        # Its process is still loading what embeds when Ctrl-C reaches that too.
        sent = pool.submit(send, server.address + path, (sounds / "a" / "0.wav").read_bytes())
        time.sleep(0.5)
        server.interrupt()
        assert "stopped" in sent.result(PATIENCE) or "200" in sent.result(PATIENCE)


def send(address: str, content: bytes) -> str:
    """What becomes of an upload."""
    headers = {"Cookie": cookie_of(address), "Content-Type": "application/octet-stream"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content, headers)) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return f"stopped: {error}"


def test_a_server_closes_no_handler_of_others() -> None:
    class Handler(logging.Handler):
        closed = False

        def close(self) -> None:
            self.closed = True

    handler = Handler()  # as absl's, which closes what it writes to
    serving.Server(FastAPI(), lambda: None)
    assert not handler.closed


INTERRUPTED = """
import asyncio, signal, socket
import uvicorn
from fastapi import FastAPI
from embedkit.web.serving import Server

def interrupted():
    signal.raise_signal(signal.SIGINT)
    print("made")
    return asyncio.new_event_loop()

signal.signal(signal.SIGINT, signal.default_int_handler)
uvicorn.Config.get_loop_factory = lambda config: interrupted
with socket.create_server(("127.0.0.1", 0)) as listener:
    try:
        Server(FastAPI(), lambda: print("ended")).run([listener])
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_leaves_no_event_loop_half_made() -> None:
    said = subprocess.check_output([sys.executable, "-c", INTERRUPTED], text=True)
    assert said.split() == ["made", "ended", "interrupted"]
