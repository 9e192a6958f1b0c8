import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedkit.datasets import Clip, Manifest, read_dataset, split_validation
from embedkit.datasets.manifest import targets
from embedkit.errors import DatasetError

NASTY = [
    "plain.wav",
    "a,b.wav",
    'say "hi".wav',
    "two\nlines.wav",
    "re\r\nturn.wav",
    "Ünï 鸟.wav",
    "; ' #.wav",
]


def write_csv(path: Path, rows: Sequence[Sequence[object]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    header, *values = rows
    pq.write_table(
        pa.table(dict(zip(map(str, header), zip(*values, strict=True), strict=True))), path
    )
    return path


def clips(count: int, **columns: Callable[[int], str | None]) -> Manifest:
    """Clips named 0, 1, ... whose fold, split and group are functions of their number."""
    return Manifest(
        tuple(
            Clip(path=Path(str(n)), labels=("a",), **{key: of(n) for key, of in columns.items()})
            for n in range(count)
        ),
        several_labels=False,
    )


def paths(manifest: Manifest) -> list[str]:
    return [str(clip.path) for clip in manifest.clips]


def test_the_first_folder_below_the_root_is_the_label(
    tmp_path: Path, write_audio: Callable[..., Path]
) -> None:
    noise = np.linspace(-0.5, 0.5, 100)
    for name in ("dog/a.wav", "dog/b.flac", "cat/deep/er/c.wav", "loose.wav"):
        write_audio(tmp_path / name, noise)
    (tmp_path / "dog" / "notes.txt").write_text("not audio")
    (tmp_path / "empty").mkdir()
    manifest = read_dataset(tmp_path)
    assert [(str(clip.path.relative_to(tmp_path)), clip.labels) for clip in manifest.clips] == [
        ("cat/deep/er/c.wav", ("cat",)),
        ("dog/a.wav", ("dog",)),
        ("dog/b.flac", ("dog",)),
    ]
    assert (manifest.labels, manifest.several_labels) == (("cat", "dog"), False)


def test_a_folder_without_class_folders_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "loose.wav").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"no audio in class folders; expected .*/<label>/<clip"):
        read_dataset(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.csv: no such file or folder"):
        read_dataset(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, rows: write_csv(folder / "m.csv", rows),
        lambda folder, rows: write_csv(folder / "m.csv", rows, "utf-8-sig"),
        lambda folder, rows: write_parquet(folder / "m.parquet", rows),
        lambda folder, rows: write_parquet(folder / "m.PARQUET", rows),
    ],
    ids=["csv", "csv-with-bom", "parquet", "suffix-in-capitals"],
)
def test_a_table_keeps_every_name_and_column(
    tmp_path: Path, write: Callable[[Path, list[list[Any]]], Path]
) -> None:
    rows = [
        [name, f"label of {name}", index % 2, "train", f"group {index}", "ignored"]
        for index, name in enumerate(NASTY)
    ]
    header = ["path", "label", "fold", "split", "group", "colour"]
    manifest = read_dataset(write(tmp_path, [header, *rows]))
    assert manifest.clips == tuple(
        Clip(
            path=tmp_path / name,
            labels=(f"label of {name}",),
            fold=str(index % 2),
            split="train",
            group=f"group {index}",
        )
        for index, name in enumerate(NASTY)
    )
    assert not manifest.several_labels


def test_paths_are_relative_to_the_table_or_absolute_and_empty_cells_are_nothing(
    tmp_path: Path,
) -> None:
    table = write_csv(
        tmp_path / "m.csv",
        [["path", "label", "fold", "group"], ["../a.wav", "x", "", ""], ["/b/c.wav", "y", "1", ""]],
    )
    first, second = read_dataset(table).clips
    assert (first.path, first.fold, first.group) == (tmp_path / "../a.wav", None, None)
    assert (second.path, second.fold, second.group) == (Path("/b/c.wav"), "1", None)


def test_several_labels_are_separated_by_semicolons(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "m.csv",
        [["path", "labels"], ["a", "dog; bark;dog"], ["b", "bark"], ["c", ";siren ;"]],
    )
    manifest = read_dataset(table)
    assert [clip.labels for clip in manifest.clips] == [("dog", "bark"), ("bark",), ("siren",)]
    assert (manifest.labels, manifest.several_labels) == (("bark", "dog", "siren"), True)


def test_a_semicolon_in_a_single_label_is_part_of_it(tmp_path: Path) -> None:
    manifest = read_dataset(write_csv(tmp_path / "m.csv", [["path", "label"], ["a", "x; y"]]))
    assert manifest.labels == ("x; y",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "it has: no rows"),
        ([["path", "label"]], "found: no rows"),
        ([["sound", "label"], ["a", "x"]], r"no column path \(or clip, file, .*: sound, label"),
        ([["path", "mood"], ["a", "x"]], r"no column label \(or labels, .*: path, mood"),
        ([["path", "label"], ["", "x"]], r"m\.csv, row 2: no path"),
        ([["path", "labels"], ["a", " ; "]], r"found: 1 no label"),
        ([["path", "label"], ["a"]], r"m\.csv, row 2: it has 1 cells, and the header has 2"),
    ],
)
def test_a_table_that_lacks_something_is_told_what(
    tmp_path: Path, rows: list[list[str]], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(write_csv(tmp_path / "m.csv", rows))


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.csv", b"path,label\n\x81,x\n"), ("m.parquet", b"path,label\na,x\n")],
)
def test_an_unreadable_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=r"is not text, or damaged|not a readable CSV or Par"):
        read_dataset(tmp_path / name)


