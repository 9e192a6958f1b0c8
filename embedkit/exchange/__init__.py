"""Vectors that travel: from an embedding folder to other formats, from other tools into one."""

from embedkit.exchange.exports import EXPORTS, export
from embedkit.exchange.imports import FOREIGN, Foreign, import_vectors

__all__ = ["EXPORTS", "FOREIGN", "Foreign", "export", "import_vectors"]
