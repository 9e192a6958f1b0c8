"""Extractors of others, on both runtimes, against closed forms."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign import LABELS, NO_LOGITS, Array, graph, network, toy, toy_network, write_extractor
from onnx import helper
from torch._subclasses.fake_tensor import FakeTensorMode

from embedkit.errors import ModelFolderError
from embedkit.models.precision import full_float32
from embedkit.runtime.description import read_description
from embedkit.runtime.foreign import open_foreign
from embedkit.runtime.foreign_torch import ForeignModule

Hear = Callable[[Array], tuple[Array, Array | None]]
TEACHER = os.environ.get("EMBEDKIT_TEST_TEACHER", "")  # the extractor.toml of a real one


def on_onnx(path: Path) -> Hear:
    return open_foreign(path, threads=1).hear


def on_torch(path: Path) -> Hear:
    module = ForeignModule(read_description(path)).eval()

    def hear(waveforms: Array) -> tuple[Array, Array | None]:
        with torch.inference_mode(), full_float32():
            embedding, logits = module(torch.from_numpy(waveforms))
        return embedding.numpy(), None if logits is None else logits.numpy()

    return hear


@pytest.fixture(params=[on_onnx, on_torch])
def runtime(request: pytest.FixtureRequest) -> Callable[[Path], Hear]:
    start: Callable[[Path], Hear] = request.param
    return start


def sounds(batch: int = 3, samples: int = 800) -> Array:
    return np.random.default_rng(1).uniform(-0.5, 0.7, (batch, samples)).astype(np.float32)


def node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """The last name is that of the output."""
    return helper.make_node(kind, names[:-1], names[-1:], **attributes)


def normalised(waveforms: Array, how: str) -> Array:
    if how == "peak":
        return waveforms / np.abs(waveforms).max(1)[:, None]
    return waveforms / np.sqrt((waveforms**2).mean(1))[:, None] if how == "rms" else waveforms


@pytest.mark.parametrize("layout", ["batch samples", "batch 1 samples", "samples"])
@pytest.mark.parametrize(
    ("how", "scale"), [("none", 1.0), ("none", 3.0), ("peak", 1.0), ("peak", 3.0), ("rms", 2.0)]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_hears_as_described(
    runtime: Callable[[Path], Hear],
    tmp_path: Path,
    layout: str,
    how: str,
    scale: float,
    batch: int,
) -> None:
    changes = {"layout": layout, "normalise": how, "scale": scale}
    path = write_extractor(tmp_path, toy_network(layout), input=changes)
    for waveforms in (sounds(batch), sounds(batch, 300)):
        embedding, logits = runtime(path)(waveforms)
        expected, scores = toy(scale * normalised(waveforms, how))
        np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)
        assert logits is not None
        np.testing.assert_allclose(logits, scores, rtol=1e-5, atol=1e-5)
        assert embedding.dtype == logits.dtype == np.float32


def test_an_axis_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write_extractor(tmp_path, toy_network().replace(b"batch", b"\xe2atch"))
    with pytest.raises(ModelFolderError, match="cannot be read as one ONNX file"):
        open_foreign(path)


@pytest.mark.parametrize("how", ["peak", "rms"])
def test_silence_stays_silence(runtime: Callable[[Path], Hear], tmp_path: Path, how: str) -> None:
    path = write_extractor(tmp_path, input={"normalise": how})
    embedding, _ = runtime(path)(np.zeros((2, 800), np.float32))
    np.testing.assert_array_equal(embedding, 0)


@pytest.mark.parametrize(("pool", "summary"), [("mean", np.mean), ("max", np.max)])
@pytest.mark.parametrize("layout", ["batch samples", "samples"])
def test_pools_a_map(
    runtime: Callable[[Path], Hear], tmp_path: Path, layout: str, pool: str, summary: Any
) -> None:
    # The map: windows of four samples in two by two, [B, windows, 2, 2], or without the batch.
    shape = [-1, 2, 2] if layout == "samples" else [0, -1, 2, 2]
    content = network(
        [node("Reshape", "waveform", "shape", "embedding")],
        weights={"shape": np.array(shape)},
        shape=layout.split(),
    )
    axes = [0, 2] if layout == "samples" else [1, 3]
    path = write_extractor(
        tmp_path,
        content,
        input={"layout": layout},
        output={"pool": pool, "axis": axes, **NO_LOGITS},
    )
    waveforms = sounds()
    embedding, logits = runtime(path)(waveforms)
    assert logits is None
    np.testing.assert_allclose(
        embedding, summary(waveforms.reshape(3, 200, 2, 2), axis=(1, 3)), rtol=1e-4, atol=1e-6
    )


def test_leaves_logits_alone_where_only_the_embedding_is_a_map(
    runtime: Callable[[Path], Hear], tmp_path: Path
) -> None:
    nodes = [
        node("Reshape", "waveform", "shape", "embedding"),
        node("ReduceMax", "embedding", "logits", axes=[1], keepdims=0),
    ]
    content = network(nodes, ("embedding", "logits"), {"shape": np.array([0, -1, 2])})
    path = write_extractor(tmp_path, content, output={"pool": "mean", "axis": 1})
    waveforms = sounds()
    pairs = waveforms.reshape(3, -1, 2)
    embedding, logits = runtime(path)(waveforms)
    np.testing.assert_allclose(embedding, pairs.mean(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(logits, pairs.max(1))


def test_a_batch_of_one_that_the_network_squeezes_away(
    runtime: Callable[[Path], Hear], tmp_path: Path
) -> None:
    nodes = [
        node("ReduceMax", "waveform", "most", axes=[1]),
        node("Concat", "most", "most", "both", axis=1),
        node("Squeeze", "both", "embedding"),
    ]
    hear = runtime(write_extractor(tmp_path, network(nodes), output=NO_LOGITS))
    waveforms = sounds(2)
    together, _ = hear(waveforms)
    np.testing.assert_array_equal(together, np.repeat(waveforms.max(1)[:, None], 2, axis=1))
    np.testing.assert_array_equal(hear(waveforms[1:])[0], together[1:])


def test_says_its_size_and_labels(tmp_path: Path) -> None:
    foreign = open_foreign(write_extractor(tmp_path / "both").parent)
    assert (foreign.embedding_size, foreign.labels) == (3, LABELS)
    foreign = open_foreign(write_extractor(tmp_path / "one", output=NO_LOGITS))
    assert (foreign.embedding_size, foreign.labels) == (3, ())
    assert foreign.hear(sounds())[1] is None


IDENTITY = [node("Identity", "waveform", "embedding")]
BROKEN: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "not ONNX": (b"\x20\0\0\0TFL3 and more", {}, "toy.onnx: cannot be read as one ONNX file"),
    "another input": (toy_network(), {"input": {"name": "audio"}}, "'audio'.*inputs are: waveform"),
    "another output": (
        toy_network(),
        {"output": {"embedding": "embeding"}},
        "no output 'embeding'; did you mean embedding?",
    ),
    "fewer labels": (
        network([*IDENTITY, node("Identity", "waveform", "logits")], ("embedding", "logits")),
        {},
        "gives 800 logits for 2 labels",
    ),
    "a map": (
        network(
            [node("Unsqueeze", "waveform", "axis", "embedding")], weights={"axis": np.array([0])}
        ),
        {"output": NO_LOGITS},
        r"gives 'embedding' as \[1, \d, 800\].* expected",
    ),
    "no such axis": (
        network(
            [node("Unsqueeze", "waveform", "axis", "embedding")], weights={"axis": np.array([0])}
        ),
        {"output": {**NO_LOGITS, "pool": "max", "axis": 4}},
        "no such axis to pool over",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_says_what_does_not_fit(runtime: Callable[[Path], Hear], tmp_path: Path, what: str) -> None:
    content, changes, message = BROKEN[what]
    path = write_extractor(tmp_path, content, **changes)
    with pytest.raises(ModelFolderError, match=f"(?s)toy.onnx|extractor.toml.*{message}"):
        runtime(path)(sounds(2))
    with pytest.raises(ModelFolderError, match=f"(?s){message}"):
        runtime(path)(sounds(2))


def test_says_that_an_input_is_too_short(runtime: Callable[[Path], Hear], tmp_path: Path) -> None:
    nodes = [node("Pad", "waveform", "pads", "embedding", mode="reflect")]
    content = network(nodes, weights={"pads": np.array([0, 50, 0, 0])})
    hear = runtime(write_extractor(tmp_path, content, output=NO_LOGITS))
    with pytest.raises(ModelFolderError, match=r"(?s)toy.onnx: cannot hear an input of \[2, 50\]"):
        hear(sounds(2, 50))


def test_keeps_weights_in_other_files_away(
    runtime: Callable[[Path], Hear], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graph(
        [node("Add", "waveform", "weights", "embedding")],
        ("embedding",),
        {"weights": np.ones(800, np.float32)},
    )
    path = write_extractor(tmp_path, output=NO_LOGITS)
    onnx.save(
        model, tmp_path / "toy.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFolderError, match=r"toy.onnx: .*one ONNX file"):
        runtime(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("toy.tflite", "not a TensorFlow Lite file"), ("toy.pt", r"\(\.tflite\), found '.pt'")],
)
def test_reads_no_other_files(tmp_path: Path, name: str, message: str) -> None:
    path = write_extractor(tmp_path, network={"file": name})
    (tmp_path / name).write_bytes(toy_network())
    with pytest.raises(ModelFolderError, match=message):
        open_foreign(path)


def test_no_tensor_is_left_on_the_cpu_where_the_rest_is_on_a_card(tmp_path: Path) -> None:
    """On a card that torch imagines: it tells the devices of tensors without computing."""
    module = ForeignModule(read_description(write_extractor(tmp_path / "toy")))
    with FakeTensorMode(allow_non_fake_inputs=True) as imagined:
        for part in module.modules():
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, imagined.from_tensor(buffer).to("cuda"))
        embedding, logits = module(torch.zeros(2, 16000, device="cuda"))
    assert logits is not None
    assert {embedding.device.type, logits.device.type} == {"cuda"}


def test_takes_float32_alone(tmp_path: Path) -> None:
    model = graph([node("Cast", "waveform", "embedding", to=1)], ("embedding",))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT16
    path = write_extractor(tmp_path, model.SerializeToString(), output=NO_LOGITS)
    with pytest.raises(ModelFolderError, match=r"takes tensor\(int16\), expected"):
        open_foreign(path)


def test_takes_numbers_for_vectors_alone(tmp_path: Path) -> None:
    model = graph([node("Cast", "waveform", "embedding", to=7)], ("embedding",))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    path = write_extractor(tmp_path, model.SerializeToString(), output=NO_LOGITS)
    with pytest.raises(ModelFolderError, match=r"gives 'embedding' as tensor\(int64\), expected"):
        open_foreign(path)


def test_refuses_numbers_that_are_not_finite(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", "waveform", "most", axes=[1]),
        node("Log", "most", "embedding"),
    ]
    foreign = open_foreign(write_extractor(tmp_path, network(nodes), output=NO_LOGITS))
    waveforms = sounds(2)
    np.testing.assert_allclose(
        foreign.hear(waveforms)[0], np.log(waveforms.max(1))[:, None], rtol=1e-6
    )
    with pytest.raises(ModelFolderError, match="gives 'embedding' that is not finite"):
        foreign.hear(waveforms * np.array([[1], [0]], np.float32))


def test_refuses_vectors_of_another_size(tmp_path: Path) -> None:
    foreign = open_foreign(write_extractor(tmp_path, network(IDENTITY), output=NO_LOGITS))
    with pytest.raises(ModelFolderError, match=r"gives 700 numbers .*, and 800 for"):
        foreign.hear(sounds(2, 700))


@pytest.mark.skipif(not TEACHER, reason="EMBEDKIT_TEST_TEACHER names no extractor.toml")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 10.0])
def test_torch_hears_what_onnx_runtime_does(batch: int, seconds: float) -> None:
    path = Path(TEACHER)
    samples = round(seconds * read_description(path).sample_rate)
    waveforms = sounds(batch, samples) * np.hanning(samples).astype(np.float32)
    embedding, logits = on_torch(path)(waveforms)
    expected, scores = on_onnx(path)(waveforms)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)
    assert logits is not None
    assert scores is not None
    np.testing.assert_allclose(logits, scores, atol=1e-4)
