"""What executes an extractor, with torch in float32 as the oracle of the others."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command import run, succeed
from numpy.typing import NDArray

import embedkit
from embedkit.checkpoint import ModelConfig, save_calibration
from embedkit.config import (
    DEFAULT_MODEL,
    Activation,
    FeatureSpec,
    FrontEnd,
    ModelSpec,
    SegmentSpec,
    TrainSpec,
)
from embedkit.errors import EmbeddingFolderError, EmbedkitError, ModelFolderError, UsageError
from embedkit.export import export, files, write_network
from embedkit.extraction import Settings, extract
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.runtime import Runtime, prepare
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable, read_manifest
from runtimes import need

Vectors = NDArray[np.float32]
OPENVINO = [Runtime.OPENVINO, Runtime.OPENVINO_BF16, Runtime.OPENVINO_INT8]
Make = Callable[..., Vectors]

FEATURES = FeatureSpec(bands=32, n_fft=512, coefficients=24, min_hz=100)
SIZES = (64, 96, 128)
GAP_LITE = resolve("gap-lite", dims=SIZES, classes=2)


def save(
    folder: Path,
    features: FeatureSpec,
    segments: SegmentSpec,
    model: ModelSpec = GAP_LITE,
    *,
    network: bool = True,
) -> Path:
    """A network with random weights, and statistics of its layers as if it had been trained."""
    config = ModelConfig(
        model=model,
        features=features,
        segments=segments,
        training=TrainSpec(),
        activation=Activation.SOFTMAX,
        labels=("a", "b"),
    )
    torch.manual_seed(0)
    size = features.size
    extractor = ExtractorModule(config, torch.full((size,), -6.0), torch.full((size,), 3.0))
    length, _ = segments.samples(features.sample_rate)
    sounds = 0.1 * torch.randn(64, length) * torch.rand(64, 1)
    heard = extractor.front_end(sounds)
    extractor.train()
    with torch.no_grad():
        for _ in range(30):
            extractor.network.embedding(extractor.normalise(heard))
    extractor.eval().save(folder)
    if network:
        write_network(extractor, folder)
    save_calibration(folder, heard.numpy())
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model"), FEATURES, SegmentSpec())


@pytest.fixture(scope="module")
def quantised(model: Path) -> Path:
    assert export(model, int8=True).cosine > 0.99
    return model


@pytest.fixture(scope="module")
def file(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From waveform to embeddings, in float32."""
    return export(model, tmp_path_factory.mktemp("file") / "file.onnx").path


def embed(model: Path, runtime: Runtime, segments: Vectors, **more: int) -> Vectors:
    program = prepare(model, runtime=runtime, **more)
    return program.start(threads=2).embed_segments(segments)


def noise(*shape: int) -> Vectors:
    return (0.05 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def cosine(first: Vectors, second: Vectors) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).min())


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("runtime", [Runtime.ONNX, Runtime.OPENVINO])
def test_float32_gives_torchs_vectors(model: Path, runtime: Runtime, batch: int) -> None:
    need(runtime)
    segments = noise(batch, 16000)
    expected = ExtractorModule.load(model).embed_segments(segments)
    assert np.abs(expected).max() > 0.3  # else the tolerance would say nothing
    found = embed(model, runtime, segments)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("runtime", [Runtime.TORCH_BF16, Runtime.ONNX_INT8, *OPENVINO[1:]])
def test_short_numbers_give_nearly_the_same_vectors(quantised: Path, runtime: Runtime) -> None:
    need(runtime)
    segments = noise(8, 16000) * np.linspace(0.2, 2, 8, dtype=np.float32)[:, None]
    expected = ExtractorModule.load(quantised).embed_segments(segments)
    found = embed(quantised, runtime, segments)
    assert found.dtype == np.float32
    assert cosine(found, expected) > 0.99
    assert np.abs(found - expected).max() > 1e-4  # it did compute in short numbers


@pytest.mark.parametrize("runtime", list(Runtime))
def test_a_smaller_size_is_a_prefix(quantised: Path, runtime: Runtime) -> None:
    need(runtime)
    segments = noise(4, 16000)
    if runtime is Runtime.TORCH_FP16:
        pytest.skip("half precision of convolutions is for GPUs")
    whole = embed(quantised, runtime, segments)
    assert whole.shape == (4, 128)
    np.testing.assert_array_equal(embed(quantised, runtime, segments, dim=64), whole[:, :64])


@pytest.mark.parametrize("runtime", OPENVINO)
def test_a_vector_does_not_depend_on_its_batch(quantised: Path, runtime: Runtime) -> None:
    need(runtime)
    segments = noise(9, 16000)
    whole = embed(quantised, runtime, segments)
    embedder = prepare(quantised, runtime=runtime).start(threads=1)
    parts = [embedder.embed_segments(segments[:8]), embedder.embed_segments(segments[8:])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)


def test_what_executes_the_quantised_network_makes_one_vector(quantised: Path) -> None:
    need(Runtime.OPENVINO_INT8)
    segments = noise(8, 16000)
    found = embed(quantised, Runtime.OPENVINO_INT8, segments)
    assert cosine(found, embed(quantised, Runtime.ONNX_INT8, segments)) > 0.999


