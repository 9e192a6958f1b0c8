"""What executes an extractor: ONNX Runtime in float32 or int8, or torch where it is installed."""

from embedkit.runtime.embedder import Embedder, Runtime, is_cpu
from embedkit.runtime.program import Program, fingerprint, prepare

__all__ = ["Embedder", "Program", "Runtime", "fingerprint", "is_cpu", "prepare"]
