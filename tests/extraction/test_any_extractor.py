"""Extractors of others through what embedkit does for its own: killed, resumed, asked, told."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from command import run, succeed
from foreign import (
    LABELS,
    NO_LOGITS,
    RATE,
    WEIGHTS,
    network,
    toy,
    toy_network,
    write_extractor,
    write_tflite,
)
from killed import kill_midway
from made import Vectors
from onnx import helper
from scipy.special import expit

import embedkit
from embedkit.errors import EmbeddingFolderError, EmbedkitError, UsageError
from embedkit.extraction import Settings, extract
from embedkit.names.bundled import load_names
from embedkit.runtime.description import read_description
from embedkit.runtime.foreign import open_foreign
from embedkit.search.queries import Queries
from embedkit.store import EmbeddingTable, read_manifest
from embedkit.training.teachers import Teacher

Make = Callable[..., Vectors]
REAL = os.environ.get("EMBEDKIT_TEST_EXTRACTORS", "")  # extractor.toml files of real ones


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, make_sound: Make, write_audio: Any) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for seed in range(6):
        write_audio(root / f"{seed}.wav", make_sound(0.25 + 0.1 * seed, RATE, seed=seed), RATE)
    (root / "bad.wav").write_text("no sound")
    return root


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def extractor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "onnx":
        return write_extractor(tmp_path_factory.mktemp("toy"), about={"licence": "MIT"})
    pytest.importorskip("ai_edge_litert", reason="embedkit[tflite] is not installed")
    return write_tflite(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def whole(extractor: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    emb = tmp_path_factory.mktemp("emb")
    done = extract(sounds, extractor, emb, Settings(workers=2, batch_size=3))
    assert (done.files, dict(done.errors)) == (7, {"unreadable": 1})
    return emb


def expected(path: Path) -> Vectors:
    """What the toy gives for a file, in windows of its length, the last one filled with silence."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return toy(np.pad(samples, (0, -len(samples) % 800)).reshape(-1, 800))[0]


def check(emb: Path, sounds: Path) -> None:
    rows = EmbeddingTable.open(emb).rows()
    for clip in sorted(set(rows.clips)):
        mine = rows.clips == clip
        found = rows.embeddings[mine][np.argsort(rows.segments[mine])]
        np.testing.assert_allclose(found, expected(sounds / clip), rtol=1e-4, atol=1e-5)
    assert len(set(rows.clips)) == 6


