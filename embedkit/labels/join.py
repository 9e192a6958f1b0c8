"""Labels for the clips of an embedding folder, from a manifest or from its folders."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets import Clip, read_dataset
from embedkit.datasets.manifest import Manifest, targets
from embedkit.datasets.names import match, nearest, spell
from embedkit.errors import DatasetError
from embedkit.store import EmbeddingTable

log = logging.getLogger(__name__)

FOLDERS = "folders"
MOST = 200_000  # vectors that are read into memory: of more, a sample


class Unit(StrEnum):
    """What has a vector and is labelled."""

    CLIP = "clip"  # the mean of its segments
    SEGMENT = "segment"  # each, with its clip's labels


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Vectors of clips, or of segments, with what is known of them; all of one length n.

    Attributes:
        clips: names within the embedding folder; of segments, those of their clips.
        vectors: float32 [n, D].
        targets: float32 [n, classes], 1 where a clip has the label.
        labels: names of the classes, sorted.
        several_labels: whether a clip may have more than one.
        folds: of each clip, or None where there is no fold column.
        splits: of each clip, or None where there is no split column.
        groups: of each clip; a clip without a group is one of its own.
        seconds: of segments, their real duration, float64 [n]; None for clips.
    """

    clips: list[str]
    vectors: NDArray[np.float32]
    targets: NDArray[np.float32]
    labels: tuple[str, ...]
    several_labels: bool
    folds: list[str] | None
    splits: list[str] | None
    groups: list[str]
    seconds: NDArray[np.float64] | None = None

    @property
    def classes(self) -> NDArray[np.int64]:
        """Index of each clip's label [n], where there is one a clip."""
        classes: NDArray[np.int64] = self.targets.argmax(axis=1)
        return classes


def join_labels(table: EmbeddingTable, source: str, unit: Unit = Unit.CLIP) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to the clips' labels.

    Of more than 200,000, so many are drawn at random: no more vectors are held in memory.

    Args:
        table: its vectors are read.
        source: a CSV or Parquet manifest with path and label (or labels), or the word `folders`:
            the first folder of a clip's path is its label. A manifest's paths are taken relative
            to the folder it stands in; where the audio has moved, they are compared as text, and
            last by what follows the one folder that the collection can have stood in.
        unit: what shall have a vector.

    Raises:
        DatasetError: the source cannot be read, or no clip has a label.
    """
    known, manifest = find_labels(clip_names(table), table, source)
    return _join(table, known, manifest, unit)


def join_manifest(
    table: EmbeddingTable, manifest: Manifest, root: Path, unit: Unit = Unit.CLIP
) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to labels that are read already.

    Args:
        table: as in join_labels.
        manifest: the labels.
        root: the folder that its paths are compared in as text, where the audio has moved.
        unit: as in join_labels.

    Raises:
        DatasetError: no clip has a label.
    """
    names = clip_names(table)
    known = _join_by_path(names, manifest, root, Path(table.provenance.audio_root))
    if not known:
        raise DatasetError(f"no label of {root} joins a clip, as {', '.join(names[:3]) or 'none'}")
    _warn_of_the_rest(names, known, manifest, root)
    return _join(table, known, manifest, unit)


def clip_names(table: EmbeddingTable) -> list[str]:
    """Names of the clips that have rows, sorted."""
    journal = table.journal_table()
    return sorted(
        name
        for name, rows in zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True)
        if rows
    )


def _join(
    table: EmbeddingTable, known: Mapping[str, Clip], manifest: Manifest, unit: Unit
) -> Labelled:
    labels = tuple(sorted({label for clip in known.values() for label in clip.labels}))
    read = _read_clips if unit is Unit.CLIP else _read_segments
    owners, vectors, seconds = read(table, known)
    clips = [known[name] for name in owners]
    return Labelled(
        clips=owners,
        vectors=vectors,
        targets=targets(clips, labels),
        labels=labels,
        several_labels=manifest.several_labels,
        folds=[clip.fold or "" for clip in clips] if any(clip.fold for clip in clips) else None,
        splits=[clip.split or "" for clip in clips] if any(clip.split for clip in clips) else None,
        groups=[clip.group or str(clip.path) for clip in clips],
        seconds=seconds,
    )


def find_labels(
    names: list[str], table: EmbeddingTable, source: str
) -> tuple[dict[str, Clip], Manifest]:
    """Which of some clips have labels.

    Args:
        names: of clips of the folder.
        table: the folder.
        source: as in join_labels.

    Returns:
        the labelled clips by their names in the folder, and the manifest that they are from.

    Raises:
        DatasetError: as join_labels.
    """
    if source == FOLDERS:
        manifest = Manifest(_folder_clips(names), several_labels=False)
        known = {clip.path.as_posix(): clip for clip in manifest.clips}
    else:
        manifest = read_dataset(Path(source))
        audio_root = Path(table.provenance.audio_root)
        known = _join_by_path(names, manifest, Path(source).parent, audio_root)
    if not known and source == FOLDERS:
        raise DatasetError(
            f"no clip stands in a folder that could be its label; clips: {', '.join(names[:3])}"
        )
    if not known:
        root = Path(source).parent
        paths = [os.path.relpath(clip.path, root) for clip in manifest.clips[:3]]
        raise DatasetError(
            f"no label joins a clip. Paths of {source}: {', '.join(paths) or 'none'}; clips there:"
            f" {', '.join(names[:3]) or 'none'}. Paths are relative to the manifest's folder, clips"
            f" to the extracted folder{''.join(_meant(path, names) for path in paths[:1])}"
        )
    _warn_of_the_rest(names, known, manifest, Path(source).parent)
    return known, manifest


