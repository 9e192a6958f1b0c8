"""embedkit's own models: what works with none named, what `fast` is, and what begins with one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from numpy.typing import NDArray
from unexported import unexport

from embedkit import Extractor
from embedkit.audio.decode import decode
from embedkit.checkpoint import fingerprint, load_config
from embedkit.classifiers.classifier import Classifier
from embedkit.config import (
    DEFAULT_MODEL,
    FAST_MODEL,
    OWN_MODELS,
    FeatureSpec,
    SegmentSpec,
    TrainSpec,
)
from embedkit.datasets import Manifest
from embedkit.demo.synth import write_collection
from embedkit.errors import ModelFolderError, UsageError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.names.bundled import NAMES, load_names, named_sizes
from embedkit.runtime import Runtime, prepare
from embedkit.runtime.installed import name_of
from embedkit.runtime.installed import resolve as find_own
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.training import train
from runtimes import need

SIZES = (64, 128, 256, 512, 1024)


def _sounds() -> dict[str, NDArray[np.float32]]:
    """Sounds that are what their names say, of five seconds."""
    rng, time = np.random.default_rng(0), np.arange(5 * 16000) / 16000
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))
    return {
        "Sine wave": (0.3 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32),
        "Pink noise": (0.1 * pink / pink.std()).astype(np.float32),
    }


SOUNDS = _sounds()


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


@pytest.mark.parametrize("name", OWN_MODELS)
def test_every_size_is_a_prefix_of_the_largest(name: str, make_sound: Any) -> None:
    sound = make_sound(2.0)
    whole = Extractor.load(name, dim=1024).embed(sound)
    assert Extractor.load(name).embedding_size == 256
    for size in SIZES:
        np.testing.assert_array_equal(Extractor.load(name, dim=size).embed(sound), whole[:, :size])


def test_fast_costs_half_and_gives_vectors_that_are_like_those_of_default() -> None:
    default, fast = Extractor.load(dim=1024), Extractor.load("fast", dim=1024)
    # Half the frames are half the features, and half the products of all layers but the last.
    assert fast.segments == default.segments
    specs = [load_config(folder).features for folder in (DEFAULT_MODEL, FAST_MODEL)]
    assert [spec.hop_s for spec in specs] == [0.01, 0.02]
    sounds = np.array([sound[:16000] for sound in SOUNDS.values()], np.float32)
    vectors = [extractor.embed_segments(sounds) for extractor in (default, fast)]
    ours, theirs = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors)
    # It learned default's function: of each sound the nearest is default's vector of the same.
    likeness = ours @ theirs.T
    np.testing.assert_array_equal(likeness.argmax(axis=1), np.arange(len(SOUNDS)))
    assert np.diag(likeness).min() > 0.8


@pytest.fixture(scope="module")
def fast(collection: Path) -> Path:
    """The same sounds by `fast`, 128 numbers each, for which it has no names of their own."""
    out = collection / "fast"
    succeed("extract", collection / "audio", "--model", "fast", "--dim", 128, "--out", out)
    return out


def test_vectors_of_fast_are_asked_with_its_name_and_without(fast: Path) -> None:
    table = EmbeddingTable.open(fast)
    assert table.provenance.fingerprint == fingerprint(FAST_MODEL) != fingerprint(DEFAULT_MODEL)
    clip = fast.parent / "audio" / str(table.rows().clips[0])
    for question in (("search", fast, clip), ("tag", fast, "--least", 0)):
        said = succeed(*question, "--json")
        assert succeed(*question, "--model", "fast", "--json") == said
        other = run(*question, "--model", "default", "--json")
        assert (other.returncode, "not the model that made these" in other.stderr) == (1, True)
    # What made them is found by its weights, wherever it was.
    moved = replace(table.provenance, model="/another/environment")
    np.testing.assert_array_equal(
        QueryEmbedder(moved).embed(clip), QueryEmbedder(table.provenance).embed(clip)
    )
    # A vector of 128 numbers has the names that its first 64 have.
    found = load_names(table).scores(table.rows().embeddings)
    of_64 = Classifier.load(FAST_MODEL / NAMES / "64")
    np.testing.assert_array_equal(found, of_64.scores(table.rows().embeddings[:, :64]))


@pytest.mark.parametrize("runtime", [Runtime.ONNX_INT8, Runtime.OPENVINO_INT8])
def test_a_network_in_8_bits_that_is_not_there_is_said_with_what_to_do(runtime: Runtime) -> None:
    need(runtime)
    with pytest.raises(ModelFolderError) as error:
        Extractor.load("fast", runtime=runtime)
    assert "has no network-int8.onnx, the network in 8 bits; --runtime onnx" in str(error.value)
    assert f"`embedkit export {FAST_MODEL} --int8 --calibration SOUNDS`" in str(error.value)


def test_a_name_is_a_path_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [find_own(Path(name)) for name in OWN_MODELS] == [DEFAULT_MODEL, FAST_MODEL]
    assert json.loads(succeed("info", "fast", "--json"))["fingerprint"] == fingerprint(FAST_MODEL)
    shutil.copytree(DEFAULT_MODEL, "fast", ignore=shutil.ignore_patterns("names"))
    assert find_own(Path("fast")) == Path("fast")
    assert json.loads(succeed("info", "fast", "--json"))["fingerprint"] == fingerprint(
        DEFAULT_MODEL
    )


def test_a_model_is_called_by_its_name_or_by_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    for path, name in (
        (DEFAULT_MODEL, "default"),
        (FAST_MODEL / ".." / "fast_model", "fast"),
        (tmp_path / "v1.2", "v1.2"),
        (tmp_path / "bird.net.toml", "bird.net"),
        (tmp_path / "v1.2" / "extractor.toml", "v1.2"),
    ):
        assert name_of(path) == name


@pytest.mark.parametrize(
    ("name", "runtime", "least"),
    [
        ("default", Runtime.ONNX, 0.99999),
        ("default", Runtime.ONNX_INT8, 0.99),
        ("default", Runtime.OPENVINO, 0.99999),
        ("default", Runtime.OPENVINO_BF16, 0.999),
        ("default", Runtime.OPENVINO_INT8, 0.99),
        ("fast", Runtime.ONNX, 0.99999),
        ("fast", Runtime.OPENVINO, 0.99999),
        ("fast", Runtime.OPENVINO_BF16, 0.999),
    ],
)
def test_the_runtimes_agree(name: str, runtime: Runtime, least: float, make_sound: Any) -> None:
    need(runtime)
    segments = np.stack([make_sound(1.0, seed=seed) for seed in range(16)])
    for size in SIZES:
        wanted = ExtractorModule.load(OWN_MODELS[name], dim=size).embed_segments(segments)
        found = prepare(OWN_MODELS[name], runtime=runtime, dim=size).start(1)
        vectors = found.embed_segments(segments)
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted, axis=1)
        cosine = (vectors * wanted).sum(axis=1) / norms
        assert vectors.shape == (16, size)
        assert cosine.mean() > least


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("default", Runtime.ONNX), ("default", Runtime.ONNX_INT8), ("fast", Runtime.ONNX)],
)
def test_sounds_that_are_what_their_names_say_are_named_so(name: str, runtime: Runtime) -> None:
    for size in named_sizes(OWN_MODELS[name]):
        names = Classifier.load(OWN_MODELS[name] / NAMES / str(size))
        assert (len(names.labels), names.size) == (527, size)
        extractor = Extractor.load(name, dim=size, runtime=runtime)
        vectors = [extractor.embed_clip(sound) for sound in SOUNDS.values()]
        found = names.scores(np.array(vectors)).argmax(axis=1)
        assert [names.labels[index] for index in found] == list(SOUNDS)


@pytest.mark.parametrize(("name", "most"), [("default", 15e6), ("fast", 11e6)])
def test_the_box_is_small_and_says_what_is_in_it(name: str, most: float) -> None:
    folder = OWN_MODELS[name]
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert max(sizes) < 8e6
    assert sum(sizes) < most
    card = (folder / "README.md").read_text()
    for word in ("CC BY-SA 4.0", "EfficientAT", "MIT", "Debian", "bad at"):
        assert word in card
    config = load_config(folder)
    assert config.model.dims == SIZES
    measured = json.loads((folder / "figures.json").read_text())
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


def test_fast_teaches_and_begins(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexport(monkeypatch)
    succeed(
        "distil", collection / "audio", "--teacher", "fast", "--init", "fast", "--heads", "none",
        "--mfcc-weight", 0, "--feature-hop", 0.02, "--n-fft", 512, "--segments", 4,
        "--batch-size", 2, "--validation-segments", 4, "--learning-rate", 1e-12,
        "--out", tmp_path / "m",
    )  # fmt: skip
    config = load_config(tmp_path / "m")
    assert config.init == fingerprint(FAST_MODEL)
    assert [teacher.fingerprint for teacher in config.teachers] == [fingerprint(FAST_MODEL)]
    begun, own = ExtractorModule.load(tmp_path / "m"), ExtractorModule.load(FAST_MODEL)
    for name, values in own.network.embedding.named_parameters():
        found = begun.network.embedding.get_parameter(name)
        np.testing.assert_allclose(found.detach(), values.detach(), atol=1e-9)
