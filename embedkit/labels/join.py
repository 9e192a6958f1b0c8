"""Labels for the clips of an embedding folder, from a manifest or from its folders."""

import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets import Clip, read_dataset
from embedkit.datasets.manifest import Manifest, targets
from embedkit.datasets.names import nearest
from embedkit.errors import DatasetError
from embedkit.labels.marked import Segments, choose
from embedkit.labels.paths import join_by_path
from embedkit.labels.stretches import Rule
from embedkit.store import EmbeddingTable, Rows

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
        targets: float32 [n, classes], 1 where a clip has the label; NaN where a segment is to be
            left out for a label, which is only where the labels are of stretches, or have signs,
            and several_labels is true.
        labels: names of the classes, sorted.
        several_labels: whether a clip may have none, or more than one.
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


def join_labels(
    table: EmbeddingTable,
    source: str,
    unit: Unit = Unit.CLIP,
    *,
    rule: Rule | None = None,
    label_column: str = "",
) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to the clips' labels.

    Of more than 200,000, so many are drawn at random: no more vectors are held in memory.

    Args:
        table: its vectors are read.
        source: what `read_dataset` reads, such as a manifest with path and label, or a folder of
            selection tables; or the word `folders`: the first folder of a clip's path is its label.
            A manifest's paths are taken relative to the folder it stands in; where the audio has
            moved, they are compared as text, and last by what follows the one folder that the
            collection can have stood in.
        unit: what shall have a vector; where labels have times, segments have.
        rule: of such labels, which segment has which.
        label_column: the heading of a table's labels, where it is none that is known.

    Raises:
        DatasetError: the source cannot be read, or no clip has a label.
    """
    known, manifest = find_labels(clip_names(table), table, source, label_column)
    return _join(table, known, manifest, unit, rule)


def join_manifest(
    table: EmbeddingTable,
    manifest: Manifest,
    root: Path,
    unit: Unit = Unit.CLIP,
    rule: Rule | None = None,
) -> Labelled:
    """Join the clips of an embedding folder, or their segments, to labels that are read already.

    Args:
        table: as in join_labels.
        manifest: the labels.
        root: the folder that its paths are compared in as text, where the audio has moved.
        unit: as in join_labels.
        rule: as in join_labels.

    Raises:
        DatasetError: no clip has a label.
    """
    names = clip_names(table)
    known = join_by_path(names, manifest, root, Path(table.provenance.audio_root))
    if not known:
        raise DatasetError(f"no label of {root} joins a clip, as {', '.join(names[:3]) or 'none'}")
    _warn_of_the_rest(names, known, manifest, root)
    return _join(table, known, manifest, unit, rule)


def clip_names(table: EmbeddingTable) -> list[str]:
    """Names of the clips that have rows, sorted."""
    journal = table.journal_table()
    return sorted(
        name
        for name, rows in zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True)
        if rows
    )


def _join(
    table: EmbeddingTable,
    known: Mapping[str, Clip],
    manifest: Manifest,
    unit: Unit,
    rule: Rule | None,
) -> Labelled:
    labels = tuple(sorted({label for clip in known.values() for label in clip.labels}))
    several = manifest.several_labels
    if manifest.is_marked:
        if manifest.has_times and unit is Unit.CLIP:
            log.info("labels have times: they are of segments, not of whole clips")
            unit = Unit.SEGMENT
        owners, vectors, seconds, known_targets, several = _read_marked(
            table, known, labels, unit, rule or Rule(), several
        )
    else:
        read = _read_clips if unit is Unit.CLIP else _read_segments
        owners, vectors, seconds = read(table, known)
        known_targets = targets([known[name] for name in owners], labels)
    clips = [known[name] for name in owners]
    return Labelled(
        clips=owners,
        vectors=vectors,
        targets=known_targets,
        labels=labels,
        several_labels=several,
        folds=[clip.fold or "" for clip in clips] if any(clip.fold for clip in clips) else None,
        splits=[clip.split or "" for clip in clips] if any(clip.split for clip in clips) else None,
        groups=[clip.group or str(clip.path) for clip in clips],
        seconds=seconds,
    )


def find_labels(
    names: list[str], table: EmbeddingTable, source: str, label_column: str = ""
) -> tuple[dict[str, Clip], Manifest]:
    """Which of some clips have labels.

    Args:
        names: of clips of the folder.
        table: the folder.
        source: as in join_labels.
        label_column: as in join_labels.

    Returns:
        the labelled clips by their names in the folder, and the manifest that they are from.

    Raises:
        DatasetError: as join_labels.
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
    drawn = np.ones(total, bool)
    if total > MOST:
        log.warning("%d of %d labelled segments, drawn at random", MOST, total)
        drawn = np.zeros(total, bool)
        drawn[np.random.default_rng(0).choice(total, MOST, replace=False)] = True
    rows, order = _read_rows(table, known, drawn)
    return (
        rows.clips[order].tolist(),
        rows.embeddings[order],
        (rows.end_s - rows.start_s)[order],
    )


