"""Quantises to int8: once, on segments of the training set, never on a user's input."""

import io
import logging
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import takewhile

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from embedkit.export.graph import halve
from embedkit.runtime.embedder import FEATURES
from embedkit.scratch import into_scratch, scratch_folder

BATCH = 16
PERCENTILE = 99.99


def quantise(network: onnx.ModelProto, features: NDArray[np.float32]) -> onnx.ModelProto:
    """Quantise a network to 8 bits: weights by channel, activations by their range.

    It is static quantisation with QDQ nodes (Jacob et al., 2018). Weights take 7 of the 8 bits:
    where a processor has no VNNI, the sums of pairs of full-range products would saturate. Ranges
    leave out the rarest ten-thousandth of the activations. Two parts stay in float32, since they
    are little work and most of the error: the first convolutions, of one map each, and what follows
    averages over time, with its weights in 16 bits.

    Args:
        network: what `network_graph` made.
        features: [n, 1, frames, bands], of sounds like those that it will hear.

    Returns:
        the quantised network.
    """
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # the quantiser speaks to the root logger
    try:
        # It prints.
        with scratch_folder() as folder, into_scratch(), redirect_stdout(io.StringIO()):
            plain, prepared, result = (folder / f"{step}.onnx" for step in range(3))
            onnx.save(network, plain)
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            ready = onnx.load(prepared)
            quantize_static(
                prepared,
                result,
                _Batches(features),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=_first(ready) + _after_averages(ready),
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": PERCENTILE},
            )
            return halve(onnx.load(result))
    finally:
        log.setLevel(level)


def _first(network: onnx.ModelProto) -> list[str]:
    """Names of the convolutions before the first one that mixes maps."""
    inputs = {array.name: array.dims[1] for array in network.graph.initializer if array.dims[1:]}
    convolutions = (node for node in network.graph.node if node.op_type == "Conv")
    return [node.name for node in takewhile(lambda node: inputs[node.input[1]] == 1, convolutions)]


def _after_averages(network: onnx.ModelProto) -> list[str]:
    """Names of the nodes that average, and of all that follow them."""
    found: list[str] = []
    values: set[str] = set()
    for node in network.graph.node:  # in the order of their inputs
        if node.op_type == "ReduceMean" or values.intersection(node.input):
            found.append(node.name)
            values.update(node.output)
    return found


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, features: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(
            [features[start : start + BATCH] for start in range(0, len(features), BATCH)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {FEATURES: batch}
