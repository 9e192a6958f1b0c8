"""Tables as people bring them: whatever wrote them, they say the same, or it is said why not."""

import csv
import datetime
import io
import itertools
import os
import random
import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run, succeed

from embedkit.classifiers.verify import read_trials, score_trials
from embedkit.datasets import Clip, Manifest, read_dataset
from embedkit.datasets.columns import tells_times
from embedkit.datasets.names import match
from embedkit.datasets.table import read_table
from embedkit.datasets.targets import read_targets
from embedkit.errors import DatasetError
from embedkit.exchange import Foreign, import_vectors
from embedkit.labels.join import join_labels
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

Rows = Sequence[Sequence[str]]

DELIMITERS = [",", ";", "\t", "|"]
# By its name in Python, what the file begins with: UTF-16 and UTF-32 write their mark themselves.
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252"]
AWKWARD = [
    *("NA", "None", "nan", "=cmd()", "#N/A", "0", "1e5", "007", "-", "'", '"', '""', "\\", "a\\b"),
    *(",", ";", "|", "a,b;c|d\te", 'say "hi"', " leading", "trailing ", "two\nlines", "re\r\nturn"),
    *("\r", "sep=;", "x" * 2000, "Käfer", "naïve café", "€ 5", "#", "@1-2", "", "", ""),
]
BEYOND = ["日本語 🐦", "Äöé", unicodedata.normalize("NFD", "Äöé"), "\u00a0", "\ufeffx", "ОК"]


def encode(
    rows: Rows, delimiter: str = ",", encoding: str = "utf-8", end: str = "\r\n", first: str = ""
) -> bytes:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL  # the module's own lapse
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return (first + text.getvalue()).encode(encoding)


def write(path: Path, rows: Rows, **options: str) -> Path:
    path.write_bytes(encode(rows, **options))
    return path


