"""What executes an extractor: ONNX Runtime in float32 or int8, or torch."""

from embedkit.runtime.program import Embedder, Program, Runtime, fingerprint, prepare

__all__ = ["Embedder", "Program", "Runtime", "fingerprint", "prepare"]
