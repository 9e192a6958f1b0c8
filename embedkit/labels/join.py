"""Labels for the clips of an embedding folder, from a manifest or from its folders."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets import Clip, read_dataset
from embedkit.datasets.manifest import Manifest, targets
from embedkit.datasets.names import nearest
from embedkit.errors import DatasetError
from embedkit.labels import reading
from embedkit.labels.marked import Segments, choose
from embedkit.labels.paths import join_by_path
from embedkit.labels.stretches import Rule
from embedkit.store import EmbeddingTable

log = logging.getLogger(__name__)

FOLDERS = "folders"


class Unit(StrEnum):
    """What has a vector and labels."""

    CLIP = "clip"  # the mean of its segments
    SEGMENT = "segment"  # each, with its clip's labels


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Vectors of clips, or of segments, with what is known of them; all of one length n.

    Attributes:
        clips: names of the clips in the embedding folder; for segments, the names of their clips.
        vectors: float32 [n, D].
        targets: float32 [n, classes], 1 where a clip has the label; NaN where a segment is left out
            for a label. That happens only where labels have times or signs and several_labels is
            true.
        labels: names of the classes, sorted.
        several_labels: whether a clip may have no label, or more than one.
        folds: the fold of each clip, or None where there is no fold column.
        splits: the split of each clip, or None where there is no split column.
        groups: the group of each clip; a clip without a group is a group of its own.
        seconds: for segments, their real duration, float64 [n]; None for clips.
        start_s: for segments, where they begin in their clips, float64 [n]; None for clips.
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
    start_s: NDArray[np.float64] | None = None

    @property
    def classes(self) -> NDArray[np.int64]:
        """Index of each clip's label [n], where each clip has one label."""
        classes: NDArray[np.int64] = self.targets.argmax(axis=1)
        return classes

    @property
    def names(self) -> list[str]:
        """The labels of each [n], for people: `cat, dog`; empty where it has none."""
        return [
            ", ".join(label for label, value in zip(self.labels, row, strict=True) if value == 1)
            for row in self.targets
        ]


def join_labels(
    table: EmbeddingTable,
    source: str,
    unit: Unit = Unit.CLIP,
    *,
    rule: Rule | None = None,
    label_column: str = "",
) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to the clips' labels.

    Of more than 200,000 vectors, 200,000 are drawn at random: no more are held in memory.

    Args:
        table: the embedding folder.
        source: what `read_dataset` reads, such as a manifest with path and label, or a folder of
            selection tables; or the word `folders`: then the first folder of a clip's path is its
            label. The paths of a manifest are relative to its folder. If the audio has moved, they
            are compared as text, and last by what follows the one folder that the collection can
            have been in.
        unit: what has a vector; where labels have times, segments have.
        rule: which segment has which label, where labels have times.
        label_column: the heading of the labels, where the table has none of the known headings.

    Returns:
        the labelled vectors.

    Raises:
        DatasetError: the source cannot be read, or no clip has a label.
    """
    known, manifest = find_labels(clip_names(table), table, source, label_column)
    return join_known(table, known, manifest, unit, rule)


def join_manifest(
    table: EmbeddingTable,
    manifest: Manifest,
    root: Path,
    unit: Unit = Unit.CLIP,
    rule: Rule | None = None,
) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to labels that were read already.

    Args:
        table: as for `join_labels`.
        manifest: the labels.
        root: the folder in which its paths are compared as text, if the audio has moved.
        unit: as for `join_labels`.
        rule: as for `join_labels`.

    Returns:
        the labelled vectors.

    Raises:
        DatasetError: no clip has a label.
    """
    names = clip_names(table)
    known = join_by_path(names, manifest, root, Path(table.provenance.audio_root))
    if not known:
        raise DatasetError(f"no label of {root} joins a clip, as {', '.join(names[:3]) or 'none'}")
    _warn_of_the_rest(names, known, manifest, root)
    return join_known(table, known, manifest, unit, rule)


def clip_names(table: EmbeddingTable) -> list[str]:
    """Names of the clips that have rows, sorted."""
    journal = table.journal_table()
    return sorted(
        name
        for name, rows in zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True)
        if rows
    )