def _read_marked(
    table: EmbeddingTable,
    known: Mapping[str, Clip],
    labels: tuple[str, ...],
    unit: Unit,
    rule: Rule,
    several_labels: bool,
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64] | None, NDArray[np.float32], bool]:
    """Owners, vectors, seconds, targets, and whether there may be several labels."""
    names = sorted(known)
    if unit is Unit.CLIP:  # signs without times: a clip is one segment, whatever its length
        count = len(names)
        segments = Segments(
            names=names, owner=np.arange(count), start_s=np.zeros(count), end_s=np.ones(count)
        )
    else:
        segments = _spans(table, names)
    chosen = choose(segments, known, labels, rule, several_labels=several_labels, most=MOST)
    if unit is Unit.CLIP:
        owners, vectors = table.clip_vectors({names[row] for row in chosen.rows})
        return owners, vectors, None, chosen.targets, chosen.several_labels
    drawn = np.zeros(len(segments.owner), bool)
    drawn[chosen.rows] = True
    rows, order = _read_rows(table, known, drawn)
    return (
        rows.clips[order].tolist(),
        rows.embeddings[order],
        (rows.end_s - rows.start_s)[order],
        chosen.targets[order],
        chosen.several_labels,
    )


def _spans(table: EmbeddingTable, names: list[str]) -> Segments:
    """The segments of some clips, in the order of the parts."""
    number = {name: index for index, name in enumerate(names)}
    owner = [np.zeros(0, np.int64)]
    start_s, end_s = [np.zeros(0)], [np.zeros(0)]
    for part in table.parts:
        rows = table.spans([part.name])
        owners = np.array([number.get(name, -1) for name in rows.clips], np.int64)
        kept = owners >= 0
        owner.append(owners[kept])
        start_s.append(rows.start_s[kept])
        end_s.append(rows.end_s[kept])
    return Segments(
        names=names,
        owner=np.concatenate(owner),
        start_s=np.concatenate(start_s),
        end_s=np.concatenate(end_s),
    )


def _read_rows(
    table: EmbeddingTable, known: Collection[str], drawn: NDArray[np.bool_]
) -> tuple[Rows, NDArray[np.int64]]:
    """Those of the rows of some clips that were drawn, and their order by clip and segment."""
    batches: list[Rows] = []
    seen = 0
    for batch in table.batches():
        kept = np.flatnonzero([name in known for name in batch.clips])
        kept, seen = kept[drawn[seen : seen + len(kept)]], seen + len(kept)
        batches.append(Rows(*(values[kept] for values in vars(batch).values())))
    columns = [vars(batch).values() for batch in batches]
    rows = Rows(*(np.concatenate(column) for column in zip(*columns, strict=True)))
    return rows, np.lexsort((rows.segments, rows.clips.astype(str)))


def _folder_clips(names: list[str]) -> tuple[Clip, ...]:
    return tuple(
        Clip(path=Path(name), labels=(PurePosixPath(name).parts[0],))
        for name in names
        if len(PurePosixPath(name).parts) > 1
    )