def labels_of(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {clip.path.name: clip.labels for clip in manifest.clips}


# Reading


@pytest.mark.parametrize(
    ("delimiter", "encoding"), list(itertools.product(DELIMITERS, ENCODINGS)), ids=repr
)
def test_what_any_program_writes_is_read_as_it_was(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    rng = random.Random(f"{delimiter}{encoding}")
    cells = AWKWARD if encoding == "cp1252" else AWKWARD + BEYOND
    for end in ("\r\n", "\n", "\r"):
        columns = ["path", "label", *rng.sample(["Comment", "Größe", "a b", "x;y", "N.º"], 3)]
        body = [[f"{n} {rng.choice(cells)}", *rng.choices(cells, k=4)] for n in range(40)]
        lines = [columns, *body]
        for place in [*rng.sample(range(1, 40), 3), len(lines)]:
            lines.insert(place, rng.choice([[], [""] * 5, [" "] * 5]))  # blank rows
        first = rng.choice(["", f"sep={delimiter}\r\n"])
        path = tmp_path / "t.csv"
        path.write_bytes(encode(lines, delimiter, encoding, end, first))
        table = read_table(path)
        assert table.headings == tuple(columns)
        found = list(zip(*(table.texts(heading) for heading in columns), strict=True))
        assert found == [tuple(cell or None for cell in row) for row in body]
        # A spreadsheet shows these numbers beside the rows.
        assert [lines[number - 1] for number in table.rows] == body


@pytest.mark.parametrize(
    ("path", "label"),
    [
        *(("Path", "LABEL"), (" filename ", "category"), ("File Name", "Class"), ("fname", "tag")),
        *(("file", "class"), ("filepath", "Class Name"), ("FileName", "label"), ("Clip", "label")),
        *(("audio_path", "classLabel"), ("\ufeffpath", "label\u00a0"), ("file-path", "Label")),
    ],
)
def test_columns_are_known_by_the_names_that_other_tools_give(
    tmp_path: Path, path: str, label: str
) -> None:
    rows = [["n", path, "mood", label, "Fold"], ["1", "a.wav", "x", "dog; big ", " 2"]]
    [clip] = read_dataset(write(tmp_path / "m.csv", rows, delimiter=";")).clips
    assert clip == Clip(path=tmp_path / "a.wav", labels=("dog; big",), fold="2")


def test_the_published_table_of_esc50_is_a_manifest(tmp_path: Path) -> None:
    rows = [
        ["filename", "fold", "target", "category", "esc10", "src_file", "take"],
        ["1-100032-A-0.wav", "1", "0", "dog", "True", "100032", "A"],
        ["5-9032-B-2.wav", "5", "2", "crow", "False", "9032", "B"],
    ]
    manifest = read_dataset(write(tmp_path / "esc50.csv", rows))
    assert labels_of(manifest) == {"1-100032-A-0.wav": ("dog",), "5-9032-B-2.wav": ("crow",)}
    assert [clip.fold for clip in manifest.clips] == ["1", "5"]


def test_the_numbering_of_a_data_frame_and_empty_margins_are_no_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "m.csv")
    assert labels_of(read_dataset(tmp_path / "m.csv")) == {"a.wav": ("x",), "b.wav": ("y",)}
    (tmp_path / "n.csv").write_text(";;;\npath;label;;\na.wav;x\nb.wav;y;;\n;;;\n")
    assert labels_of(read_dataset(tmp_path / "n.csv")) == {"a.wav": ("x",), "b.wav": ("y",)}
    # R's write.table
    (tmp_path / "r.tsv").write_text('"path"\t"label"\n"1"\t"a.wav"\t"x"\n"2"\t"b.wav"\t"y"\n')
    assert labels_of(read_dataset(tmp_path / "r.tsv")) == {"a.wav": ("x",), "b.wav": ("y",)}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,file,label", "'filename' and 'file' all claim to be the path; rename the right"),
        ("path,category,class", "'category' and 'class' all claim to be the label"),
        ("path,Label,label ,x", "columns 'Label' and 'label' have one name"),
        ("path,label,my note,my_note", "columns 'my note' and 'my_note' have one name"),
    ],
)
def test_two_columns_of_one_meaning_are_refused_by_name(
    tmp_path: Path, header: str, message: str
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"{header}\na,a,x,x\n".replace(",x,x", ",x" * (header.count(",") - 1)))
    with pytest.raises(DatasetError, match=message):
        read_dataset(path)


def test_our_own_name_counts_more_than_those_of_others(tmp_path: Path) -> None:
    rows = [["file", "class", "label", "path"], ["x", "y", "dog", "a.wav"]]
    assert labels_of(read_dataset(write(tmp_path / "m.csv", rows))) == {"a.wav": ("dog",)}


TIMES = [
    *("start", "end", "start_s", "end_s", "Begin Time (s)", "End Time (s)", "onset", "offset"),
    *("Start (s)", "startTime", "EndTime", "start-sec", "end_seconds", "start_sample", "begin"),
    *(
        "Stop",
        "event_onset",
        "segment start",
        "File Offset (s)",
        "tmin",
        "t_end",
        "xmax",
        "call start",
        "start_idx",
    ),
    *("t_min", "t_max", "min_t", "t0", "t1", "from", "to_s", "Beg", "syllable_onset", "offsetMs"),
    *("vocalization start", "start time (hh:mm:ss)", "relative_start", "Note End (beats)"),
]
NO_TIMES = [
    *("start_date", "recording start", "endangered", "Gender", "weekend", "time", "duration"),
    *("date_time", "legend", "offset_db", "trend", "send", "timestamp", "started_by", "sample"),
    *("min", "max", "end_year", "Deployment start", "from_site", "start lat", "time", "tomin"),
]


