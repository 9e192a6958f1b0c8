"""Exchanges vectors with other tools: exports an embedding folder, imports others' vectors."""

from embedkit.exchange.exports import EXPORTS, export
from embedkit.exchange.imports import FOREIGN, Foreign, import_vectors

__all__ = ["EXPORTS", "FOREIGN", "Foreign", "export", "import_vectors"]
