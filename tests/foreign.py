"""Extractors that tests make up, as others would bring them: an ONNX file and an extractor.toml."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[np.float32]

TFLITE = Path(__file__).parent / "fixtures" / "toy.tflite"  # made by make_tflite.py beside it
RATE, WINDOW_S = 8000, 0.1
LABELS = ("low, and soft", "high")
WEIGHTS = np.array([[1, -1], [2, 0.5], [-3, 4]], np.float32)
TABLE = 'index,display_name\n0,"low, and soft"\n1,high\n'
EXTRACTOR: dict[str, dict[str, Any]] = {
    "": {"name": "toy"},
    "network": {"file": "toy.onnx"},
    "input": {
        "name": "waveform",
        "sample_rate": RATE,
        "window_s": WINDOW_S,
        "layout": "batch samples",
    },
    "output": {
        "embedding": "embedding",
        "logits": "logits",
        "labels": "labels.csv",
        "label_column": "display_name",
    },
}


def toy(waveforms: Array) -> tuple[Array, Array]:
    """What the toy's network computes, [B, 3] and [B, 2]: mean, maximum and mean square of each."""
    columns = [waveforms.mean(1), waveforms.max(1), np.square(waveforms).mean(1)]
    embedding = np.stack(columns, axis=1)
    return embedding, embedding @ WEIGHTS


def toy_network(layout: str = "batch samples") -> bytes:
    """`toy` as an ONNX file, for inputs of a layout."""
    axes = layout.split()
    along = {"axes": [len(axes) - 1], "keepdims": int(len(axes) < 3)}
    nodes = [
        helper.make_node("ReduceMean", ["waveform"], ["mean"], **along),
        helper.make_node("ReduceMax", ["waveform"], ["most"], **along),
        helper.make_node("Mul", ["waveform", "waveform"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["power"], **along),
        helper.make_node("Concat", ["mean", "most", "power"], ["embedding"], axis=-1),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
    ]
    shape = [1 if axis == "1" else axis for axis in axes]
    return network(nodes, ("embedding", "logits"), {"weights": WEIGHTS}, shape=shape)


def network(
    nodes: Sequence[NodeProto],
    outputs: Sequence[str] = ("embedding",),
    weights: Mapping[str, NDArray[Any]] | None = None,
    **settings: Any,
) -> bytes:
    """The content of an ONNX file of these nodes; see `graph`."""
    return graph(nodes, outputs, weights, **settings).SerializeToString()


def graph(
    nodes: Sequence[NodeProto],
    outputs: Sequence[str],
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    shape: Sequence[int | str] = ("batch", "samples"),
    heard: str = "waveform",
    opset: int = 17,
) -> ModelProto:
    """Nodes from one float32 input to outputs of whatever shapes."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "made",
            [helper.make_tensor_value_info(heard, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(values, name) for name, values in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def write_extractor(
    folder: Path,
    content: bytes | None = None,
    **changes: Mapping[str, Any],
) -> Path:
    """An extractor.toml with its files beside it, by default of the toy.

    `about`, `network`, `input` and `output` change keys of the file; None takes one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {table: dict(values) for table, values in EXTRACTOR.items()}
    for table, values in changes.items():
        tables["" if table == "about" else table] |= values
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]"] * bool(table)
        lines += [f"{key} = {json.dumps(it)}" for key, it in values.items() if it is not None]
    (folder / "toy.onnx").write_bytes(toy_network() if content is None else content)
    (folder / "labels.csv").write_text(TABLE)
    path = folder / "extractor.toml"
    path.write_text("\n".join(lines))
    return path


def write_tflite(folder: Path) -> Path:
    """The toy again, as a TensorFlow Lite file whose own output is neither of the two."""
    path = write_extractor(
        folder,
        network={"file": "toy.tflite"},
        output={"embedding": "features/embedding"},
    )
    (folder / "toy.onnx").unlink()
    shutil.copy(TFLITE, folder)
    return path


NO_LOGITS = {"logits": None, "labels": None, "label_column": None}
