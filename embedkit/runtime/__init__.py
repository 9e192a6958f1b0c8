"""What executes an extractor: ONNX Runtime, or OpenVINO or torch where they are installed."""

from embedkit.runtime.embedder import Embedder, Runtime, is_cpu
from embedkit.runtime.program import Program, fingerprint, prepare

__all__ = ["Embedder", "Program", "Runtime", "fingerprint", "is_cpu", "prepare"]
