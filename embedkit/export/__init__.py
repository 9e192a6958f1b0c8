"""From a torch module to what ONNX Runtime runs; needs torch and onnx."""

from embedkit.export.files import Exported, export, write_network

__all__ = ["Exported", "export", "write_network"]
