"""The labels file: several write it, people edit it, and nothing of it is ever lost."""

import codecs
import csv
import errno
import fcntl
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from patience import PATIENCE

from embedkit.datasets.listed import read_listed
from embedkit.errors import DatasetError
from embedkit.labels import answers as module
from embedkit.labels.answers import Answers
from embedkit.labels.spreadsheet import Spreadsheet

NAMES = [
    " leading.wav", "trailing.wav ", "\ttab\t.wav", "comma, here.wav", 'quote "q" it\'s.wav', '"',
    "semi;colon.wav", "new\nline.wav", "return\rline.wav", "=cmd()", "NA", "nan", "#hash.wav",
    "a/b.wav", "a\\b.wav", "label", "path", unicodedata.normalize("NFC", "Äö.wav"),
    unicodedata.normalize("NFD", "Äö.wav"), "日本語 🐦.wav", "\u3000.wav", "Case.wav", "case.wav",
    "x" * 300,
]  # fmt: skip

WRITER = """
import sys
from pathlib import Path
from embedkit.labels.answers import Answers
answers = Answers(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(100):
    answers.set(f"{sys.argv[2]}/{number}.wav", f"label {number % 7}")
    answers.set("both.wav", sys.argv[2])
    answers.set(f"{sys.argv[2]}/undone.wav", "x" if number % 2 == 0 else "")
"""


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_name_has_its_label_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    answers = Answers(path)
    for number, name in enumerate(NAMES):
        answers.set(name, f"label, {number}")
    expected = {name: f"label, {number}" for number, name in enumerate(NAMES)}
    assert answers.labels == Answers(path).labels == expected
    assert {row["path"]: row["label"] for row in read(path)} == expected
    for name in NAMES[::2]:
        Answers(path).set(name, "")
        del expected[name]
    assert Answers(path).labels == expected


def test_programs_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    text = "path,label,fold\nelsewhere.wav,wind,2\n"
    path.write_text(text)
    here = Answers(path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, name],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    for writer in writers:  # both have read the file before either writes
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for number in range(20):
        here.set(f"here/{number}.wav", "sea")
    for writer in writers:
        assert writer.communicate(timeout=PATIENCE)[1] == ""
        assert writer.returncode == 0
    found = dict(here.labels)
    assert found.pop("both.wav") in {"a", "b"}
    expected = {f"{name}/{n}.wav": f"label {n % 7}" for name in "ab" for n in range(100)}
    expected |= {f"here/{number}.wav": "sea" for number in range(20)}
    assert found == expected | {"elsewhere.wav": "wind"}
    assert len(read(path)) == 222
    assert path.read_text().startswith(text)


def test_what_others_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    mine = Answers(path)
    for clip in ("a.wav", "b.wav", "c.wav"):
        mine.set(clip, "rain")
    # By hand: a row goes, one changes, one comes with a column of its own.
    path.write_text("path,label,by\nb.wav,hail,ann\nd.wav,sea,ann\n")
    mine.set("c.wav", "wind")
    assert mine.labels == {"b.wav": "hail", "c.wav": "wind", "d.wav": "sea"}
    mine.set("b.wav", "snow")  # the last write counts
    mine.set("a.wav", "")  # and what is gone stays gone
    assert path.read_text() == "path,label,by\nb.wav,snow,ann\nd.wav,sea,ann\nc.wav,wind,\n"
    path.unlink()
    assert mine.labels == {}
    mine.set("e.wav", "fog")
    assert read(path) == [{"path": "e.wav", "label": "fog"}]


def test_what_an_editor_saves_between_reading_and_writing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    answers = Answers(path)
    answers.set("a.wav", "rain")
    real, saved = Spreadsheet.read, []

    def read(place: Path, columns: list[str]) -> Spreadsheet:
        found = real(place, columns)
        if not saved:  # an editor, which takes no lock
            saved.append(path.write_bytes(path.read_bytes() + b"b.wav,sea\r\n"))
        return found

    monkeypatch.setattr(Spreadsheet, "read", read)
    answers.set("c.wav", "fog")
    assert Answers(path).labels == {"a.wav": "rain", "b.wav": "sea", "c.wav": "fog"}


