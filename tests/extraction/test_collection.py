"""What a run finds to do: listed once, and by its own shard alone."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedkit.audio.files import Skipped, find_audio
from embedkit.extraction.collection import AudioCollection, Shard
from embedkit.store import FILES_SCHEMA, FileRecord

SHARDS = 3

asked: Counter[tuple[str, str]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if asked is not None and event in {"open", "os.scandir", "os.listdir"}:
        asked[event, str(arguments[0])] += 1


sys.addaudithook(_watch)  # sees what Python asks of the disk, whichever function does


@contextmanager
def watching(below: Path) -> Iterator[Counter[tuple[str, str]]]:
    """What is asked of the files and folders below one, how often."""
    global asked  # noqa: PLW0603
    found: Counter[tuple[str, str]] = Counter()
    asked = Counter()
    try:
        yield found
    finally:
        seen, asked = asked, None
        found.update({key: n for key, n in seen.items() if key[1].startswith(str(below))})


def test_shards_list_a_collection_once_and_open_no_file_of_another(
    tmp_path: Path, make_sound: Callable[..., np.ndarray], write_audio: Callable[..., Path]
) -> None:
    root = tmp_path / "audio"
    for number in range(12):
        folder = root / "abc"[number % 3]
        write_audio(folder / f"{number}.wav", make_sound(0.1))
        write_audio(folder / f"{number}.dat", make_sound(0.1), format="FLAC")  # told by content
        (folder / f"{number}.txt").write_text("no audio")
    write_audio(root / os.fsdecode(b"not-utf8-\xe9.wav"), make_sound(0.1))
    with watching(root) as once:
        whole = find_audio(root)
    empty = FILES_SCHEMA.empty_table()
    paths, skipped, opened = [], Skipped(), Counter[str]()
    for number in range(1, SHARDS + 1):
        shard = Shard(number, SHARDS)
        collection = AudioCollection(root, shard)
        with watching(root) as asked_here:
            survey = collection.survey(empty, tmp_path)
            tasks = list(survey.tasks(()))
        assert len(tasks) == survey.new
        assert sum(task.size for task in tasks) == survey.new_bytes
        assert all(task.path.stat().st_mtime_ns == task.mtime_ns for task in tasks)
        paths += [task.path for task in tasks]
        skipped = skipped + survey.skipped
        folders = {key: n for key, n in asked_here.items() if key[0] != "open"}
        assert folders == {key: n for key, n in once.items() if key[0] != "open"}
        mine = Counter({key[1]: n for key, n in asked_here.items() if key[0] == "open"})
        assert all(shard.owns(Path(path).relative_to(root).as_posix()) for path in mine)
        opened += mine
    assert sorted(paths) == sorted(whole.paths)
    assert skipped == whole.skipped
    assert skipped.not_audio == {".txt": 12}
    assert opened == Counter({key[1]: n for key, n in once.items() if key[0] == "open"})
    assert len(opened) >= 24


def journal_of(root: Path, clips: Sequence[str]) -> pa.Table:
    """What a run wrote of files as they are now; of those that are not there, anything."""
    rows = []
    for clip in clips:
        status = (root / clip).stat() if (root / clip).exists() else None
        size, time = (status.st_size, status.st_mtime_ns) if status else (1, 1)
        record = FileRecord(
            clip=clip, size=size, mtime_ns=time, duration_s=0.1, rows=1, kind="", message=""
        )
        rows.append(asdict(record))
    return pa.Table.from_pylist(rows, FILES_SCHEMA)


def test_a_file_has_changed_where_its_size_or_its_time_has(
    tmp_path: Path, make_sound: Callable[..., np.ndarray], write_audio: Callable[..., Path]
) -> None:
    root = tmp_path / "audio"
    for name in ("same", "older", "longer"):
        write_audio(root / f"{name}.wav", make_sound(0.1))
    journal = journal_of(root, ["older.wav", "longer.wav", "same.wav"])
    os.utime(root / "older.wav", ns=(1, 1))
    time = (root / "longer.wav").stat().st_mtime_ns
    size = write_audio(root / "longer.wav", make_sound(0.2)).stat().st_size
    os.utime(root / "longer.wav", ns=(time, time))
    found = AudioCollection(root, Shard()).survey(journal, tmp_path)
    assert found.changed == {"older.wav": (root / "same.wav").stat().st_size, "longer.wav": size}
    assert (found.known, found.new, found.vanished) == (3, 0, [])


def test_what_is_below_a_folder_that_cannot_be_listed_has_not_vanished(
    tmp_path: Path,
    make_sound: Callable[..., np.ndarray],
    write_audio: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "audio"
    for name in ("open/a.wav", "shut/b.wav", "shut-too/c.wav"):
        write_audio(root / name, make_sound(0.1))
    journal = journal_of(root, ["gone/d.wav", "open/a.wav", "shut/b.wav", "shut-too/c.wav"])
    (root / "shut-too" / "c.wav").unlink()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = AudioCollection(root, Shard()).survey(journal, tmp_path)
    assert found.vanished == ["gone/d.wav", "shut-too/c.wav"]