def join_known(
    table: EmbeddingTable,
    known: Mapping[str, Clip],
    manifest: Manifest,
    unit: Unit = Unit.CLIP,
    rule: Rule | None = None,
) -> Labelled:
    """Read the vectors of the clips that `find_labels` found.

    Args:
        table: as for `join_labels`.
        known: the labelled clips by their names in the folder.
        manifest: the labels that they are from.
        unit: as for `join_labels`.
        rule: as for `join_labels`.

    Returns:
        the labelled vectors.

    Raises:
        DatasetError: no segment has a label.
    """
    labels = tuple(sorted({label for clip in known.values() for label in clip.labels}))
    several = manifest.several_labels
    if manifest.has_times and unit is Unit.CLIP:
        log.info("labels have times: they are of segments, not of whole clips")
        unit = Unit.SEGMENT
    if manifest.is_marked:
        of_clips = unit is Unit.CLIP
        segments = _whole(sorted(known)) if of_clips else reading.read_spans(table, known)
        chosen = choose(
            segments,
            known,
            labels,
            rule or Rule(),
            several_labels=several,
            most=reading.MOST,
        )
        several, truth = chosen.several_labels, chosen.targets
        if unit is Unit.SEGMENT:
            found, order = reading.read_segments(table, known, chosen.rows)
            truth = truth[order]
        else:
            found = reading.read_clips(table, {segments.names[row] for row in chosen.rows})
    else:
        if unit is Unit.SEGMENT:
            drawn = reading.draw_segments(table, known)
            found, _ = reading.read_segments(table, known, drawn)
        else:
            found = reading.read_clips(table, reading.draw_clips(known))
        truth = targets([known[name] for name in found.clips], labels)
    clips = [known[name] for name in found.clips]
    return Labelled(
        clips=found.clips,
        vectors=found.vectors,
        targets=truth,
        labels=labels,
        several_labels=several,
        folds=[clip.fold or "" for clip in clips] if any(clip.fold for clip in clips) else None,
        splits=[clip.split or "" for clip in clips] if any(clip.split for clip in clips) else None,
        groups=[clip.group or str(clip.path) for clip in clips],
        seconds=found.seconds,
        start_s=found.start_s,
    )


def _whole(names: Sequence[str]) -> Segments:
    """Clips as segments of any length, where labels have signs and no times."""
    count = len(names)
    return Segments(
        names=names, owner=np.arange(count), start_s=np.zeros(count), end_s=np.ones(count)
    )


def find_labels(
    names: list[str], table: EmbeddingTable, source: str, label_column: str = ""
) -> tuple[dict[str, Clip], Manifest]:
    """Which of some clips have labels.

    Args:
        names: names of clips of the folder.
        table: the folder.
        source: as for `join_labels`.
        label_column: as for `join_labels`.

    Returns:
        the labelled clips by their names in the folder, and the manifest that they are from.

    Raises:
        DatasetError: as for `join_labels`.
    """
    root = Path(source).parent
    if source == FOLDERS:
        manifest = Manifest(_folder_clips(names), several_labels=False)
        known = {clip.path.as_posix(): clip for clip in manifest.clips}
    else:
        manifest = read_dataset(Path(source), label_column)
        if manifest.is_marked and Path(source).is_dir():
            root = Path(source)
        known = join_by_path(names, manifest, root, Path(table.provenance.audio_root))
    if not known and source == FOLDERS:
        raise DatasetError(
            f"no clip stands in a folder that could be its label; clips: {', '.join(names[:3])}"
        )
    if not known:
        paths = [os.path.relpath(clip.path, root) for clip in manifest.clips[:3]]
        raise DatasetError(
            f"no label joins a clip. Paths of {source}: {', '.join(paths) or 'none'}; clips there:"
            f" {', '.join(names[:3]) or 'none'}. Paths are relative to the manifest's folder, clips"
            f" to the extracted folder{''.join(_meant(path, names) for path in paths[:1])}"
        )
    _warn_of_the_rest(names, known, manifest, root)
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
    """The end of a message about a path that is no clip's: which one was perhaps meant."""
    near = nearest(path, names)
    return f"; did you mean {near}?" if near else ""


def _folder_clips(names: list[str]) -> tuple[Clip, ...]:
    return tuple(
        Clip(path=Path(name), labels=(PurePosixPath(name).parts[0],))
        for name in names
        if len(PurePosixPath(name).parts) > 1
    )
