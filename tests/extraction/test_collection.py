"""What a run finds to do: listed once, and by its own shard alone."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.audio.files import Skipped, find_audio
from embedkit.extraction.collection import AudioCollection, Shard
from embedkit.store import FILES_SCHEMA

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
