"""What this machine can execute."""

import pytest

from embedkit.runtime import Runtime


def need(runtime: Runtime) -> None:
    """Skip a test of a runtime that is not here, or that executes no model folder."""
    if runtime in {Runtime.TFLITE, Runtime.FUNCTION}:
        pytest.skip("for extractors of others")
    if runtime.needs_openvino:
        openvino = pytest.importorskip("openvino", reason="needs embedkit[openvino]")
        able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if runtime is Runtime.OPENVINO_BF16 and "BF16" not in able:
            pytest.skip("this processor does not compute in bfloat16")
