"""Quantisation to int8: once, on segments of the training set, never on a user's input."""

import logging
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from embedkit.runtime.graph import FEATURES
from embedkit.scratch import into_scratch, scratch_folder

BATCH = 16
LARGE = 100_000  # numbers of an array that is worth storing in 16 bits


def quantise(network: onnx.ModelProto, features: NDArray[np.float32]) -> onnx.ModelProto:
    """Quantise a network to 8 bits: weights by channel, activations by their range.

    Static quantisation with QDQ nodes (Jacob et al., 2018). Weights take 7 of the 8 bits: where a
    processor has no VNNI, the sums of pairs of full-range products would saturate. What comes after
    averages over time stays as it is, its weights in 16 bits: little work, and deviations that 8
    bits do not hold.

    Args:
        network: of `network_graph`.
        features: [n, 1, frames, bands], of sounds like those it will hear.
    """
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # the quantiser speaks to the root logger
    try:
        with scratch_folder() as folder, into_scratch():
            plain, prepared, result = (folder / f"{step}.onnx" for step in range(3))
            onnx.save(network, plain)
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                result,
                _Batches(features),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=_after_averages(onnx.load(prepared)),
            )
            return _halve(onnx.load(result))
    finally:
        log.setLevel(level)


def _after_averages(network: onnx.ModelProto) -> list[str]:
    """Names of the nodes that average, and of all that follow them."""
    found: list[str] = []
    values: set[str] = set()
    for node in network.graph.node:  # in the order of their inputs
        if node.op_type == "ReduceMean" or values.intersection(node.input):
            found.append(node.name)
            values.update(node.output)
    return found


def _halve(network: onnx.ModelProto) -> onnx.ModelProto:
    """Store large arrays that are not quantised as float16; the runtime widens them as it loads."""
    for array in list(network.graph.initializer):
        values = onnx.numpy_helper.to_array(array)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        name = array.name
        array.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        widen = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        network.graph.node.insert(0, widen)
    return network


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, features: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(
            [features[start : start + BATCH] for start in range(0, len(features), BATCH)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {FEATURES: batch}
