"""The graph of somebody else's ONNX file as a torch module, for GPUs.

There are libraries for it: onnx2torch, without a release since August 2024, and onnx2pytorch. Both
need torchvision, which needs one version of torch, and index by what torch has deprecated. Here
shapes are never kept where the network computes, as each of them would wait for a GPU.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import external_data_helper, numpy_helper
from torch import Tensor, nn

from embedkit.errors import ModelFolderError, choices
from embedkit.models.onnx_operators import OPERATORS, unserved

OPSETS = range(13, 24)
# Attributes of a node that is a constant.
CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "value": numpy_helper.to_array,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A node of the graph.

    Attributes:
        kind: name of its operator.
        inputs: names of values; empty where an optional one is left out.
        attributes: attributes of the operator.
        output: name of the value that it computes.
        done: names of values that no later step needs.
    """

    kind: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    output: str
    done: tuple[str, ...]


class OnnxGraph(nn.Module):
    """Turns one tensor into some outputs of an ONNX file's graph."""

    def __init__(self, content: bytes, *, file: Path, heard: str, outputs: Sequence[str]) -> None:
        """Read a graph.

        Args:
            content: content of the ONNX file.
            file: its path, for messages; nothing is read from there.
            heard: name of its only input.
            outputs: names of the wanted outputs.

        Raises:
            ModelFolderError: it cannot be read, has another input or not these outputs, or needs
                operators that are not supported here; the message names them all.
        """
        super().__init__()
        self._file, self._heard, self._outputs = file, heard, tuple(outputs)
        model = _read(content, file)
        graph = model.graph
        _check_ends(graph, file, heard, outputs)
        if odd := _unserved(model):
            raise ModelFolderError(
                f"{file}: cannot be computed with torch, which lacks: {', '.join(odd)}. ONNX"
                " Runtime may, on a CPU"
            )
        self._on_cpu: dict[str, Tensor] = {}  # shapes, axes, indices and scalars
        self._buffers_of: dict[str, str] = {}  # names in a graph may be anything
        for name, values in _constants(graph).items():
            tensor = torch.tensor(values)
            if tensor.is_floating_point() and tensor.ndim:
                self._buffers_of[name] = f"weights_{len(self._buffers_of)}"
                self.register_buffer(self._buffers_of[name], tensor)
            else:
                self._on_cpu[name] = tensor
        self._steps, needed = _steps(graph, outputs)
        if absent := needed - {heard, *self._on_cpu, *self._buffers_of}:
            raise ModelFolderError(
                f"{file}: is damaged: nothing computes {', '.join(sorted(absent))}"
            )

    def forward(self, heard: Tensor) -> list[Tensor]:
        """The outputs that were asked for, in their order.

        Raises:
            ModelFolderError: an operator cannot take its input.
        """
        values = {self._heard: heard, **self._on_cpu}
        for name, buffer in self._buffers_of.items():
            values[name] = self.get_buffer(buffer)
        for step in self._steps:
            inputs = [values[name] if name else None for name in step.inputs]
            try:
                values[step.output] = OPERATORS[step.kind](*inputs, **step.attributes)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the graph came from anyone
                raise ModelFolderError(
                    f"{self._file}: cannot hear an input of {list(heard.shape)}: {step.kind}"
                    f" {step.output!r}: {error}"
                ) from error
            for name in step.done:
                del values[name]
        return [values[name] for name in self._outputs]


def _read(content: bytes, file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(content)
        if any(map(external_data_helper.uses_external_data, _tensors(model.graph))):
            raise ModelFolderError(f"{file}: has weights in other files, expected one ONNX file")
    except ModelFolderError:
        raise
    except Exception as error:  # protobuf's and onnx's errors have no common class but this
        raise ModelFolderError(f"{file}: cannot be read as one ONNX file: {error}") from error
    return model


def _check_ends(graph: onnx.GraphProto, file: Path, heard: str, outputs: Iterable[str]) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    if inputs != [heard]:
        raise ModelFolderError(
            f"{file}: expected one input, {heard!r}; its inputs are: {', '.join(inputs)}"
        )
    there = [value.name for value in graph.output]
    for name in outputs:
        if name not in there:
            raise ModelFolderError(f"{file}: no output {name!r}{choices(name, there)}")


def _unserved(model: onnx.ModelProto) -> list[str]:
    """What is not supported here, each once, in words."""
    odd = [
        f"version {opset.version} of ONNX's operators ({OPSETS[0]} to {OPSETS[-1]} are)"
        for opset in model.opset_import
        if not opset.domain and opset.version not in OPSETS
    ]
    for node in model.graph.node:
        if node.domain not in {"", "ai.onnx"}:
            odd.append(f"{node.domain}.{node.op_type}")
        elif node.op_type == "Constant":
            odd += [f"Constant with {name}" for name in _attributes(node) if name not in CONSTANTS]
        else:
            odd += unserved(node.op_type, _attributes(node))
            if any(node.output[1:]):
                odd.append(f"{node.op_type} with several outputs")
    odd += [f"sparse weights {tensor.values.name}" for tensor in model.graph.sparse_initializer]
    return list(dict.fromkeys(odd))


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for name, value in _attributes(node).items():
                found[node.output[0]] = CONSTANTS[name](value)
    return found


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    return [*graph.initializer, *(attribute.t for attribute in attributes)]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def _steps(graph: onnx.GraphProto, outputs: Iterable[str]) -> tuple[list[Step], set[str]]:
    """The nodes that these outputs need, in their order, and the values that those need."""
    steps = []
    needed = set(outputs)
    for node in reversed(graph.node):
        if node.op_type == "Constant" or node.output[0] not in needed:
            continue
        inputs = {name for name in node.input if name}
        done = tuple(inputs - needed)
        needed = needed - {node.output[0]} | inputs
        steps.append(
            Step(
                kind=node.op_type,
                inputs=tuple(node.input),
                attributes=_attributes(node),
                output=node.output[0],
                done=done,
            )
        )
    return steps[::-1], needed
