"""Runs an extractor by ONNX Runtime, or by OpenVINO or torch where they are installed."""

from embedkit.runtime.embedder import Embedder, Runtime, is_cpu
from embedkit.runtime.program import fingerprint, prepare
from embedkit.runtime.ready import Program

__all__ = ["Embedder", "Program", "Runtime", "fingerprint", "is_cpu", "prepare"]
