"""What the explorer holds of a folder: numbers of clips, of segments and of vectors agree."""

from pathlib import Path

import numpy as np
import pytest
from made import write_table_of

from embedkit.errors import EmbeddingFolderError
from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection

SOUNDS = {name: np.eye(4, dtype=np.float32)[:2] + number for number, name in enumerate("abc")}


def without_first_segments(table: EmbeddingTable, *clips: str) -> EmbeddingTable:
    """The table as it is where the beginnings of some clips could not be decoded."""
    whole = table.rows

    def rows(*_: object) -> object:
        found = whole()
        kept = ~(np.isin(found.clips, clips) & (found.segments == 0))
        return type(found)(*(getattr(found, name)[kept] for name in vars(found)))

    table.rows = rows  # type: ignore[method-assign, assignment]
    return table


def test_a_clip_without_a_segment_takes_no_other_ones_vector(tmp_path: Path) -> None:
    table = write_table_of(tmp_path / "emb", SOUNDS, root=tmp_path, last_s=0.2)
    collection = Collection(without_first_segments(table, "a"))
    assert collection.clips == ["b", "c"]
    names, vectors = table.clip_vectors()
    for name, vector in zip(collection.clips, collection.clip_vectors, strict=True):
        np.testing.assert_array_equal(vector, vectors[names.index(name)])
    with pytest.raises(EmbeddingFolderError, match="no vectors to explore"):
        Collection(without_first_segments(table, *SOUNDS))