ODD = [
    # As version 0.1.0 wrote it.
    "path,label\r\na.wav,rain\r\n{new}\r\n",
    # Columns in another order, quoted throughout, with rows that nobody needs.
    '"fold","Label"," path ","note"\n"1","rain","a.wav",""\n\n# mine\n"2","","gone.wav","x, y"\n'
    ",{label},{clip},\n",
    "path;label;note\na.wav;rain;1,5\n{clip};{label};\n",
    "label\tpath\nrain\ta.wav\n{label}\t{clip}\n",
    "sep=|\r\npath|label\r\na.wav|rain\r\n{clip}|{label}\r\n",
    # Rows that are too short and too long, and no end of the last line.
    "path,label,fold\na.wav,rain\nb.wav\nc.wav,sea,1,2,3\n{new},\n",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", ODD)
def test_what_is_not_changed_stays_as_it_was_written(
    tmp_path: Path, form: str, encoding: str
) -> None:
    path = tmp_path / "labels.csv"
    full = form.format(new="é.wav,hail", label="hail", clip="é.wav").encode(encoding)
    lines = form.splitlines(keepends=True)
    before = "".join(lines[:-1]).encode(encoding)
    path.write_bytes(before)
    answers = Answers(path)
    assert answers.labels["a.wav"] == "rain"
    answers.set("a.wav", "rain")
    assert path.read_bytes() == before
    answers.set("é.wav", "hail")
    assert path.read_bytes() == full
    assert Answers(path).labels["é.wav"] == "hail"
    answers.set("é.wav", "")
    assert path.read_bytes() == before


def test_a_clip_is_found_in_the_file_by_other_names_of_columns_and_spellings(
    tmp_path: Path,
) -> None:
    path = tmp_path / "labels.csv"
    before = "Category;File Name\nrain;a\\b.wav\nsea;e\u0301.wav\nwind;lead.wav\nfog;other.wav\n"
    path.write_text(before)
    clips = ["a/b.wav", "\u00e9.wav", " lead.wav", "new.wav"]
    answers = Answers(path, clips)
    assert answers.labels == dict(
        zip([*clips[:3], "other.wav"], ["rain", "sea", "wind", "fog"], strict=True)
    )
    answers.set("\u00e9.wav", "hail")
    answers.set("new.wav", "hail")
    assert path.read_text() == before.replace("sea", "hail") + "hail;new.wav\n"
    answers.set("a/b.wav", "")
    assert answers.labels == Answers(path, clips).labels
    assert (
        path.read_text()
        == before.replace("sea", "hail").replace("rain;a\\b.wav\n", "") + "hail;new.wav\n"
    )
    exact = [*clips, "e\u0301.wav"]  # it is exactly this one: the other one has no label
    assert "\u00e9.wav" not in Answers(path, exact).labels


def test_a_row_that_says_more_than_its_label_stays_without_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label,fold\na.wav,rain,1\nb.wav,rain,\n")
    answers = Answers(path)
    answers.set("a.wav", "")
    answers.set("b.wav", "")
    assert path.read_text() == "path,label,fold\na.wav,,1\n"
    assert answers.labels == {}


def test_a_clip_stands_in_it_once_unless_its_rows_say_other_things(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label,by\na,x,\na,y,\nb,x,ann\nb,y,bob\na,,\nc,x,\nc,skip,\n")
    answers = Answers(path)
    assert answers.labels == {"a": "y", "b": "y", "c": "x"}
    answers.set("d", "skip")
    assert path.read_text() == "path,label,by\na,y,\nb,x,ann\nb,y,bob\nc,x,\nd,skip,\n"
    assert (answers.labels, answers.skipped) == ({"a": "y", "b": "y", "c": "x"}, ["d"])
    answers.set("b", "z")
    assert path.read_text() == "path,label,by\na,y,\nb,z,ann\nb,z,bob\nc,x,\nd,skip,\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe[Content_Types].xml", "save it as one"),
        ("path,label\nä.wav,rain\n".encode("cp1252"), "not a CSV in UTF-8"),
        ("path,label\na.wav,rain\n".encode("utf-16-le"), "bytes that no text has"),
        (codecs.BOM_UTF16_LE + b"p\0a\0t", "not a CSV in UTF-8"),
        (b'path,label\n"a.wav,rain\n', "not a readable CSV"),
        (b"file,kind\na.wav,rain\n", r"has no column label \(or .*\); it has: file, kind"),
        (b'path,"label" \na.wav,rain\n', "stray quotation marks"),
        (b",,\r\n;;", "column"),
        (b"path,labels\na.wav,rain;wind\n", "for several labels a clip"),
        (b"path,label,Labels\na.wav,,rain;wind\n", "would contradict its column 'Labels'"),
        (b"path,label,onset\na.wav,rain,1\n", "'onset' gives times within clips"),
    ],
)
def test_a_file_that_has_become_unreadable_is_not_written_over(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "labels.csv"
    answers = Answers(path)
    answers.set("a.wav", "rain")
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        answers.set("b.wav", "rain")
    assert path.read_bytes() == content
    assert answers.labels == {"a.wav": "rain"}  # what is known; the next label says why
    with pytest.raises(DatasetError, match=message):
        Answers(path)
    path.write_text("path,label\na.wav,hail\n")  # mended
    answers.set("b.wav", "rain")
    assert answers.labels == {"a.wav": "hail", "b.wav": "rain"}


def test_only_a_csv_is_a_labels_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels are saved in a CSV; name a file that ends in"):
        Answers(tmp_path / "labels.parquet")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DatasetError, match="not a readable CSV"):
        Answers(tmp_path / "folder.csv")
    (tmp_path / "blank.csv").write_text("\n")
    Answers(tmp_path / "blank.csv").set("a.wav", "rain")
    assert read_listed(tmp_path / "blank.csv").clips[0].labels == ("rain",)


