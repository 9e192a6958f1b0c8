"""embedkit turns folders of sound into small vectors to search, classify and map."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.models.extractor import Extractor
    from embedkit.store import EmbeddingTable

__version__ = "0.1.0"
__all__ = ["EmbeddingTable", "Extractor", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import embedkit` and the numpy half load no torch.
    if name == "Extractor":
        from embedkit.models.extractor import Extractor

        return Extractor
    if name == "EmbeddingTable":
        from embedkit.store import EmbeddingTable

        return EmbeddingTable
    raise AttributeError(f"module 'embedkit' has no attribute {name!r}")