def test_fold_without_fold_and_split_part_the_clips() -> None:
    manifest = clips(9, fold=lambda n: str(n % 3), split=lambda n: "test" if n > 6 else "train")
    assert paths(manifest.fold("1")) == ["1", "4", "7"]
    assert paths(manifest.without_fold("1")) == ["0", "2", "3", "5", "6", "8"]
    assert paths(manifest.split("test")) == ["7", "8"]
    assert paths(manifest.fold("1").split("test")) == ["7"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.fold("4"), "no clip with fold '4'; there are: 0, 1"),
        (lambda m: m.without_fold("4"), "no clip with fold '4'; there are: 0, 1"),
        (lambda m: m.fold("1").without_fold("1"), "no clip with fold other than '1'; there are: 1"),
        (lambda m: m.split("dev"), "no clip with split 'dev'; there is no split column"),
    ],
)
def test_a_fold_or_split_that_is_not_there_is_refused_with_those_that_are(
    ask: Callable[[Manifest], Manifest], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        ask(clips(4, fold=lambda n: str(n % 2)))


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [(100, 0.1, 10), (20, 0.25, 5), (10, 0.01, 1), (2, 0.1, 1), (2, 0.9, 1), (10, 0.99, 9)],
)
def test_validation_is_the_share_asked_for_and_leaves_both_sides_a_clip(
    count: int, share: float, held: int
) -> None:
    manifest = clips(count)
    training, validation = split_validation(manifest, share, seed=3)
    assert len(validation.clips) == held
    # Nothing lost, nothing on both sides, the source's order kept.
    assert Counter(paths(training)) + Counter(paths(validation)) == Counter(paths(manifest))
    for part in (training, validation):
        assert paths(part) == sorted(paths(part), key=int)


def test_validation_takes_whole_groups_and_a_clip_without_one_is_its_own() -> None:
    manifest = clips(60, group=lambda n: f"g{n // 6}" if n < 48 else None)  # 8 groups of 6, 12 of 1
    groups = set()
    for seed in range(20):
        training, validation = split_validation(manifest, 0.25, seed)
        named = [{clip.group for clip in part.clips} - {None} for part in (training, validation)]
        assert not named[0] & named[1]
        units = {clip.group or str(clip.path) for clip in validation.clips}
        assert len(units) == 5  # a quarter of the 20 groups
        groups |= units
    assert len(groups) > 15  # drawn from all of them


def test_from_one_on_validation_is_a_number_of_clips_whatever_their_groups() -> None:
    # The paper's protocol: 170 of the 1,170 development clips of TUT 2016, of 30 s each, of which
    # several are of one recording.
    manifest = clips(1170, group=lambda n: f"g{n // 12}", split=lambda n: "train")
    training, validation = split_validation(manifest, 170, seed=0)
    assert (len(training.clips), len(validation.clips)) == (1000, 170)
    assert Counter(paths(training)) + Counter(paths(validation)) == Counter(paths(manifest))
    shared = {clip.group for clip in training.clips} & {clip.group for clip in validation.clips}
    assert len(shared) > 50
    with pytest.raises(DatasetError, match="1170 clips for validation, of 1170 in all"):
        split_validation(manifest, 1170, seed=0)


def test_the_seed_decides_the_draw() -> None:
    drawn = [paths(split_validation(clips(50), 0.2, seed)[1]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("word", ["validation", "valid", "val", "dev"])
def test_a_split_column_decides_what_trains_and_what_validates(word: str) -> None:
    names = ["train", word, "test", None]
    training, validation = split_validation(clips(12, split=lambda n: names[n % 4]), 0.5, 0)
    assert (paths(training), paths(validation)) == (["0", "4", "8"], ["1", "5", "9"])


def test_without_a_validation_split_it_is_drawn_from_train_alone() -> None:
    manifest = clips(20, split=lambda n: "train" if n < 10 else "test")
    training, validation = split_validation(manifest, 0.2, 0)
    assert len(validation.clips) == 2
    assert sorted(paths(training) + paths(validation), key=int) == [str(n) for n in range(10)]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (clips(1), "1 training clips in 1 group: validation needs at least 2 groups"),
        (clips(5, group=lambda n: "g"), "5 training clips in 1 group"),
        (clips(4, split=lambda n: "test" if n else "dev"), "no `train`; it has: dev, test"),
    ],
)
def test_too_little_to_split_is_refused(manifest: Manifest, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        split_validation(manifest, 0.1, 0)


def test_targets_are_one_where_a_clip_has_the_label() -> None:
    three = [Clip(path=Path(), labels=labels) for labels in (("b",), ("c", "a"), ("x",))]
    expected = [[0, 1, 0], [1, 0, 1], [0, 0, 0]]  # `x` has no column
    matrix = targets(three, ["a", "b", "c"])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, expected)


def test_a_path_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", [["path", "label"], ["a.wav", "x"], ["a.wav", "y"]])
    with pytest.raises(DatasetError, match=r"row 3: a\.wav stands there twice"):
        read_dataset(path)


def test_a_group_inside_and_outside_the_held_out_fold_is_refused(tmp_path: Path) -> None:
    rows = [["a.wav", "x", "1", "g"], ["b.wav", "y", "2", "g"], ["c.wav", "y", "2", "h"]]
    path = write_csv(tmp_path / "m.csv", [["path", "label", "fold", "group"], *rows])
    with pytest.raises(DatasetError, match="group 'g' is in fold '1' and in others"):
        read_dataset(path).without_fold("1")


def test_parquet_lists_are_labels_and_folds_with_gaps_stay_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {"path": ["a.wav", "b.wav"], "labels": [["x", "y"], ["y"]], "fold": [1.0, None]}
    )
    pq.write_table(table, tmp_path / "m.parquet")
    first, second = read_dataset(tmp_path / "m.parquet").clips
    assert (first.labels, first.fold) == (("x", "y"), "1")
    assert (second.labels, second.fold) == (("y",), None)