def test_rows_are_the_networks_and_the_manifest_says_whose(
    whole: Path, extractor: Path, sounds: Path
) -> None:
    check(whole, sounds)
    provenance = read_manifest(whole)
    known = provenance.extractor
    file = next(path for path in extractor.parent.iterdir() if path.stem == "toy")
    assert (known["name"], known["network"], known["labels"]) == ("toy", file.name, 2)
    assert provenance.runtime == file.suffix[1:]
    assert provenance.model == str(extractor)
    assert (provenance.segment_s, provenance.sample_rate) == (0.1, RATE)
    told = succeed("info", whole)
    assert known["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert all(str(value) in told for value in (known["sha256"], "extractor.licence", "toy"))


def test_killed_and_run_again_gives_the_rows_of_a_whole_run(
    extractor: Path, sounds: Path, tmp_path: Path
) -> None:
    emb = tmp_path / "emb"
    kill_midway(sounds, extractor, emb)
    done = extract(sounds, extractor, emb, Settings(workers=2))
    assert (done.already_done, done.files) == (1, 6)
    check(emb, sounds)
    assert extract(sounds, extractor, emb).files == 0


def test_asked_by_file_by_clip_and_by_word(whole: Path, sounds: Path, tmp_path: Path) -> None:
    queries = Queries(EmbeddingTable.open(whole))
    elsewhere = tmp_path / "elsewhere.wav"
    elsewhere.write_bytes((sounds / "4.wav").read_bytes())
    by_file, by_clip = queries.vector(str(elsewhere)), queries.vector("4.wav")
    np.testing.assert_allclose(by_file, by_clip, rtol=1e-5, atol=1e-6)
    seconds = np.full(7, 0.1)
    seconds[-1] = 0.05  # of 0.65
    mean = seconds @ expected(elsewhere) / seconds.sum()
    np.testing.assert_allclose(by_clip, mean, rtol=1e-4, atol=1e-5)
    names = load_names(EmbeddingTable.open(whole))
    assert names.labels == LABELS
    np.testing.assert_allclose(
        names.scores(by_clip[None]), expit(by_clip[None] @ WEIGHTS), atol=1e-5
    )
    tagged = {row["clip"]: row["names"] for row in json.loads(succeed("tag", whole, "--json"))}
    scores = {name["name"]: name["score"] for name in tagged["4.wav"]}
    for name, score in zip(LABELS, expit(mean @ WEIGHTS), strict=True):
        assert scores.get(name, 0) == pytest.approx(score if score >= 0.2 else 0, abs=1e-4)
    found = succeed("search", whole, "--text", "high", "--top", "2", "--json")
    assert "high" in found


def test_extractor_load_gives_the_rows_of_a_run(extractor: Path, whole: Path, sounds: Path) -> None:
    loaded = embedkit.Extractor.load(extractor)
    assert (loaded.sample_rate, loaded.embedding_size, loaded.config) == (RATE, 3, None)
    assert loaded.fingerprint == read_manifest(whole).fingerprint
    samples, _ = soundfile.read(sounds / "3.wav", dtype="float32")
    np.testing.assert_allclose(
        loaded.embed(samples), expected(sounds / "3.wav"), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        embedkit.embed(sounds / "3.wav", model=extractor), loaded.embed(samples), atol=1e-6
    )


def test_a_teacher_may_be_any_of_them(extractor: Path) -> None:
    teacher = Teacher(extractor, RATE, 800, "cpu")
    assert (teacher.size, teacher.labels) == (3, LABELS)


def test_what_changes_vectors_changes_their_fingerprint(tmp_path: Path, sounds: Path) -> None:
    path = write_extractor(tmp_path / "toy")
    first = embedkit.Extractor.load(path)
    emb = tmp_path / "emb"
    extract(sounds, path, emb)
    told = write_extractor(tmp_path / "toy", about={"citation": "A, B: C"}, output=NO_LOGITS)
    assert embedkit.Extractor.load(told).fingerprint == first.fingerprint
    assert extract(sounds, told, emb).files == 0
    louder = write_extractor(tmp_path / "toy", input={"scale": 2.0})
    assert embedkit.Extractor.load(louder).fingerprint != first.fingerprint
    with pytest.raises(EmbeddingFolderError, match="was made with fingerprint"):
        extract(sounds, louder, emb)
    with pytest.raises(
        EmbeddingFolderError, match=r"not the model that made .* name the right folder"
    ):
        Queries(EmbeddingTable.open(emb)).vector(__file__)


def test_a_network_that_changes_on_the_way_is_refused(tmp_path: Path) -> None:
    path = write_extractor(tmp_path)
    program = embedkit.Extractor.load(path).program
    (tmp_path / "toy.onnx").write_bytes(toy_network() + b"\x1a\x01x")
    with pytest.raises(EmbedkitError, match="not the file that"):
        program.start()


def test_a_network_of_a_fixed_batch_hears_any_number(tmp_path: Path) -> None:
    model = onnx.load_from_string(toy_network())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    path = write_extractor(tmp_path, model.SerializeToString())
    segments = np.random.default_rng(0).uniform(-1, 1, (5, 800)).astype(np.float32)
    found = embedkit.Extractor.load(path).embed_segments(segments)
    np.testing.assert_allclose(found, toy(segments)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dim", "4"), "its vectors have 3 numbers, and there are none of 4"),
        (("--runtime", "torch"), "is for runtime onnx, not torch"),
        (("--runtime", "tflite"), "is for runtime onnx, not tflite"),
        (("--device", "mps"), "runtime onnx does not compute on mps"),
    ],
)
def test_says_what_an_extractor_has_not(
    tmp_path: Path, sounds: Path, options: tuple[str, ...], message: str
) -> None:
    path = write_extractor(tmp_path)
    done = run("extract", sounds, "--model", path, "--out", tmp_path / "emb", *options)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_file_without_finite_vectors_stops_nothing(tmp_path: Path, write_audio: Any) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["waveform"], ["most"], axes=[1]),
        helper.make_node("Log", ["most"], ["embedding"]),
    ]
    path = write_extractor(tmp_path / "log", network(nodes), output=NO_LOGITS)
    quiet = np.zeros(1600, np.float32)
    write_audio(tmp_path / "sounds" / "half.wav", np.concatenate([quiet[:800] + 0.5, quiet]), RATE)
    write_audio(tmp_path / "sounds" / "good.wav", quiet + 0.5, RATE)
    done = extract(tmp_path / "sounds", path, tmp_path / "emb", Settings(workers=1))
    assert (done.rows, dict(done.errors)) == (3, {"non-finite": 1})


