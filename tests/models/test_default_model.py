"""embedkit's own model: what works with no model named, and what begins with it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from unexported import unexport

from embedkit import Extractor
from embedkit.audio.decode import decode
from embedkit.checkpoint import fingerprint, load_config
from embedkit.classifiers.classifier import Classifier
from embedkit.config import DEFAULT_MODEL, FeatureSpec, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest
from embedkit.demo.synth import write_collection
from embedkit.errors import UsageError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.names.bundled import NAMES
from embedkit.runtime import Runtime, prepare
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.training import train
from runtimes import need

SIZES = (64, 128, 256, 512, 1024)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesised sounds in folders by kind, embedded with no model named."""
    root = tmp_path_factory.mktemp("default")
    write_collection(root / "audio", clips_per_class=4, folds=2)
    succeed("extract", root / "audio", "--out", root / "emb")
    return root


def test_extract_search_and_classify_need_no_model(collection: Path) -> None:
    table = EmbeddingTable.open(collection / "emb")
    assert table.provenance.embedding_size == 256
    assert table.provenance.fingerprint == fingerprint(DEFAULT_MODEL)
    clip = table.rows().clips[0]
    found = json.loads(
        succeed("search", collection / "emb", collection / "audio" / clip, "--top", 1, "--json")
    )
    # A file of the collection finds itself, though it comes from outside as a file.
    assert found[0]["results"][0]["clip"] == clip
    figures = json.loads(
        succeed(
            "classify", "evaluate", collection / "emb", "--labels",
            collection / "audio" / "clips.csv", "--json",
        )
    )  # fmt: skip
    assert figures["accuracy"] > 0.75  # of twelve kinds: by chance 0.08


def test_the_rows_are_what_the_extractor_gives(collection: Path) -> None:
    extractor = Extractor.load()
    rows = pq.read_table(collection / "emb" / "rows").to_pylist()
    clip = rows[0]["clip"]
    waveform = np.concatenate(list(decode(collection / "audio" / clip, extractor.sample_rate)))
    found = np.array([row["embedding"] for row in rows if row["clip"] == clip])
    np.testing.assert_allclose(found, extractor.embed(waveform), atol=1e-3, rtol=1e-3)


def test_every_size_is_a_prefix_of_the_largest(make_sound: Any) -> None:
    sound = make_sound(2.0)
    whole = Extractor.load(dim=1024).embed(sound)
    assert Extractor.load().embedding_size == 256
    for size in SIZES:
        np.testing.assert_array_equal(Extractor.load(dim=size).embed(sound), whole[:, :size])


@pytest.mark.parametrize(
    ("runtime", "least"),
    [
        (Runtime.ONNX, 0.99999),
        (Runtime.ONNX_INT8, 0.99),
        (Runtime.OPENVINO, 0.99999),
        (Runtime.OPENVINO_BF16, 0.999),
        (Runtime.OPENVINO_INT8, 0.99),
    ],
)
def test_the_runtimes_agree(runtime: Runtime, least: float, make_sound: Any) -> None:
    need(runtime)
    segments = np.stack([make_sound(1.0, seed=seed) for seed in range(16)])
    for size in SIZES:
        wanted = ExtractorModule.load(dim=size).embed_segments(segments)
        found = prepare(DEFAULT_MODEL, runtime=runtime, dim=size).start(1)
        vectors = found.embed_segments(segments)
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted, axis=1)
        cosine = (vectors * wanted).sum(axis=1) / norms
        assert vectors.shape == (16, size)
        assert cosine.mean() > least


@pytest.mark.parametrize("runtime", [Runtime.ONNX, Runtime.ONNX_INT8])
def test_sounds_that_are_what_their_names_say_are_named_so(runtime: Runtime) -> None:
    rng, time = np.random.default_rng(0), np.arange(5 * 16000) / 16000
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))
    sounds = {
        "Sine wave": 0.3 * np.sin(2 * np.pi * 1000 * time),
        "Pink noise": 0.1 * pink / pink.std(),
    }
    for size in SIZES:
        names = Classifier.load(DEFAULT_MODEL / NAMES / str(size))
        assert (len(names.labels), names.size) == (527, size)
        extractor = Extractor.load(dim=size, runtime=runtime)
        vectors = [extractor.embed_clip(sound.astype(np.float32)) for sound in sounds.values()]
        found = names.scores(np.array(vectors)).argmax(axis=1)
        assert [names.labels[index] for index in found] == list(sounds)


