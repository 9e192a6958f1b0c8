"""Turns a torch module into files for ONNX Runtime; needs torch and onnx."""

from embedkit.export.files import Exported, export, write_network

__all__ = ["Exported", "export", "write_network"]