def test_openvino_is_asked_for_by_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="openvino does not compute on cuda"):
        prepare(model, runtime=Runtime.OPENVINO, device="cuda")
    monkeypatch.setattr("embedkit.runtime.program.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'embedkit\[openvino\]'"):
        prepare(model, runtime=Runtime.OPENVINO)


@pytest.mark.parametrize("kind", list(FrontEnd))
@pytest.mark.parametrize("rate", [16000, 22050])  # windows of an even and an odd length
def test_the_exported_file_does_what_embed_does(tmp_path: Path, kind: FrontEnd, rate: int) -> None:
    features = replace(FEATURES, kind=kind, sample_rate=rate, n_fft=2048)
    segments = SegmentSpec(duration_s=0.5, hop_s=0.2)
    mlp = resolve("mlp", classes=2)  # the quickest to export
    folder = save(tmp_path, features, segments, mlp, network=False)
    done = export(folder, tmp_path / "file.onnx")
    extractor = ExtractorModule.load(folder)
    session = onnxruntime.InferenceSession(done.path)
    for seconds in (0.01, 0.5, 0.5 + 1 / rate, 0.7, 3.21):
        waveform = noise(round(seconds * rate))
        [found] = session.run(["embeddings"], {"waveform": waveform})
        expected = extractor.embed(waveform)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_exported_file_says_what_it_is(model: Path, file: Path) -> None:
    onnx.checker.check_model(file, full_check=True)
    found = onnx.load(file)
    described = {entry.key: entry.value for entry in found.metadata_props}
    assert described == {
        "fingerprint": prepare(model).fingerprint,
        "macs": str(count_macs(GAP_LITE, (101, 32))),
        "model": "gap-lite",
        "precision": "float32",
        "sample_rate": "16000",
        "segment_s": "1.0",
        "hop_s": "1.0",
        "embedding_size": "128",
        "embedding_sizes": "64 96 128",
    }
    assert (found.producer_name, [i.name for i in found.graph.input]) == ("embedkit", ["waveform"])