def test_the_box_is_small_and_says_what_is_in_it() -> None:
    sizes = [path.stat().st_size for path in DEFAULT_MODEL.rglob("*") if path.is_file()]
    assert max(sizes) < 8e6
    assert sum(sizes) < 15e6
    card = (DEFAULT_MODEL / "README.md").read_text()
    for word in ("CC BY-SA 4.0", "EfficientAT", "MIT", "Debian", "bad at"):
        assert word in card
    config = load_config(DEFAULT_MODEL)
    assert config.model.dims == SIZES
    measured = json.loads((DEFAULT_MODEL / "figures.json").read_text())
    assert [int(size) for size in measured] == list(SIZES)
    for size, figures in measured.items():  # the card's figures are the measured ones
        assert f"| {size} | {figures['esc10_accuracy']:.1%}" in card


def test_a_query_finds_the_model_where_it_is_now(collection: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.open(collection / "emb")
    moved = table.provenance.__class__(
        **{**vars(table.provenance), "model": str(tmp_path / "another" / "environment")}
    )
    clip = str(table.rows().clips[0])
    path = collection / "audio" / clip
    np.testing.assert_array_equal(
        QueryEmbedder(moved).embed(path), QueryEmbedder(table.provenance).embed(path)
    )


def test_fine_tuning_begins_with_the_weights_and_keeps_the_statistics(
    chirps: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexport(monkeypatch)
    own = ExtractorModule.load()
    train(
        chirps, tmp_path / "m", model=own.config.model, features=FeatureSpec(),
        segments=SegmentSpec(), init=DEFAULT_MODEL,
        spec=TrainSpec(epochs=1, batch_size=4, learning_rate=1e-12, weight_decay=0.0),
    )  # fmt: skip
    tuned = ExtractorModule.load(tmp_path / "m")
    assert tuned.config.init == fingerprint(DEFAULT_MODEL)
    assert tuned.embedding_size == own.embedding_size == 256
    assert tuned.config.labels == ("a", "b")
    np.testing.assert_array_equal(tuned.mean, own.mean)
    np.testing.assert_array_equal(tuned.std, own.std)
    # But for the running statistics of batch normalisation, nothing has moved.
    for name, values in own.network.embedding.named_parameters():
        found = tuned.network.embedding.get_parameter(name)
        np.testing.assert_allclose(found.detach(), values.detach(), atol=1e-9)


def test_fine_tuning_another_network_is_refused(chirps: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"another network: model\.dim is 1024 there"):
        train(
            chirps, tmp_path / "m", model=resolve("gap-lite"), features=FeatureSpec(),
            segments=SegmentSpec(), init=DEFAULT_MODEL, spec=TrainSpec(epochs=1),
        )  # fmt: skip
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "options", [("--model", "gap"), ("--dims", "64,128"), ("--bands", "32"), ("--segment", "0.5")]
)
def test_init_and_options_of_the_network_exclude_each_other(
    options: tuple[str, ...], collection: Path, tmp_path: Path
) -> None:
    done = run(
        *("train", collection / "audio" / "clips.csv", "--init", "default"),
        *("--out", tmp_path / "m", *options),
    )
    assert done.returncode == 2
    assert "--init: network, embedding sizes, front-end and segments are those of" in done.stderr


def test_the_command_fine_tunes_and_resumes(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexport(monkeypatch)
    command = (
        *("train", collection / "audio" / "clips.csv", "--init", "default", "--epochs", 1),
        *("--out", tmp_path / "m", "--json"),
    )
    first = json.loads(succeed(*command))
    assert json.loads(succeed(*command, "--resume")) == first
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "m", other)
    changed = run(*command[:-1], "--resume", "--init", other)
    assert changed.returncode == 2
    assert "cannot resume: other init there" in changed.stderr
