"""One process a card embeds for workers that decode; here the cards are processors."""

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit.errors import UsageError
from embedkit.extraction import Settings, extract
from embedkit.runtime import Program, Runtime, onnx, prepare
from embedkit.store import EmbeddingTable

CLIPS = 7

# The main module of the parent, which its processes import; there are two cards.
SCRIPT = """
import contextlib, os, signal, sys, time
from pathlib import Path
from embedkit.extraction import Settings, cards, extract, process, worker
from embedkit.extraction.worker import decode
from embedkit.runtime import Program
from embedkit.runtime.embedder import GraphEmbedder

process.no_main = cards.no_main = contextlib.nullcontext
Program.by_card = lambda program: [program, program]
network = GraphEmbedder._network
notes = Path(sys.argv[3]).with_name("notes")
{patches}

if __name__ == "__main__":
    done = extract(*map(Path, sys.argv[1:4]), Settings(**eval(sys.argv[4])))
    print([(record.clip, record.kind) for record in done.failures])
"""


def run(
    tmp_path: Path, patches: str, audio: Path, model: Path, **settings: object
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "run.py"
    path.write_text(SCRIPT.format(patches=patches))
    return subprocess.run(
        [sys.executable, path, audio, model, tmp_path / "emb", repr(settings)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def audio(
    tmp_path_factory: pytest.TempPathFactory,
    make_sound: Callable[..., NDArray[np.float32]],
    write_audio: Callable[..., Path],
) -> Path:
    root = tmp_path_factory.mktemp("audio")
    for seed in range(CLIPS):
        write_audio(root / f"{seed}.wav", make_sound(0.5 + seed / 2, seed=seed))
    return root


@pytest.fixture(scope="module")
def whole(audio: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """What a run on a CPU gives."""
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


COUNTED = """
def note(embedder, features):
    with notes.open("a") as file:
        file.write(f"{os.getpid()} ")
    return network(embedder, features)

GraphEmbedder._network = note
"""


def test_each_card_has_one_process_and_the_vectors_are_those_of_a_cpu(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    done = run(tmp_path, COUNTED, audio, model_dir, workers=3, batch_size=4)
    assert done.returncode == 0, done.stderr
    assert len(set((tmp_path / "notes").read_text().split())) == 2
    check_equal(tmp_path / "emb", whole)


def test_torch_computes_the_features_at_the_card_too(
    tmp_path: Path,
    audio: Path,
    model_dir: Path,
    whole: EmbeddingTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Program, "by_card", lambda program: [program, program])
    extract(audio, model_dir, tmp_path / "emb", Settings(runtime=Runtime.TORCH, workers=2))
    check_equal(tmp_path / "emb", whole)


BAD_DECODERS = """
def decode_or_not(path, *settings):
    if path.name == "2.wav":
        time.sleep(999)
    if path.name == "4.wav":
        signal.raise_signal(signal.SIGSEGV)
    return decode(path, *settings)

worker.decode = decode_or_not
"""


def test_a_decoder_that_hangs_or_crashes_costs_its_file_and_no_card(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    done = run(tmp_path, COUNTED + BAD_DECODERS, audio, model_dir, workers=2, timeout=5.0)
    assert done.returncode == 0, done.stderr
    assert sorted(ast.literal_eval(done.stdout)) == [("2.wav", "timeout"), ("4.wav", "crashed")]
    assert len(set((tmp_path / "notes").read_text().split())) <= 2
    extract(audio, model_dir, tmp_path / "emb", Settings(retry_errors=True))
    check_equal(tmp_path / "emb", whole)


FAILING = """
def fail(embedder, features):
    {failure}

GraphEmbedder._network = fail
"""


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("os._exit(7)", "the process that embeds on cpu crashed; run again to go on"),
        ("raise RuntimeError('an illegal access')", "RuntimeError: an illegal access"),
        (
            "raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')",
            "too little memory for one segment: CUDA out of memory. Tried to allocate 2 GiB; end",
        ),
    ],
)
def test_a_failing_card_ends_the_run_in_its_own_words(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable, failure: str, words: str
) -> None:
    done = run(tmp_path, FAILING.format(failure=failure), audio, model_dir, workers=2)
    assert done.returncode == 1
    assert words in done.stderr
    extract(audio, model_dir, tmp_path / "emb")
    check_equal(tmp_path / "emb", whole)


SHORT = """
def short(embedder, features):
    if len(features) > 3:
        raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for 9 bytes")
    return network(embedder, features)

GraphEmbedder._network = short
"""


def test_batches_that_do_not_fit_are_halved_and_that_is_said_once_by_a_card(
    tmp_path: Path, audio: Path, model_dir: Path, whole: EmbeddingTable
) -> None:
    done = run(tmp_path, SHORT, audio, model_dir, workers=1, batch_size=8)
    assert done.returncode == 0, done.stderr
    said = "8 segments at a time do not fit into memory: from here on it is 2\n"
    assert done.stderr == said
    check_equal(tmp_path / "emb", whole)


def test_cuda_is_all_cards_and_a_number_is_one(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def devices(device: str) -> list[str]:
        program = prepare(model_dir, runtime=Runtime.ONNX, device=device)
        return [each.device for each in program.by_card()]

    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx.onnxruntime, "get_available_providers", lambda: there)
    monkeypatch.setattr(onnx, "count_cards", lambda: 3)
    assert devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cuda:1") == ["cuda:1"]
    assert devices("cpu") == []
    with pytest.raises(UsageError, match="found 3 cards, numbered from 0"):
        devices("cuda:3")
