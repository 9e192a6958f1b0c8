"""embedkit turns folders of sound into small vectors to search, classify and map."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.extractor import Extractor
    from embedkit.store import EmbeddingTable

__version__ = "0.1.0"
__all__ = ["EmbeddingTable", "Extractor", "__version__"]

# Nothing leaves the machine. ONNX Runtime, from 1.29 on, would report its sessions to Microsoft and
# keep a number of the machine below the user's home, if this were not said before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Imported when asked for, so that `import embedkit` and the numpy half load no torch.
_HOMES = {"Extractor": "embedkit.extractor", "EmbeddingTable": "embedkit.store"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