def test_links_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    target, link = tmp_path / "shared" / "team.csv", tmp_path / "labels.csv"
    target.write_text("path,label\n")
    target.chmod(0o664)
    link.symlink_to(target)
    Answers(link).set("a.wav", "rain")
    assert link.is_symlink()
    assert read(target) == [{"path": "a.wav", "label": "rain"}]
    assert stat.S_IMODE(target.stat().st_mode) == 0o664


def test_a_label_is_synced_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = module.os.fsync, Path.replace

    def sync(number: int) -> None:
        done.append("sync")
        real_sync(number)

    def replace(self: Path, target: Any) -> Path:
        done.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    Answers(tmp_path / "labels.csv").set("a.wav", "rain")
    assert done == ["sync", "rename", "sync"]  # the file, its name, the folder


def test_a_full_disk_and_a_held_lock_are_said_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    answers = Answers(path)
    answers.set("a.wav", "rain")
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DatasetError, match="cannot be written: No space left on device"):
            answers.set("b.wav", "rain")
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    with (
        FileLock(tmp_path / ".labels.csv.lock"),
        pytest.raises(DatasetError, match="held its lock"),
    ):
        Answers(path).set("b.wav", "rain")
    assert path.read_bytes() == before
    assert answers.labels == {"a.wav": "rain"}


def test_a_file_system_without_locks_is_said_and_has_a_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "labels.csv"
    for clip in ("a.wav", "b.wav"):
        Answers(path).set(clip, "rain")
    assert Answers(path).labels == {"a.wav": "rain", "b.wav": "rain"}
    assert caplog.text.count("this file system cannot lock files") == 1
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    with module._only_writer(path), pytest.raises(DatasetError, match="held its lock"):
        Answers(path).set("c.wav", "rain")


@pytest.mark.parametrize("label", ["x" * 101, "two\nlines", "\x1b[31m", "\ud800"])
def test_a_label_is_one_line_of_text(tmp_path: Path, label: str) -> None:
    with pytest.raises(DatasetError, match="at most 100 characters, all printable"):
        Answers(tmp_path / "labels.csv").set("a.wav", label)
    assert list(tmp_path.iterdir()) == []
