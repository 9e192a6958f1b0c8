"""Runs a network by OpenVINO, on the processor."""

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError, require
from embedkit.runtime.embedder import EMBEDDINGS, FEATURES, Network, Runtime


def openvino_network(graph: bytes, runtime: Runtime, threads: int) -> Network:
    """A network that OpenVINO runs.

    Args:
        graph: as in `OnnxNetwork`.
        runtime: one of OpenVINO's.
        threads: threads that it may use; 0: as many as it likes.

    Returns:
        the network.

    Raises:
        UsageError: it is not installed.
    """
    core = require("openvino", "openvino").Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch after the other
        "NUM_STREAMS": 1,
        # Each process would bind itself to the same first cores.
        "ENABLE_CPU_PINNING": False,
        # By itself it takes bfloat16 wherever the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if runtime is Runtime.OPENVINO_BF16 else "f32",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()

    def network(features: NDArray[np.float32]) -> NDArray[np.float32]:
        request.infer({FEATURES: np.ascontiguousarray(features)}, share_inputs=True)
        # The next batch is computed into the same memory.
        vectors: NDArray[np.float32] = request.get_tensor(EMBEDDINGS).data.copy()
        return vectors

    return network


def check_bfloat16() -> None:
    """Refuse a processor that has no products in bfloat16.

    Raises:
        UsageError: it has none, or OpenVINO is not installed.
    """
    core = require("openvino", "openvino").Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UsageError(
            f"runtime {Runtime.OPENVINO_BF16}: this processor does not compute in bfloat16; choose"
            f" {Runtime.OPENVINO} or {Runtime.OPENVINO_INT8}"
        )
