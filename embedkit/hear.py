"""The name under which HEAR's runner imports embedkit; see `embedkit.kits.hear`."""

from embedkit.kits.hear import get_scene_embeddings, get_timestamp_embeddings, load_model

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]
