"""A labelled collection: clips with labels and, where known, fold, split and group."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.stretches import Stretch
from embedkit.errors import DatasetError

VALIDATION_SPLITS = frozenset({"validation", "valid", "val", "dev"})


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One audio file and what is known of it.

    Attributes:
        path: the audio file.
        labels: one or several, in Unicode's NFC, so that what looks the same is the same. Where
            labels have times, those that are anywhere in it, which may be none.
        fold: its fold of a cross-validation.
        split: train, validation, test, or the like.
        group: what must not stand on both sides of a split: a recording, speaker or place.
        stretches: what is said about its parts, where the labels have a beginning and an end.
    """

    path: Path
    labels: tuple[str, ...]
    fold: str | None = None
    split: str | None = None
    group: str | None = None
    stretches: tuple[Stretch, ...] = ()

    def __post_init__(self) -> None:
        labels = tuple(unicodedata.normalize("NFC", label) for label in self.labels)
        object.__setattr__(self, "labels", labels)


@dataclass(frozen=True)
class Manifest:
    """Clips of one labelled collection.

    Attributes:
        clips: in the order of the source.
        several_labels: whether a clip may have more than one label.
        classes: all labels, where the source lists them; else empty.
        left_out: clips that the source names and that are not there: (name, reason).
        source: what it was read from, in a word.
        is_marked: whether labels have times or signs, which the clips' stretches then hold.
    """

    clips: tuple[Clip, ...]
    several_labels: bool
    classes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    source: str = ""
    is_marked: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels in the order of a network's outputs: as the source lists them, or sorted."""
        found = {label for clip in self.clips for label in clip.labels}
        return self.classes or tuple(sorted(found))

    @property
    def has_times(self) -> bool:
        """Whether labels have a beginning and an end within their clips."""
        return any(not each.is_whole for clip in self.clips for each in clip.stretches)

    @property
    def folds(self) -> list[str]:
        """The names of the folds, in their order; empty where there are none."""
        return sorted({clip.fold for clip in self.clips if clip.fold})

    def fold(self, fold: str) -> "Manifest":
        """The clips of one fold.

        Raises:
            DatasetError: there is no such fold.
        """
        return self._where(lambda clip: clip.fold == fold, "fold", fold)

    def without_fold(self, fold: str) -> "Manifest":
        """The clips of all other folds.

        Raises:
            DatasetError: there is no such fold, or one of its groups stands in others too.
        """
        rest = self._where(lambda clip: clip.fold != fold, "fold other than", fold)
        _refuse_shared(self.fold(fold).clips, rest.clips, f"in fold {fold!r} and in others")
        return rest

    def split(self, split: str) -> "Manifest":
        """The clips of one split.

        Raises:
            DatasetError: there is no such split.
        """
        return self._where(lambda clip: clip.split == split, "split", split)

    def _where(self, keep: Callable[[Clip], bool], column: str, value: str) -> "Manifest":
        clips = tuple(clip for clip in self.clips if keep(clip))
        if not clips:
            name = column.split(maxsplit=1)[0]
            there = sorted({str(getattr(clip, name)) for clip in self.clips} - {"None"})
            found = f"there are: {', '.join(there)}" if there else f"there is no {name} column"
            raise DatasetError(f"no clip with {column} {value!r}; {found}")
        return replace(self, clips=clips)


def targets(clips: Sequence[Clip], labels: Sequence[str]) -> NDArray[np.float32]:
    """The labels of clips as numbers.

    Args:
        clips: the clips.
        labels: names of the labels, in order.

    Returns:
        float32 [clips, labels]; 1 where a clip has the label, else 0.
    """
    column = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(clips), len(labels)), np.float32)
    for row, clip in enumerate(clips):
        for label in clip.labels:
            if label in column:
                matrix[row, column[label]] = 1
    return matrix


def split_validation(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest]:
    """Take validation clips out of the training clips.

    A `split` column decides if it is there: `train` trains, `validation` (valid, val, dev)
    validates, and everything else is left alone. Otherwise `share` of the clips is drawn at random
    (paper, section 3.1: 10 %), by whole groups where groups are known. A share from 1 on is a
    number of clips, drawn one by one whatever their groups, as the paper drew 170 of TUT 2016.

    Args:
        manifest: the training clips.
        share: share, or from 1 on number, of the clips.
        seed: seed of the draw.

    Returns:
        training and validation clips.

    Raises:
        DatasetError: there are too few clips or groups to split, or a group is in the split train
            and in another.
    """
    # Who only joins labels needs nothing of it, and it takes seconds.
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

    clips = manifest.clips
    if any(clip.split for clip in clips):
        training = [clip for clip in clips if clip.split == "train"]
        validation = [clip for clip in clips if clip.split in VALIDATION_SPLITS]
        others = [clip for clip in clips if clip.split not in (None, "", "train")]
        _refuse_shared(training, others, "in split 'train' and in another")
        if not training:
            found = ", ".join(sorted({str(clip.split) for clip in clips}))
            raise DatasetError(f"the split column has no `train`; it has: {found}")
        if validation:
            return (
                replace(manifest, clips=tuple(training)),
                replace(manifest, clips=tuple(validation)),
            )
        clips = tuple(training)
    if share >= 1:
        if share >= len(clips):
            raise DatasetError(f"{share:.0f} clips for validation, of {len(clips)} in all")
        drawn = ShuffleSplit(n_splits=1, test_size=int(share), random_state=seed)
        first, second = next(drawn.split(clips))
        return _take(manifest, clips, first), _take(manifest, clips, second)
    # A clip without a group is a group of its own.
    groups = [clip.group or str(clip.path) for clip in clips]
    units = len(set(groups))
    if units < 2:
        raise DatasetError(
            f"{len(clips)} training clips in {units} group: validation needs at least 2 groups"
        )
    held = min(max(1, round(share * units)), units - 1)
    splitter = GroupShuffleSplit(n_splits=1, test_size=held, random_state=seed)
    first, second = next(splitter.split(clips, groups=groups))
    return _take(manifest, clips, first), _take(manifest, clips, second)


def _refuse_shared(some: Sequence[Clip], others: Sequence[Clip], where: str) -> None:
    both = {clip.group for clip in some} & {clip.group for clip in others} - {None}
    if both:
        raise DatasetError(f"group {min(map(str, both))!r} is {where}")


def _take(manifest: Manifest, clips: Sequence[Clip], numbers: NDArray[np.int64]) -> Manifest:
    return replace(manifest, clips=tuple(clips[number] for number in sorted(numbers)))
