"""embedkit turns folders of sound into small vectors to search, classify and map.

>>> import embedkit
>>> vectors = embedkit.embed("rooster.wav")  # float32 [segments, 256]
>>> run = embedkit.extract("sounds", "embeddings")  # a folder, as the command does it
>>> table = embedkit.open("embeddings")
>>> hits = table.search("rooster.wav", top=10)
>>> classifier = embedkit.classify(table, labels="labels.csv")
>>> spans = classifier.predict(table)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.extractor import Extractor
    from embedkit.library import Embeddings, classify, embed, extract, open  # noqa: A004
    from embedkit.store import EmbeddingTable

__version__ = "0.2.0"
__all__ = [
    "EmbeddingTable",
    "Embeddings",
    "Extractor",
    "__version__",
    "classify",
    "embed",
    "extract",
    "open",
]

# Nothing leaves the machine. ONNX Runtime, from 1.29 on, would report its sessions to Microsoft and
# keep a number of the machine below the user's home, if this were not said before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Imported when asked for, so that `import embedkit` is quick.
_HOMES = {
    "Embeddings": "embedkit.library",
    "EmbeddingTable": "embedkit.store",
    "Extractor": "embedkit.extractor",
    "classify": "embedkit.library",
    "embed": "embedkit.library",
    "extract": "embedkit.library",
    "open": "embedkit.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
