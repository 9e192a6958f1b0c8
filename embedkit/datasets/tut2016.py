"""TUT Acoustic Scenes 2016: a development set in four folds, and an evaluation set."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.published import audio_path, part_missing, require_audio
from embedkit.errors import DatasetError

DEVELOPMENT = "TUT-acoustic-scenes-2016-development"
EVALUATION = "TUT-acoustic-scenes-2016-evaluation"
ORIGIN = "the data set, https://zenodo.org/record/45739 and https://zenodo.org/record/165995"
FOLDS = ("1", "2", "3", "4")


def read_tut2016(root: Path) -> Manifest:
    """Read the development set, the evaluation set or both; `root` holds them, or is one of them.

    Development clips have the split train and the fold that tests them; evaluation clips have the
    split test. The group is the recording, which is also the place.

    Raises:
        DatasetError: neither set is there, a list is missing or contradicts another, or no clip
            has both a label and audio.
    """
    tables: list[Path] = []
    clips: list[Clip] = []
    for name, read in ((DEVELOPMENT, _development), (EVALUATION, _evaluation)):
        folder = root if root.absolute().name == name else root / name
        if folder.is_dir():
            table, part = read(folder)
            tables.append(table)
            clips += part
    if not tables:
        raise DatasetError(f"no folder {DEVELOPMENT} or {EVALUATION} in {root}; get {ORIGIN}")
    there, missing = part_missing(clip for clip in clips if clip.labels)
    unlabelled = tuple((clip.path.name, "no published label") for clip in clips if not clip.labels)
    manifest = Manifest(
        there,
        several_labels=False,
        left_out=missing + unlabelled,
        source="TUT Acoustic Scenes 2016",
    )
    return require_audio(manifest, tables, root, "audio/<name>.wav beside each set's meta.txt")


def _development(folder: Path) -> tuple[Path, list[Clip]]:
    table = folder / "meta.txt"
    labels = _labels(table)
    folds = _folds(folder / "evaluation_setup", labels, table)
    return table, [
        Clip(
            path=_path(folder, name, table),
            labels=(label,),
            fold=folds[name],
            split="train",
            group=_recording(name),
        )
        for name, label in labels.items()
    ]


def _evaluation(folder: Path) -> tuple[Path, list[Clip]]:
    # Clips have numbers for names here; of the lists only evaluate.txt tells what recording they
    # are of, and the first release had only test.txt, without labels.
    lists = ("evaluation_setup/evaluate.txt", "meta.txt", "evaluation_setup/test.txt")
    there = [folder / name for name in lists if (folder / name).is_file()]
    if not there:
        raise DatasetError(f"none of {', '.join(lists)} in {folder}; they come with {ORIGIN}")
    table = there[0]
    return table, [
        Clip(
            path=_path(folder, name, table),
            labels=tuple(fields[:1]),
            split="test",
            group=_recording(fields[1]) if len(fields) > 1 else None,
        )
        for name, fields in _read_list(table).items()
    ]


def _folds(setup: Path, labels: dict[str, str], meta: Path) -> dict[str, str]:
    """The fold whose test list holds each clip."""
    folds: dict[str, str] = {}
    for fold in FOLDS:
        test = setup / f"fold{fold}_test.txt"
        for name in _read_list(test):
            if name in folds:
                raise DatasetError(
                    f"{test}: {name} is in the test list of fold {folds[name]} already; the lists"
                    f" as published do not overlap and come with {ORIGIN}"
                )
            folds[name] = fold
    for fold in FOLDS:
        train = setup / f"fold{fold}_train.txt"
        for name, label in _labels(train).items():
            if folds.get(name) == fold:
                raise DatasetError(f"{train}: {name} is in the test list of the same fold")
            if label != labels.get(name):
                raise DatasetError(
                    f"{train}: {name} is {label!r} here and {labels.get(name)!r} in {meta}"
                )
    _require_all(labels, folds, f"{meta}, and in no test list of {setup}")
    _require_all(folds, labels, f"a test list of {setup}, and not in {meta}")
    return folds


def _require_all(names: Iterable[str], known: dict[str, str], where: str) -> None:
    for name in names:
        if name not in known:
            raise DatasetError(f"{name} is in {where}; get {ORIGIN} again")


def _labels(path: Path) -> dict[str, str]:
    labels = {}
    for name, fields in _read_list(path).items():
        if not fields:
            raise DatasetError(f"{path}: expected <file><tab><label>, found {name!r}")
        labels[name] = fields[0]
    return labels


def _read_list(path: Path) -> dict[str, list[str]]:
    """The other fields of each file's line."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; it comes with {ORIGIN}") from error
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        # Some copies have blanks at the end of lines, and lines of nothing else.
        name, *fields = (field.strip() for field in line.rstrip().split("\t"))
        if name in lines:
            raise DatasetError(f"{path}: {name} stands there twice; expected one line a clip")
        if name:
            lines[name] = fields
    return lines


def _path(folder: Path, name: str, table: Path) -> Path:
    return audio_path(folder / "audio", name.removeprefix("audio/"), table)


def _recording(name: str) -> str:
    return PurePosixPath(name).name.split("_")[0]