@pytest.mark.parametrize("heading", TIMES)
def test_a_column_of_times_is_never_ignored(tmp_path: Path, heading: str) -> None:
    path = write(tmp_path / "m.csv", [["path", "label", heading], ["a.wav", "x", "0.5"]])
    for read in (read_dataset, read_trials):
        with pytest.raises(DatasetError, match="gives times within clips") as caught:
            read(path)
        assert repr(heading) in str(caught.value)
    pq.write_table(
        pa.table({"path": ["a.wav"], "label": ["x"], heading: [0.5]}), tmp_path / "m.parquet"
    )
    with pytest.raises(DatasetError, match="gives times within clips"):
        read_dataset(tmp_path / "m.parquet")
    for time in ("0", "-1", ".5", "0,5", "00:00:05.25", "5 s", "1m30s", "PT5S", "~3"):
        write(path, [["path", "label", heading], ["b.wav", "x", ""], ["a.wav", "x", time]])
        with pytest.raises(DatasetError, match="gives times within clips"):
            read_dataset(path)
    # Where no time stands in it, it says nothing of a part of the clip.
    for text in ("", "NA", "2024-05-01 10:00", "1.5.2024", "5/1/24", "20240501_1000.wav", "river"):
        write(path, [["path", "label", heading], ["a.wav", "x", text]])
        assert labels_of(read_dataset(path)) == {"a.wav": ("x",)}


@pytest.mark.parametrize("heading", NO_TIMES)
def test_other_columns_say_nothing(tmp_path: Path, heading: str) -> None:
    assert not tells_times(heading)
    path = write(tmp_path / "m.csv", [["path", "label", heading], ["a.wav", "x", "1"]])
    assert labels_of(read_dataset(path)) == {"a.wav": ("x",)}


