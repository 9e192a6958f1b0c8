"""The head of a network, cut out of its graph: against what the whole network says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign import (
    NO_LOGITS,
    TFLITE,
    WEIGHTS,
    network,
    toy,
    toy_network,
    write_extractor,
    write_tflite,
)
from onnx import helper
from scipy.special import expit, softmax

from embedkit.config import Activation
from embedkit.errors import ModelFolderError
from embedkit.runtime.description import read_description
from embedkit.runtime.foreign import open_foreign
from embedkit.runtime.head import Head
from embedkit.runtime.onnx_cut import cut
from embedkit.runtime.tflite_graph import TfliteGraph

VECTORS = np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32)


def node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """The last name is that of the output."""
    return helper.make_node(kind, names[:-1], names[-1:], **attributes)


def needs_litert(write: Callable[[Path], Path]) -> Any:
    def written(folder: Path) -> Path:
        pytest.importorskip("ai_edge_litert", reason="embedkit[tflite] is not installed")
        return write(folder)

    return written


@pytest.mark.parametrize("write", [write_extractor, needs_litert(write_tflite)])
def test_names_follow_from_vectors(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    description = read_description(write(tmp_path))
    head = Head(description)
    assert (head.labels, head.size) == (description.labels, 3)
    np.testing.assert_allclose(head.scores(VECTORS), expit(VECTORS @ WEIGHTS), atol=1e-6)
    one = dataclasses.replace(description, activation=Activation.SOFTMAX)
    expected = softmax(VECTORS @ WEIGHTS, axis=1)
    np.testing.assert_allclose(Head(one).scores(VECTORS), expected, atol=1e-6)


def test_tflite_hears_what_the_closed_form_says(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="embedkit[tflite] is not installed")
    waveforms = np.random.default_rng(1).uniform(-0.5, 0.7, (3, 800)).astype(np.float32)
    foreign = open_foreign(write_tflite(tmp_path), threads=1)
    for heard in (waveforms, waveforms[:1], waveforms[:, :400].copy()):
        embedding, logits = foreign.hear(heard)
        expected, scores = toy(heard)
        np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(logits, scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("waveform", "there is not one tensor 'embed'"), ("audio", "'audio'; its inputs are: wave")],
)
def test_tflite_says_what_does_not_fit(tmp_path: Path, name: str, message: str) -> None:
    path = write_tflite(tmp_path)
    text = path.read_text().replace('"features/embedding"', '"embed"')
    path.write_text(text.replace('"waveform"', f'"{name}"'))
    with pytest.raises(ModelFolderError, match=message):
        open_foreign(path)


def test_a_cut_graph_has_what_it_needs_and_no_more() -> None:
    """The vector is a squeezed map, and the head goes on from the map, as in many networks."""
    far = np.ones((800, 3, 1, 1), np.float32)
    nodes = [
        node("Reshape", "waveform", "shape", "long"),
        node("Conv", "long", "far", "map"),
        node("Squeeze", "map", "axes", "embedding"),
        node("Flatten", "map", "flat"),
        node("MatMul", "flat", "weights", "logits"),
    ]
    weights = {
        "shape": np.array([0, -1, 1, 1]),
        "far": far.transpose(1, 0, 2, 3),
        "axes": np.array([2, 3]),
        "weights": WEIGHTS,
    }
    content = network(nodes, ("embedding", "logits"), weights)
    found, start = cut(content, "embedding", "logits")
    model = onnx.load_from_string(found)
    assert start == "map"
    assert [each.op_type for each in model.graph.node] == ["Flatten", "MatMul"]
    assert [each.name for each in model.graph.initializer] == ["weights"]
    assert [each.name for each in model.graph.input] == ["map"]
    assert [each.name for each in model.graph.output] == ["logits"]
    assert model.opset_import == onnx.load_from_string(content).opset_import


def test_the_head_of_a_map_takes_vectors(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "waveform", "mean", axes=[1], keepdims=1),
        node("Concat", "mean", "mean", "mean", "three", axis=1),
        node("Unsqueeze", "three", "axes", "wide"),
        node("GlobalAveragePool", "wide", "map"),
        node("Squeeze", "map", "axes", "embedding"),
        node("Flatten", "map", "flat"),
        node("MatMul", "flat", "weights", "logits"),
    ]
    weights = {"axes": np.array([2, 3]), "weights": WEIGHTS}
    content = network(nodes, ("embedding", "logits"), weights)
    head = Head(read_description(write_extractor(tmp_path, content)))
    np.testing.assert_allclose(head.scores(VECTORS), expit(VECTORS @ WEIGHTS), atol=1e-6)


def test_refuses_logits_that_are_made_of_more(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", "waveform", "embedding", axes=[1]),
        node("ReduceMin", "waveform", "least", axes=[1]),
        node("Concat", "embedding", "least", "logits", axis=1),
    ]
    path = write_extractor(tmp_path, network(nodes, ("embedding", "logits")))
    with pytest.raises(ModelFolderError, match="makes 'logits' of more than 'embedding'"):
        Head(read_description(path))
    path = write_extractor(tmp_path, output={"pool": "mean", "axis": 1})
    with pytest.raises(ModelFolderError, match="names do not follow from its vectors"):
        Head(read_description(path))
    path = write_extractor(tmp_path, output=NO_LOGITS)
    with pytest.raises(ModelFolderError, match="describes no logits"):
        Head(read_description(path))


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_file_is_refused(seed: int) -> None:
    """Whatever a file holds, it is read or refused with a word."""
    rng = np.random.default_rng(seed)
    good = TFLITE.read_bytes()
    for _ in range(40):
        content = bytearray(good)
        for place in rng.integers(0, 200, 3):
            content[place] = rng.integers(256)
        try:
            TfliteGraph(bytes(content[: rng.integers(8, len(good))]))
        except ValueError:
            continue
    with pytest.raises(ValueError, match="not a TensorFlow Lite file"):
        TfliteGraph(b"\x08\x08onnx and more")
    with pytest.raises(ValueError, match="a message ends before its end"):
        cut(toy_network()[:-1], "embedding", "logits")