def _warn_of_the_rest(
    names: list[str], known: Mapping[str, Clip], manifest: Manifest, root: Path
) -> None:
    if len(known) < len(names):
        log.warning("%d of %d clips have no label: left out", len(names) - len(known), len(names))
    if len(known) < len(manifest.clips):
        joined = {id(clip) for clip in known.values()}
        rest = [clip for clip in manifest.clips if id(clip) not in joined]
        path = os.path.relpath(rest[0].path, root)
        log.warning(
            "%d of %d labels have no clip with vectors, as that of %s%s",
            len(rest), len(manifest.clips), path, _meant(path, names),
        )  # fmt: skip


def _meant(path: str, names: list[str]) -> str:
    """What to add to the words that a path is that of no clip."""
    near = nearest(path, names)
    return f"; did you mean {near}?" if near else ""


def _read_clips(
    table: EmbeddingTable, known: Mapping[str, Clip]
) -> tuple[list[str], NDArray[np.float32], None]:
    wanted = sorted(known)
    if len(wanted) > MOST:
        log.warning("%d of %d labelled clips, drawn at random", MOST, len(wanted))
        drawn = np.random.default_rng(0).choice(len(wanted), MOST, replace=False)
        wanted = [wanted[index] for index in drawn]
    return *table.clip_vectors(set(wanted)), None


def _read_segments(
    table: EmbeddingTable, known: Mapping[str, Clip]
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64]]:
    journal = table.journal_table()
    counts = zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True)
    total = sum(rows for name, rows in counts if name in known)
    rng, drawn, seen = np.random.default_rng(0), None, 0
    if total > MOST:
        log.warning("%d of %d labelled segments, drawn at random", MOST, total)
        drawn = np.zeros(total, bool)
        drawn[rng.choice(total, MOST, replace=False)] = True
    owners: list[str] = []
    numbers, vectors, seconds = [], [], []
    for batch in table.batches():
        kept = np.flatnonzero([name in known for name in batch.clips])
        if drawn is not None:
            kept, seen = kept[drawn[seen : seen + len(kept)]], seen + len(kept)
        owners += batch.clips[kept].tolist()
        numbers.append(batch.segments[kept])
        vectors.append(batch.embeddings[kept])
        seconds.append((batch.end_s - batch.start_s)[kept])
    order = np.lexsort((np.concatenate(numbers), np.array(owners, str)))
    return (
        [owners[index] for index in order],
        np.concatenate(vectors)[order],
        np.concatenate(seconds)[order],
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
    # What is spelled in another way joins where nothing joins as it is written.
    joined = {id(clip) for clip in known.values()}
    below = spell(str(audio_root)) + "/"  # of Windows too, which makes it no absolute path here
    rest = {
        spell(text).removeprefix(below) if spell(text).startswith(below) else text: clip
        for text, clip in by_text.items()
        if id(clip) not in joined
    }
    found = match(rest, [name for name in names if name not in known])
    known |= {name: rest[text] for text, name in found.items()}
    return known or _join_below_another_root(names, manifest)


def _join_below_another_root(names: list[str], manifest: Manifest) -> dict[str, Clip]:
    """Join the labels of a collection that has stood elsewhere: by the paths below that place.

    All labels stand below one folder, the one below which most of them find a clip of their path.

    Raises:
        DatasetError: two folders do equally well, so that some labels might join wrong clips.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in names:
        wanted[spell(name)].append(name)
    found: dict[str, dict[str, Clip]] = defaultdict(dict)  # by folder: clips by names below it
    for clip in manifest.clips:
        parts = spell(str(clip.path)).split("/")
        for depth in range(1, len(parts)):
            same = wanted.get("/".join(parts[depth:]), [])
            if len(same) == 1:
                found["/".join(parts[:depth]) or "/"][same[0]] = clip
    ranked = sorted(found, key=lambda folder: (-len(found[folder]), folder))
    if not ranked:
        return {}
    best = found[ranked[0]]
    if len(ranked) > 1 and len(found[ranked[1]]) == len(best):
        other = found[ranked[1]]
        raise DatasetError(
            f"the labels may be of a collection in {ranked[0]} or in {ranked[1]}: "
            f"{min(best)} is then {best[min(best)].path}, or {min(other)} is"
            f" {other[min(other)].path}. Write the paths below the collection's folder alone"
        )
    log.info("labels are joined by their paths below %s", ranked[0])
    return best


def _place(path: Path) -> str:
    """Where a file stands, however its folder is reached."""
    return os.path.join(os.path.realpath(path.parent), path.name)