def test_rows_without_a_label_or_with_skip_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [["path", "label"], ["a", "x"], ["b", " "], ["c", "skip"], ["d", ""], ["e", "y"]]
    manifest = read_dataset(write(tmp_path / "m.csv", rows))
    assert labels_of(manifest) == {"a": ("x",), "e": ("y",)}
    assert manifest.left_out == (
        *(("b", "no label"), ("c", "labelled `skip`"), ("d", "no label")),
    )  # fmt: skip
    assert "m.csv: rows left out: 2 no label, 1 labelled `skip`" in caplog.text
    with pytest.raises(DatasetError, match="found: 1 labelled `skip`"):
        read_dataset(write(tmp_path / "m.csv", [["path", "label"], ["c", "skip"]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n\na,x\nb,y,z\n", "row 4: it has 3 cells, and the header has 2"),
        ("path,label\n\na,x\n\n\nb\n", "row 6: it has 1 cells, and the header has 2"),
        ('path,label\na,x\n"b,y\nc,z\nd,z\n', "row 3: not readable as CSV"),
        ('path,label\na,x\n"b"c,y\n', "row 3: not readable as CSV"),
        ("path;label\na,1;x\n\n;y\n", "row 4: no path"),
        ("path,label\na,x\n ,y\n", "row 3: no path"),
        ("path,labels\na,[x]\nb,\"['x', 'y']\"\n", "row 3: .* is a list as Python prints it"),
        ('path,label\n"a\nb",x\n./c,y\nc,z\n', "row 4: c stands there twice, first in row 3"),
        ("Table 1\npath,label\na,x\n", "row 2: .* no name that is known: Table 1"),
        ('# mine\npath\n"a"b\n', "row 3: not readable .* no name that is known: # mine"),
        ("path,label\na,x\n\0b,y\n", "is not text, or damaged"),
        ("a.wav,dog\nb.wav,cat\n", "has no column path .* it has: a.wav, dog"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "spreadsheet program's own file .* save the table as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"own file \(\.xls\); save the table as CSV"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not text, or damaged; expected a table saved as CSV"),
        (b"path,label\n" + 40 * b"\0", "is not text, or damaged"),
        ("path,label\nä,x\n".encode("utf-16-le")[:-1], "is not text, or damaged"),
        ("path,label\nä,ö\né,ü".encode()[:-1], "line 3: a byte that is not UTF-8, as the rest is"),
        (b"PAR1 and nothing else", "not a readable CSV or Parquet file"),
    ],
)
def test_what_is_no_table_of_text_is_told_in_words(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "m.csv")


def test_a_space_behind_every_separator_is_no_part_of_the_cells(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path, label, fold\n"a, b.wav", "dog, big", 1\n c.wav, x,2\n')
    first, second = read_dataset(tmp_path / "m.csv").clips
    assert first == Clip(path=tmp_path / "a, b.wav", labels=("dog, big",), fold="1")
    assert second == Clip(path=tmp_path / "c.wav", labels=("x",), fold="2")


def test_a_table_may_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "m.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("path,label\na.wav,x\n",), daemon=True)
    writer.start()
    assert labels_of(read_dataset(pipe)) == {"a.wav": ("x",)}


def test_labels_and_splits_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    rows = [
        ["path", "label", "split"],
        ["a", "Käfer", "Train"],
        ["b", "Ka\u0308fer", " VALIDATION"],
    ]
    manifest = read_dataset(write(tmp_path / "m.csv", rows, encoding="utf-16"))
    assert manifest.labels == ("Käfer",)
    assert [clip.split for clip in manifest.clips] == ["train", "validation"]
    touch(tmp_path / "sounds", "Käfer/a.wav", "Ka\u0308fer/b.wav")
    assert read_dataset(tmp_path / "sounds").labels == ("Käfer",)


def test_windows_1252_is_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [["path", "label"], ["größe.wav", "Käfer"]]
    for encoding, said in (("utf-8", False), ("utf-16", False), ("cp1252", True)):
        caplog.clear()
        manifest = read_dataset(write(tmp_path / "m.csv", rows, encoding=encoding))
        assert labels_of(manifest) == {"größe.wav": ("Käfer",)}
        assert ("read as Windows-1252, in which it says 'größe.wav'" in caplog.text) == said


# Parquet


def save(path: Path, /, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_what_is_not_there_in_parquet_is_no_class(tmp_path: Path) -> None:
    paths = ["a", "b", "c"]
    for label in (
        pa.array(["x", None, ""]),
        pa.array([1.0, float("nan"), None]),
        pa.array([0.5, float("nan"), None], pa.float32()),
        pa.array([datetime.datetime(2020, 1, 1), None, None]),  # NaT
        pa.array(["x", None, None]).dictionary_encode(),
        pa.array([["x"], [], None]),
        pa.array([["x"], [None, ""], None]),
        pa.array([[1.0], [float("nan")], None]),
    ):
        manifest = read_dataset(save(tmp_path / "m.parquet", path=paths, label=label))
        assert list(labels_of(manifest)) == ["a"], label
        assert [name for name, _ in manifest.left_out] == ["b", "c"]
    frame = pd.DataFrame({"path": paths, "label": ["x", float("nan"), None]})
    frame.to_parquet(tmp_path / "m.parquet")
    assert labels_of(read_dataset(tmp_path / "m.parquet")) == {"a": ("x",)}


def test_words_that_look_like_nothing_are_labels_and_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["nan", "None", "NA", "null", "N/A", "=cmd()", "-", "0"]
    expected = {f"{word}.wav".replace("/", "_"): (word,) for word in words}
    write(tmp_path / "m.csv", [["path", "label"], *zip(expected, words, strict=True)])
    assert labels_of(read_dataset(tmp_path / "m.csv")) == expected
    assert "m.csv: 'nan' is taken for a label, of 5 clips; if it says that there" in caplog.text
    save(tmp_path / "m.parquet", path=list(expected), label=words)
    assert labels_of(read_dataset(tmp_path / "m.parquet")) == expected
    caplog.clear()
    read_dataset(write(tmp_path / "m.csv", [["path", "label"], ["a", "Nana"], ["b", "x, y"]]))
    assert not caplog.text


def test_several_labels_that_commas_separate_are_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [["path", "labels"], ["a", "Guitar,Music"], ["b", "Music"]]
    manifest = read_dataset(write(tmp_path / "m.csv", rows))
    assert labels_of(manifest) == {"a": ("Guitar,Music",), "b": ("Music",)}
    assert "'Guitar,Music' is taken for one. Labels are separated by `;`" in caplog.text
    caplog.clear()  # AudioSet's own names have commas
    read_dataset(write(tmp_path / "m.csv", [*rows, ["c", "Speech;Male speech, man speaking"]]))
    assert not caplog.text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([3, 4]), ["3", "4"]),
        (pa.array([3.0, 4.0]), ["3", "4"]),
        (pa.array([3.5, 0.1], pa.float32()), ["3.5", "0.1"]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array(["x; y", "z"], pa.large_string()), ["x; y", "z"]),
        (pa.array(["é".encode(), b"z"]), ["é", "z"]),
        (pa.array(["x", "z"]).dictionary_encode(), ["x", "z"]),
        (pa.array([1.0, 2.0]).dictionary_encode(), ["1", "2"]),
    ],
)
def test_values_of_parquet_are_labels_as_text(
    tmp_path: Path, labels: pa.Array, expected: list[str]
) -> None:
    path = pa.array(["a", "b"]).dictionary_encode()
    manifest = read_dataset(save(tmp_path / "m.parquet", path=path, label=labels))
    assert labels_of(manifest) == dict(zip("ab", [(label,) for label in expected], strict=True))
    assert not manifest.several_labels