@pytest.mark.skipif(not REAL, reason="EMBEDKIT_TEST_EXTRACTORS names no extractor.toml")
@pytest.mark.parametrize("path", [Path(path) for path in REAL.split(os.pathsep) if path], ids=str)
def test_a_real_one_is_killed_resumed_asked_and_named(
    path: Path, tmp_path: Path, make_sound: Make, write_audio: Any
) -> None:
    described = read_description(path)
    length, _ = described.segments.samples(described.sample_rate)
    heard = {}
    for seed in range(3):  # of two windows each
        sound = make_sound(2 * length / described.sample_rate, described.sample_rate, seed=seed)
        file = tmp_path / "sounds" / f"{seed}.wav"
        write_audio(file, sound[: 2 * length], described.sample_rate, subtype="FLOAT")
        heard[file.name] = open_foreign(path).hear(sound[: 2 * length].reshape(2, length))
    emb = tmp_path / "emb"
    kill_midway(tmp_path / "sounds", path, emb)
    assert extract(tmp_path / "sounds", path, emb).already_done == 1
    rows = EmbeddingTable.open(emb).rows()
    names = load_names(EmbeddingTable.open(emb))
    for clip, (embedding, logits) in heard.items():
        found = rows.embeddings[rows.clips == clip]
        np.testing.assert_allclose(found, embedding, atol=1e-4 * np.abs(embedding).max())
        assert logits is not None
        np.testing.assert_allclose(names.scores(found), expit(logits), atol=1e-3)
    asked = json.loads(
        succeed("search", emb, tmp_path / "sounds" / "1.wav", "--top", "1", "--json")
    )
    assert "1.wav" in json.dumps(asked)


# Functions of this program


def measure(segments: Vectors) -> Any:
    return toy(segments)[0]


def test_a_function_embeds_in_this_process_while_others_decode(
    sounds: Path, tmp_path: Path
) -> None:
    heard = []

    def listening(segments: Vectors) -> Any:  # a closure, which no other process could be given
        heard.append(len(segments))
        return measure(segments).astype(np.float64)

    extractor = embedkit.Extractor.of(listening, name="toy 1", sample_rate=RATE, window_s=0.1)
    assert (extractor.embedding_size, extractor.segments.hop_s) == (3, 0.1)
    tried = len(heard)
    emb = tmp_path / "emb"
    done = embedkit.extract(sounds, emb, extractor=extractor, workers=2)
    assert (done.files, dict(done.errors)) == (7, {"unreadable": 1})
    check(emb, sounds)
    assert sum(heard[tried:]) == done.rows
    again = embedkit.Extractor.of(measure, name="toy 1", sample_rate=RATE, window_s=0.1)
    assert embedkit.extract(sounds, emb, extractor=again).files == 0
    other = embedkit.Extractor.of(measure, name="toy 2", sample_rate=RATE, window_s=0.1)
    with pytest.raises(EmbeddingFolderError, match="was made with fingerprint"):
        embedkit.extract(sounds, emb, extractor=other)
    assert read_manifest(emb).model_name == "toy 1"
    assert len(embedkit.open(emb).search("3.wav", top=3)) == 3
    with pytest.raises(EmbeddingFolderError, match="made by 'toy 1', a function of a Python"):
        Queries(EmbeddingTable.open(emb)).vector(__file__)


def test_a_function_that_fails_ends_the_run_with_its_words(sounds: Path, tmp_path: Path) -> None:
    calls = []

    def failing(segments: Vectors) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise ValueError("no more of this")
        return measure(segments)

    extractor = embedkit.Extractor.of(failing, name="f", sample_rate=RATE, window_s=0.1)
    with pytest.raises(EmbedkitError, match="no more of this"):
        embedkit.extract(sounds, tmp_path / "emb", extractor=extractor, workers=1)
    good = embedkit.Extractor.of(measure, name="f", sample_rate=RATE, window_s=0.1)
    embedkit.extract(sounds, tmp_path / "emb", extractor=good)
    check(tmp_path / "emb", sounds)


def test_says_what_is_wrong_with_a_function(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        embedkit.Extractor.of(measure, name=" ", sample_rate=RATE)
    with pytest.raises(
        EmbedkitError, match=r"f: gave float32 \[2, 2\] for 3|expected numbers \[2, D\]"
    ):
        embedkit.Extractor.of(lambda given: given[0], name="f", sample_rate=RATE)
    good = embedkit.Extractor.of(measure, name="f", sample_rate=RATE)
    with pytest.raises(UsageError, match="this extractor is ready"):
        embedkit.extract(sounds, tmp_path / "emb", extractor=good, dim=3)
    assert replace(good.program, device="cpu") == good.program
