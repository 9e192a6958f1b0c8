"""What the explorer shows of an embedding folder, in memory: rows by number, clips by number."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.field.recordings import Recordings, cover
from embedkit.numbering import numbered
from embedkit.search.exact import ExactSearch
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable, clip_path

SIZES = (64, 128, 256, 512, 1024)
MOST_NAMED = 1000  # files that failed


class Collection:
    """Segments, but for slivers, and clips. The page names both by their numbers alone.

    Attributes:
        table: the folder.
        recordings: when and where they were made, as far as that is known.
        audio: where its sounds are.
        clips: names, sorted.
        clip: of each segment, int32 [n].
        start_s, end_s: of each segment, float64 [n].
        seconds: that each clip lasts, as far as its segments reach, float64 [clips].
        first: number of each clip's first segment, and at the end of all: int64 [clips + 1].
        search: among the segments.
        clip_vectors: float32 [clips, D].
    """

    def __init__(self, table: EmbeddingTable, audio: Path | None = None) -> None:
        """Read the folder.

        Args:
            table: the embedding folder.
            audio: where the sounds are, if they have moved.

        Raises:
            EmbeddingFolderError: it has no vectors.
            UsageError: the sounds are not where they were embedded.
        """
        rows = table.rows()
        kept = searched(rows, table)
        if not kept.any():
            raise EmbeddingFolderError(f"{table.folder}: it has no vectors to explore")
        self.table, self.recordings = table, Recordings(table)
        self.track = table.provenance.track
        self.audio = (audio or Path(table.provenance.audio_root)).absolute()
        if not self.audio.exists():
            raise UsageError(
                f"{self.audio}: no such folder; say where the sounds are with --audio-root"
            )
        names, owner = numbered(rows.clips[kept])
        self.clips: list[str] = names.tolist()
        self.clip = owner.astype(np.int32)
        self.start_s, self.end_s = rows.start_s[kept], rows.end_s[kept]
        # A copy may be half of the memory.
        self.search = ExactSearch(rows.embeddings if kept.all() else rows.embeddings[kept])
        self.first = np.searchsorted(self.clip, np.arange(len(self.clips) + 1))
        self.seconds = np.maximum.reduceat(self.end_s, self.first[:-1])
        # Of a clip whose only rows are slivers there is no segment, and no number either.
        self.clip_vectors = table.clip_vectors(set(self.clips))[1]

    @property
    def sizes(self) -> list[int]:
        """Of vectors: what the slider offers."""
        whole = self.table.embedding_size
        return [size for size in SIZES if size < whole] + [whole]

    def path(self, clip: int) -> Path:
        """The file of a clip, below the folder of audio.

        Raises:
            EmbeddingFolderError: its name leads elsewhere.
        """
        path = clip_path(self.audio, self.clips[clip])
        return path if self.audio.is_dir() else self.audio

    def rows_of(self, clip: int) -> NDArray[np.int64]:
        """The segments of a clip, by number."""
        return np.arange(self.first[clip], self.first[clip + 1])

    def facts(self) -> dict[str, Any]:
        """Counts, hours, errors by kind, and where the vectors come from."""
        journal = self.table.journal_table()
        failed = journal.filter(pc.not_equal(journal["kind"], ""))
        provenance = self.table.provenance
        return {
            "folder": self.table.folder.absolute().name,
            "files": len(journal),
            "clips": len(self.clips),
            "segments": len(self.clip),
            "hours": (pc.sum(journal["duration_s"]).as_py() or 0.0) / 3600,
            "errors": dict(Counter(failed["kind"].to_pylist())),
            "failed": failed.select(["clip", "kind", "message"]).slice(0, MOST_NAMED).to_pylist(),
            "sizes": self.sizes,
            "model": provenance.model_name,
            "fingerprint": provenance.fingerprint,
            "segment_s": provenance.segment_s,
            "hop_s": provenance.hop_s,
            "runtime": provenance.runtime,
            "hearing": {"speed": provenance.speed, "band": provenance.band},
            "recorded": self._recorded(),
        }

    def _recorded(self) -> dict[str, Any] | None:
        """When, by the clocks of the sites, and where; None if nothing of it is known."""
        if not self.recordings.are_known:
            return None
        known = cover(self.recordings)
        first, last = (start and start.isoformat() for start in (known.first, known.last))
        return {"sites": list(known.sites), "first": first, "last": last}