@pytest.mark.parametrize("heading", ["label", "labels"])
@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.string(), 2),
        pa.list_(pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_an_item_of_a_list_is_one_label(tmp_path: Path, heading: str, kind: pa.DataType) -> None:
    rows = [["dog; big", " cat "], None, ["cat", "nan"]]
    labels = pa.array(rows, pa.list_(pa.string()))
    if pa.types.is_dictionary(kind.value_type):
        values = labels.flatten().dictionary_encode()
        labels = pa.ListArray.from_arrays(labels.offsets, values, mask=labels.is_null())
    else:
        labels = pa.array(rows, kind)
    manifest = read_dataset(
        save(tmp_path / "m.parquet", **{"path": ["a", "b", "c"], heading: labels})
    )
    assert labels_of(manifest) == {"a": ("dog; big", "cat"), "c": ("cat", "nan")}
    assert manifest.several_labels


def test_text_of_several_labels_is_split_in_parquet_as_in_csv(tmp_path: Path) -> None:
    path = save(tmp_path / "m.parquet", path=["a"], labels=["dog; big"])
    assert labels_of(read_dataset(path)) == {"a": ("dog", "big")}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [b"\xff"]}, "the column label cannot be read: Invalid UTF8"),
        ({"label": [{"name": "dog"}]}, "the column label cannot be read: it holds struct"),
        ({"label": [[["dog"]]]}, "the column label cannot be read: it holds list"),
        ({"label": [[{"x": 1}]]}, "the column label cannot be read: it holds struct"),
        ({"path": [["a"]]}, "the column path holds lists, expected text"),
        ({"path": [{"bytes": b"", "path": "a"}]}, "the column path cannot be read: it holds stru"),
        ({"path": ["a\0/b"]}, "row 2: no path"),
        ({"fold": [[1]]}, "the column fold holds lists, expected text"),
    ],
)
def test_columns_that_are_no_text_are_told_in_words(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    path = save(tmp_path / "m.parquet", **{"path": ["a"], "label": ["x"], **columns})
    with pytest.raises(DatasetError, match=message):
        read_dataset(path)


def test_columns_that_say_nothing_are_not_read(tmp_path: Path) -> None:
    # The folder looks as if it told of a column, and vectors may be larger than memory.
    path = save(
        tmp_path / "split=test" / "m.csv",  # known by its content
        path=["a"], label=["x"], audio=[{"bytes": b"RIFF"}], embedding=[[1.0, 2.0]],
    )  # fmt: skip
    assert read_dataset(path).clips == (Clip(path=path.parent / "a", labels=("x",)),)


def test_damage_anywhere_is_told_in_words(tmp_path: Path) -> None:
    rng = random.Random(2)
    columns = {"path": ["a", "b"], "labels": [["x"], ["y", "z"]], "fold": [1.0, None]}
    rows = [["path", "label", "fold"], ["ä b.wav", "dog", "1"], ["c;d", "x\ny", ""]]
    whole = [
        save(tmp_path / "m.parquet", **columns).read_bytes(),
        *(encode(rows, ";", encoding) for encoding in ENCODINGS),
    ]
    refused = 0
    for content in whole:
        for _ in range(100):
            damaged = bytearray(content)
            for _ in range(rng.choice([1, 2, 5])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            (tmp_path / "m.csv").write_bytes(damaged[: rng.randrange(1, 2 * len(damaged))])
            try:
                read_dataset(tmp_path / "m.csv")
            except DatasetError:
                refused += 1
    assert refused > 300


# Names of files


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


NFC, NFD = (unicodedata.normalize(form, "Äöé/ñ.wav") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("there", "written", "meant"),
    [
        (["dog/a.wav"], r"dog\a.wav", "dog/a.wav"),
        (["dog/a.wav", r"dog\a.wav"], r"dog\a.wav", r"dog\a.wav"),
        ([NFD], NFC, NFD),
        ([NFC], NFD, NFC),
        ([NFC, NFD], NFC, NFC),
        ([NFC, NFD], NFD, NFD),
        ([NFD], NFC.replace("/", "\\"), NFD),
        (["a.wav ", "a.wav"], "a.wav ", "a.wav "),
        (["a.wav"], " a.wav ", "a.wav"),
        (["A.wav"], "a.wav", "a.wav"),  # capitals are other letters
        (["é.wav"], "É.wav", "É.wav"),
        ([], NFC, NFC),
        ([], r"C:\sounds\a.wav", r"C:\sounds\a.wav"),
        (["a"], "a/é.wav", "a/é.wav"),  # a file where a folder should be
        ([], "é" * 3000, "é" * 3000),  # longer than a name may be
    ],
)
def test_a_name_means_the_file_called_so_else_the_one_that_is_spelled_otherwise(
    tmp_path: Path, there: list[str], written: str, meant: str
) -> None:
    touch(tmp_path / "sounds", *there)
    path = write(tmp_path / "sounds" / "m.csv", [["path", "label"], [written, "x"]]) if there else (
        write(tmp_path / "m.csv", [["path", "label"], [written, "x"]])
    )  # fmt: skip
    [clip] = read_dataset(path).clips
    assert clip.path == path.parent / meant
    assert (meant in there) == os.path.exists(clip.path)


def test_two_spellings_of_one_file_are_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "dog/é.wav")
    rows = [["path", "label"], ["dog/é.wav", "x"], ["dog\\e\u0301.wav", "y"]]
    with pytest.raises(DatasetError, match=r"row 3: .* stands there twice, first in row 2"):
        read_dataset(write(tmp_path / "m.csv", rows))


def test_names_match_exactly_else_by_spelling_and_never_by_guess() -> None:
    there = ["é", "e\u0301", "a\\b", "c/d", "Case", " x"]
    asked = ["é", "e\u0301", "a/b", "c\\d", "case", "x", "./x"]
    assert match(asked, there) == {
        "é": "é", "e\u0301": "e\u0301", "a/b": "a\\b", "c\\d": "c/d",
    }  # fmt: skip
    assert match(["x"], there) == {"x": " x"}
    assert match(["ộ"], ["o\u0302\u0323", "o\u0323\u0302"]) == {}  # either could be meant
    assert match(["o\u0302\u0323", "o\u0323\u0302"], ["ộ"]) == {}


# The same tables for every command


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Clips of awkward names, the sounds of which are gone."""
    names = [f"dog/{n}.wav" for n in range(3)] + [NFD, "trailing .wav", "back\\slash.wav", "NA.wav"]
    rng = np.random.default_rng(0)
    provenance = Provenance(
        audio_root="C:\\Sounds", model="m", fingerprint="f", embedding_size=3, features={},
        segment_s=1.0, hop_s=1.0, channel="mix", runtime="imported",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("emb")
    with EmbeddingWriter(folder, provenance) as writer:
        for name in names:
            vectors = rng.standard_normal((1, 3)).astype(np.float32)
            writer.add_rows(name, np.zeros(1, np.int32), np.zeros(1), np.ones(1), vectors)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": 1.0, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=name, rows=1, **facts))
    return EmbeddingTable.open(folder)


@pytest.mark.parametrize(
    "spelled",
    [
        str,
        lambda name: unicodedata.normalize("NFC", name),
        lambda name: f"C:\\Sounds\\{name}".replace("/", "\\"),
        lambda name: f"C:/Sounds/{name}",
    ],
    ids=["same", "composed", "windows", "drive"],
)
@pytest.mark.parametrize("options", [{}, {"delimiter": ";", "encoding": "utf-16"}])
def test_labels_join_clips_however_they_are_spelled(
    table: EmbeddingTable, tmp_path: Path, spelled: object, options: dict[str, str]
) -> None:
    assert callable(spelled)
    clips = [record.clip for record in table.journal]
    rows = [[spelled(clip), f"label of {clip}"] for clip in clips]
    labels = write(tmp_path / "m.csv", [["File", "Category"], *rows, ["", ""]], **options)
    data = join_labels(table, str(labels))
    found = {clip: data.labels[label] for clip, label in zip(data.clips, data.classes, strict=True)}
    assert found == {clip: unicodedata.normalize("NFC", f"label of {clip}") for clip in clips}


def test_capitals_are_not_folded_and_the_name_that_was_meant_is_said(
    table: EmbeddingTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [["path", "label"], ["dog/0.wav", "x"], ["Dog/1.WAV", "y"]]
    data = join_labels(table, str(write(tmp_path / "m.csv", rows)))
    assert data.clips == ["dog/0.wav"]
    assert "no clip with vectors, as that of Dog/1.WAV; did you mean dog/1.wav?" in caplog.text
    with pytest.raises(DatasetError, match=r"no label joins .* did you mean dog/2\.wav\?"):
        join_labels(table, str(write(tmp_path / "m.csv", [["path", "label"], ["DOG/2.wav", "x"]])))


def test_trials_are_read_as_other_tables_are(table: EmbeddingTable, tmp_path: Path) -> None:
    class Model:
        def log_likelihood_ratio(self, first: object, second: object) -> np.ndarray:
            return np.sum(np.asarray(first) * np.asarray(second), axis=1)

    plain = [["dog/0.wav", NFD, "1"], [NFD, "dog/1.wav", "0"]]
    other = [["dog\\0.wav", NFC, " True"], [], [NFC, "dog\\1.wav", "false"]]
    scores = []
    for rows, header, options in (
        (plain, ["first", "second", "same"], {}),
        (other, ["First", " Second", "SAME"], {"delimiter": "\t", "encoding": "utf-16"}),
    ):
        trials = read_trials(write(tmp_path / "t.csv", [header, *rows], **options))
        assert trials.same.tolist() == [True, False]
        scores.append(score_trials(table, Model(), trials))  # type: ignore[arg-type]
    np.testing.assert_array_equal(*scores)
    rows = [["first", "second", "same"], *plain, ["DOG/0.wav", NFD, "1"]]
    wrong = write(tmp_path / "t.csv", rows)
    with pytest.raises(DatasetError, match=r"no clip DOG/0\.wav; did you mean dog/0\.wav\?"):
        score_trials(table, Model(), read_trials(wrong))  # type: ignore[arg-type]


def test_vectors_of_others_are_placed_by_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(6, dtype=np.float32).reshape(3, 2) + 1)
    touch(tmp_path / "audio", "dog/é.wav")
    plain = [
        ["clip", "start_s", "end_s"],
        *(["dog/é.wav", "0", "0.96"], ["dog/é.wav", "0.96", "1.92"], ["x.wav", "0.5", "1.46"]),
    ]
    german = [
        ["Nr.", "File Name", "Begin Time (s)", "End Time (s)"],
        *(["1", "dog\\e\u0301.wav", "0", "0,96"], ["2", "dog\\e\u0301.wav", "0,96", "1,92"]),
        *([""] * 4, ["3", "x.wav", ",5", "1,46"]),
    ]
    rows = []
    for lines, options in ((plain, {}), (german, {"delimiter": ";", "encoding": "utf-16"})):
        table = write(tmp_path / "rows.csv", lines, **options)
        foreign = Foreign(name="x", rows=table, audio=tmp_path / "audio")
        out = tmp_path / f"emb-{lines[0][0]}"
        import_vectors(tmp_path / "v.npy", "npy", foreign, out)
        found = EmbeddingTable.open(out).rows()
        rows.append((found.clips.tolist(), found.start_s.tolist(), found.end_s.tolist()))
    assert rows[0] == rows[1]
    assert rows[0] == (["dog/é.wav", "dog/é.wav", "x.wav"], [0.0, 0.96, 0.5], [0.96, 1.92, 1.46])
    german[2][3] = "1.000,5"
    bad = Foreign(name="x", rows=write(tmp_path / "rows.csv", german, delimiter=";"))
    with pytest.raises(DatasetError, match=r"row 3: expected a number for End Time \(s\), found"):
        import_vectors(tmp_path / "v.npy", "npy", bad, tmp_path / "emb")


def test_targets_and_imports_know_the_same_names(tmp_path: Path) -> None:
    vectors = [[1.0, 2.0], [3.0, 4.0]]
    path = save(
        tmp_path / "v.parquet", Filename=["dog\\a.wav", "e\u0301.wav"], Start=[0.0, 1.0],
        End=[1.0, 2.0], Embeddings=vectors,
    )  # fmt: skip
    found = read_targets(path, ["other.wav", "é.wav", "dog/a.wav"])
    assert found.clip.tolist() == [1, 2]
    np.testing.assert_array_equal(found.vectors, vectors[::-1])
    import_vectors(path, "parquet", Foreign(name="x"), tmp_path / "emb")
    np.testing.assert_array_equal(EmbeddingTable.open(tmp_path / "emb").rows().end_s, [1.0, 2.0])


def test_commands_say_what_was_left_out_and_what_is_refused(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    rows = [["filename", "class"], ["dog/0.wav", "x"], ["dog/1.wav", "y"], ["dog/2.wav", "skip"]]
    path = write(tmp_path / "m.csv", rows, delimiter=";")
    fit = ("classify", "fit", table.folder, "--out", tmp_path / "c", "--method", "knn")
    done = run(*fit, "--labels", path)
    assert (done.returncode, "m.csv: rows left out: 1 labelled `skip`" in done.stderr) == (0, True)
    assert "fitted on 2 clips of 2 labels" in done.stdout
    found = succeed("search", table.folder, "dog/0.wav", "--labels", path, "--where", "y", "--json")
    assert "dog/1.wav" in found
    assert "dog/2.wav" not in found
    timed = write(tmp_path / "t.csv", [[*rows[0], "Begin Time (s)"], ["dog/0.wav", "x", "1.5"]])
    for command in (("classify", "evaluate", table.folder, "--labels", timed), ("train", timed)):
        more = ("--model", "gap-lite", "--out", tmp_path / "m") if command[0] == "train" else ()
        done = run(*command, *more)
        assert (done.returncode, "the column 'Begin Time (s)'" in done.stderr) == (1, True)