def test_a_network_that_would_differ_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = files.network_graph

    def wrong(extractor: ExtractorModule) -> onnx.ModelProto:
        extractor.network.embedding.stem[0].weight.data[0] += 0.1
        return right(extractor)

    def exported_wrong(_: ExtractorModule) -> onnx.ModelProto:
        return wrong(ExtractorModule.load(model))

    monkeypatch.setattr(files, "network_graph", exported_wrong)
    with pytest.raises(EmbedkitError, match="would differ from torch's"):
        export(model, tmp_path / "file.onnx")
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_a_quantised_network_of_these_weights(
    model: Path, quantised: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(quantised, tmp_path / "copy")
    (copy / "network-int8.onnx").write_bytes((copy / "network-int8.onnx").read_bytes()[:9999])
    with pytest.raises(ModelFolderError, match="not a network of embedkit's"):
        prepare(copy, runtime=Runtime.ONNX_INT8)
    (copy / "network-int8.onnx").unlink()
    with pytest.raises(ModelFolderError, match=r"embedkit export .* --int8` makes it"):
        prepare(copy, runtime=Runtime.ONNX_INT8)
    (copy / "calibration.safetensors").unlink()
    with pytest.raises(ModelFolderError, match="a sample of its training segments"):
        export(copy, int8=True)
    features = replace(FEATURES, log_floor=1e-4)
    other = save(tmp_path / "other", features, SegmentSpec(), network=False)
    extractor = ExtractorModule.load(other)
    extractor.network.embedding.stem[0].weight.data *= 2
    extractor.save(other)
    shutil.copy(quantised / "network-int8.onnx", other)
    with pytest.raises(ModelFolderError, match="other weights"):
        prepare(other, runtime=Runtime.ONNX_INT8)


def test_any_folder_of_audio_can_be_quantised_for(
    model: Path, tmp_path: Path, make_sound: Make, write_audio: Callable[..., Path]
) -> None:
    for seed in range(3):
        write_audio(tmp_path / "audio" / f"{seed}.wav", make_sound(4, seed=seed))
    (tmp_path / "audio/text.mp3").write_text("no audio")
    done = export(model, tmp_path / "own.onnx", int8=True, calibration=tmp_path / "audio")
    assert done.cosine > 0.99
    weights = [
        onnx.numpy_helper.to_array(weight).astype(int)
        for weight in onnx.load(done.path).graph.initializer
        if weight.data_type == onnx.TensorProto.INT8 and len(weight.dims) == 4
    ]
    assert len(weights) == 13  # of 15 convolutions; the first two are of one map each
    # Of 7 bits, all of which are used: sums of products of 8 overflow on processors without VNNI.
    assert {np.abs(each).max() for each in weights} <= {63, 64}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no audio"):
        export(model, int8=True, calibration=tmp_path / "empty")


def test_the_runtime_is_recorded_gone_on_with_and_used_for_queries(
    quantised: Path, tmp_path: Path, make_sound: Make, write_audio: Callable[..., Path]
) -> None:
    audio, emb = tmp_path / "audio", tmp_path / "emb"
    path = write_audio(audio / "a.wav", make_sound(2))
    extract(audio, quantised, emb, Settings(runtime=Runtime.ONNX_INT8))
    write_audio(audio / "b.wav", make_sound(2, seed=1))
    extract(audio, quantised, emb)
    table = EmbeddingTable.open(emb)
    assert len(table) == 4
    assert read_manifest(emb).runtime == "onnx-int8"
    assert read_manifest(emb).fingerprint != prepare(quantised).fingerprint
    vectors = dict(zip(*table.clip_vectors(), strict=True))
    query = QueryEmbedder(table.provenance).embed(path)
    np.testing.assert_allclose(query, vectors["a.wav"], rtol=0, atol=1e-5)
    exact = ExtractorModule.load(quantised).embed(make_sound(2)).mean(axis=0)
    assert np.abs(query - exact).max() > 1e-4
    with pytest.raises(EmbeddingFolderError, match="was made with fingerprint"):
        extract(audio, quantised, emb, Settings(runtime=Runtime.TORCH))


@pytest.mark.parametrize(("runtime", "near"), [(OPENVINO[0], 1e-5), (OPENVINO[2], 0.02)])
def test_a_folder_of_openvinos_is_not_mixed_and_is_searched_without_it(
    quantised: Path,
    tmp_path: Path,
    make_sound: Make,
    write_audio: Callable[..., Path],
    runtime: Runtime,
    near: float,
) -> None:
    need(runtime)
    audio, emb = tmp_path / "audio", tmp_path / "emb"
    path = write_audio(audio / "a.wav", make_sound(2))
    extract(audio, quantised, emb, Settings(runtime=runtime))
    write_audio(audio / "b.wav", make_sound(2, seed=1))
    extract(audio, quantised, emb)
    table = EmbeddingTable.open(emb)
    assert (len(table), read_manifest(emb).runtime) == (4, str(runtime))
    code = f"""import sys
sys.modules["openvino"] = None
from pathlib import Path
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import read_manifest
print(QueryEmbedder(read_manifest(Path({str(emb)!r}))).embed(Path({str(path)!r})).tolist())"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    vectors = dict(zip(*table.clip_vectors(), strict=True))
    np.testing.assert_allclose(json.loads(done.stdout), vectors["a.wav"], rtol=0, atol=near)
    other = Runtime.ONNX_INT8 if runtime.is_quantised else Runtime.ONNX
    with pytest.raises(EmbeddingFolderError, match="runtime"):
        extract(audio, quantised, emb, Settings(runtime=other))


def test_the_command_exports_and_says_how_near_it_is(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.onnx"
    result = json.loads(succeed("export", model, "--to", "onnx", "--int8", "--out", file, "--json"))
    assert (result["file"], result["bytes"]) == (str(file), file.stat().st_size)
    assert result["cosine"] > 0.99
    check_names_no_path(file, tmp_path)
    assert run("export", tmp_path / "none").returncode == 1
    refused = run(
        "extract", tmp_path, "--model", model, "--out", tmp_path / "e", "--runtime", "gpu"
    )
    assert (refused.returncode, "there are: onnx, onnx-int8" in refused.stderr) == (2, True)


def test_a_folder_without_a_network_says_how_to_get_one(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "network.onnx").unlink()
    with pytest.raises(ModelFolderError, match=r"embedkit export .* makes it, once, where torch"):
        prepare(copy)
    assert export(copy).path == copy / "network.onnx"
    segments = noise(2, 16000)
    np.testing.assert_array_equal(
        embed(copy, Runtime.ONNX, segments), embed(model, Runtime.ONNX, segments)
    )


def test_a_graph_that_names_other_files_is_refused(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    graph = onnx.load(copy / "network.onnx")
    (copy / "secret").write_bytes(bytes(100_000))
    for array in graph.graph.initializer:
        onnx.external_data_helper.set_external_data(array, location="secret", length=100_000)
        array.ClearField("raw_data")
        array.data_location = onnx.TensorProto.EXTERNAL
    (copy / "network.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFolderError, match="not a network of embedkit's"):
        prepare(copy)


def test_what_onnx_runtime_cannot_say_of_a_damaged_network_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A name that is no text: its error is one of Python's, after which it would try again."""
    copy = Path(shutil.copytree(DEFAULT_MODEL, tmp_path / "copy"))
    path = copy / "network.onnx"
    path.write_bytes(path.read_bytes().replace(b"Conv", b"\xffonv"))
    with pytest.raises(ModelFolderError, match="not a network of embedkit's"):
        prepare(copy)
    assert capfd.readouterr() == ("", "")


def check_names_no_path(file: Path, written: Path) -> None:
    """Of this machine: not those of libraries, nor where it was written."""
    content = file.read_bytes()
    for place in (Path(embedkit.__file__).parent, written, Path(torch.__file__).parent):
        assert str(place).encode() not in content
    assert b"stack_trace" not in content


def test_an_exported_file_names_no_path_of_this_machine(model: Path, file: Path) -> None:
    check_names_no_path(file, file.parent)
    check_names_no_path(model / "network.onnx", model)
