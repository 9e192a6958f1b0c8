"""Labels for the clips of an embedding folder, from a manifest or from its folders."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets import Clip, read_dataset
from embedkit.datasets.manifest import Manifest, targets
from embedkit.errors import DatasetError
from embedkit.store import EmbeddingTable

log = logging.getLogger(__name__)

FOLDERS = "folders"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Clip vectors with what is known of them; all of one length n.

    Attributes:
        clips: names within the embedding folder.
        vectors: float32 [n, D].
        targets: float32 [n, classes], 1 where a clip has the label.
        labels: names of the classes, sorted.
        several_labels: whether a clip may have more than one.
        folds: of each clip, or None where there is no fold column.
        splits: of each clip, or None where there is no split column.
        groups: of each clip; a clip without a group is one of its own.
    """

    clips: list[str]
    vectors: NDArray[np.float32]
    targets: NDArray[np.float32]
    labels: tuple[str, ...]
    several_labels: bool
    folds: list[str] | None
    splits: list[str] | None
    groups: list[str]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Index of each clip's label [n], where there is one a clip."""
        classes: NDArray[np.int64] = self.targets.argmax(axis=1)
        return classes


def join_labels(table: EmbeddingTable, source: str) -> Labelled:
    """Join the clips of an embedding folder to their labels.

    Args:
        table: its clip vectors are read.
        source: a CSV or Parquet manifest with path and label (or labels), or the word `folders`:
            the first folder of a clip's path is its label. A manifest's paths are taken relative
            to the folder it stands in; where the audio has moved, they are compared as text.

    Raises:
        DatasetError: the source cannot be read, or no clip has a label.
    """
    names, vectors = table.clip_vectors()
    if source == FOLDERS:
        manifest = Manifest(_folder_clips(names), several_labels=False)
        root = Path(table.provenance.audio_root)
        known = {clip.path.as_posix(): clip for clip in manifest.clips}
    else:
        manifest = read_dataset(Path(source))
        root = Path(source).parent
        known = _join_by_path(names, manifest, root, Path(table.provenance.audio_root))
    kept = [index for index, name in enumerate(names) if name in known]
    if not kept and source == FOLDERS:
        raise DatasetError(
            f"no clip stands in a folder that could be its label; clips: {', '.join(names[:3])}"
        )
    if not kept:
        paths = ", ".join(os.path.relpath(clip.path, root) for clip in manifest.clips[:3])
        raise DatasetError(
            f"no label joins a clip. Paths of {source}: {paths or 'none'}; clips there:"
            f" {', '.join(names[:3]) or 'none'}. Paths are relative to the manifest's folder, clips"
            " to the extracted folder"
        )
    if len(kept) < len(names):
        log.warning("%d of %d clips have no label: left out", len(names) - len(kept), len(names))
    if len(kept) < len(manifest.clips):
        missing = len(manifest.clips) - len(kept)
        log.warning("%d of %d labels have no clip with vectors", missing, len(manifest.clips))
    clips = [known[names[index]] for index in kept]
    labels = tuple(sorted({label for clip in clips for label in clip.labels}))
    return Labelled(
        clips=[names[index] for index in kept],
        vectors=vectors[kept],
        targets=targets(clips, labels),
        labels=labels,
        several_labels=manifest.several_labels,
        folds=[clip.fold or "" for clip in clips] if any(clip.fold for clip in clips) else None,
        splits=[clip.split or "" for clip in clips] if any(clip.split for clip in clips) else None,
        groups=[clip.group or str(clip.path) for clip in clips],
    )


def _folder_clips(names: list[str]) -> tuple[Clip, ...]:
    return tuple(
        Clip(path=Path(name), labels=(PurePosixPath(name).parts[0],))
        for name in names
        if len(PurePosixPath(name).parts) > 1
    )


def _join_by_path(
    names: list[str], manifest: Manifest, root: Path, audio_root: Path
) -> dict[str, Clip]:
    by_place = {_place(clip.path): clip for clip in manifest.clips}
    by_text = {os.path.relpath(clip.path, root): clip for clip in manifest.clips}
    known = {}
    for name in names:
        clip = by_place.get(_place(audio_root / name)) or by_text.get(name)
        if clip is not None:
            known[name] = clip
    return known


def _place(path: Path) -> str:
    """Where a file stands, however its folder is reached."""
    return os.path.join(os.path.realpath(path.parent), path.name)
