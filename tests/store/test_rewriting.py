"""Rewriting an embedding folder while other processes rewrite it, append to it and read it."""

import errno
import fcntl
import logging
import multiprocessing
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit.errors import EmbeddingFolderError
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FileRecord,
    Provenance,
    forget,
    locks,
    only_run,
    read_journal,
    remove_leftovers,
)
from embedkit.store import layout as contract
from embedkit.store.locks import rewriting
from embedkit.store.reading import RewrittenError

SPAWN = multiprocessing.get_context("spawn")
D, ROWS = 4, 3  # rows of a clip
SHARDS, PARTS, CLIPS = 2, 8, 6  # parts of a shard, clips of a part
KEPT = 2  # of each three clips this one stays, and two rewriters take one each

PROVENANCE = Provenance(
    audio_root="/sound",
    model="/model",
    fingerprint="f" * 64,
    embedding_size=D,
    features={"sample_rate": 16000},
    segment_s=1.0,
    hop_s=1.0,
    channel="mix",
    runtime="onnx",
)


def vectors(clip: str, version: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([version, *clip.encode()])
    return rng.standard_normal((ROWS, D)).astype(np.float32)


def add(writer: EmbeddingWriter, clip: str, version: int = 0, *, rows: int = ROWS) -> None:
    number = np.arange(rows, dtype=np.int32)
    start = number.astype(float)
    writer.add_rows(clip, number, start, start + 1, vectors(clip, version)[:rows])
    writer.finish_file(
        FileRecord(
            clip=clip, size=1, mtime_ns=version, duration_s=rows, rows=rows, kind="", message=""
        )
    )


def clip_names() -> list[str]:
    return [f"{s}-{p}-{c}" for s in range(SHARDS) for p in range(PARTS) for c in range(CLIPS)]


def of(rewriter: int) -> list[str]:
    """The clips that a rewriter takes out and writes anew: some of every part."""
    return [clip for clip in clip_names() if int(clip[-1]) % 3 == rewriter]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    emb = tmp_path / "emb"
    for shard in range(SHARDS):
        with EmbeddingWriter(emb, PROVENANCE, shard) as writer:
            for part in range(PARTS):
                for clip in range(CLIPS):
                    add(writer, f"{shard}-{part}-{clip}")
                writer.close_part()
    return emb


def check_is(folder: Path, versions: dict[str, int]) -> None:
    """The folder has these clips in these versions, and not a file too many."""
    rows = EmbeddingTable.open(folder).rows()
    assert rows.clips.tolist() == [clip for clip in sorted(versions) for _ in range(ROWS)]
    expected = [vectors(clip, versions[clip]) for clip in sorted(versions)]
    np.testing.assert_array_equal(rows.embeddings, np.concatenate(expected))
    journal = {row["clip"]: row["mtime_ns"] for row in read_journal(folder).to_pylist()}
    assert journal == versions
    names = [sorted(path.name for path in (folder / name).iterdir()) for name in ("rows", "files")]
    assert names[0] == names[1]
    assert pq.read_table(folder / "rows").num_rows == len(rows.clips)


def rewrite_and_append(folder: Path, rewriter: int, start: Barrier) -> None:
    """What `extract --refresh` does to the store, in three steps; each a run of its own."""
    mine = of(rewriter)
    start.wait(PATIENCE)
    for step in range(3):
        some = mine[step::3]
        remove_leftovers(folder)
        forget(folder, some)
        with EmbeddingWriter(
            folder, PROVENANCE, (rewriter + step) % SHARDS + 2 * rewriter
        ) as writer:
            for clip in some:
                add(writer, clip, 1 + rewriter)
                if clip.endswith(f"-{rewriter}"):
                    writer.close_part()


def read_on(folder: Path, start: Barrier, stop: Event, found: Any) -> None:
    """Read until told to stop; tell the first thing that is wrong, or how often it read."""
    count = 0
    start.wait(PATIENCE)
    while not stop.is_set() or not count:
        try:
            _look(folder)
        except Exception as error:
            found.put(repr(error))
            return
        count += 1
    found.put(count)


def _look(folder: Path) -> None:
    journal = read_journal(folder)["clip"].to_pylist()
    assert len(set(journal)) == len(journal)
    assert set(journal) >= set(of(KEPT))
    table = EmbeddingTable.open(folder)
    try:
        rows = table.rows()
    except RewrittenError:
        return
    assert set(rows.clips) >= set(of(KEPT))
    for clip in set(rows.clips):
        kind = int(clip[-1]) % 3
        versions = {0} if kind == KEPT else {0, 1 + kind}
        mine = rows.embeddings[rows.clips == clip]
        assert any(np.array_equal(mine, vectors(clip, version)) for version in versions), clip


def test_rewriters_writers_and_readers_at_once_lose_nothing_and_double_nothing(folder):
    start, stop, found = SPAWN.Barrier(3), SPAWN.Event(), SPAWN.Queue()
    rewriters = [
        SPAWN.Process(target=rewrite_and_append, args=(folder, number, start)) for number in (0, 1)
    ]
    reader = SPAWN.Process(target=read_on, args=(folder, start, stop, found))
    for process in (*rewriters, reader):
        process.start()
    for process in rewriters:
        process.join()
    stop.set()
    seen = found.get(timeout=PATIENCE)
    reader.join()
    assert [process.exitcode for process in rewriters] == [0, 0]
    assert isinstance(seen, int), seen
    check_is(folder, {clip: (int(clip[-1]) % 3 + 1) % 3 for clip in clip_names()})


def hold(folder: Path, shard: int, held: Event, stop: Event) -> None:
    with rewriting(folder, shard):
        held.set()
        stop.wait(PATIENCE)


def test_a_rewriter_waits_for_another_one_and_says_for_whom(folder, caplog):
    caplog.set_level(logging.INFO, "embedkit")
    held, stop = SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(folder, 1, held, stop))
    other.start()
    assert held.wait(PATIENCE)
    gone = [clip for clip in clip_names() if clip.endswith("-0")]
    rewriter = threading.Thread(target=forget, args=(folder, gone))
    rewriter.start()
    while not caplog.messages:  # it comes, or the rewriter ends without
        assert rewriter.is_alive()
        rewriter.join(0.01)
    assert caplog.messages == [
        f"{folder}: waiting for another run, which rewrites the parts of shard 1"
    ]
    # Nobody else waits: neither who reads nor who appends to that shard.
    there = set(read_journal(folder)["clip"].to_pylist())
    assert {clip for clip in gone if clip.startswith("0")}.isdisjoint(there)
    assert {clip for clip in gone if clip.startswith("1")} <= there
    with EmbeddingWriter(folder, PROVENANCE, 1) as writer:
        add(writer, "new")
    remove_leftovers(folder)
    stop.set()
    rewriter.join()
    other.join()
    check_is(folder, dict.fromkeys({*clip_names(), "new"}.difference(gone), 0))


def test_what_is_being_rewritten_is_no_leftover(folder):
    """The rows of a successor are there before its journal, and must stay."""
    name = "part-00000-00003-1.parquet"
    with rewriting(folder, 0):
        shutil.copy(folder / "rows/part-00000-00003.parquet", folder / "rows" / name)
        with EmbeddingWriter(folder, PROVENANCE, 0):
            remove_leftovers(folder)
        assert (folder / "rows" / name).exists()
    remove_leftovers(folder)
    assert not (folder / "rows" / name).exists()


def test_a_part_that_a_killed_rewriter_left_does_not_come_back_with_its_clips(folder, tmp_path):
    name = "part-00000-00000.parquet"
    for kind in ("rows", "files"):
        shutil.copy(folder / kind / name, tmp_path / kind)
    forget(folder, ["0-0-0"])
    with EmbeddingWriter(folder, PROVENANCE, 0):  # so that nobody else cleans the shard up
        for kind in ("rows", "files"):  # it was killed before it removed them
            shutil.copy(tmp_path / kind, folder / kind / name)
        remove_leftovers(folder)
        forget(folder, [f"0-0-{clip}" for clip in range(CLIPS)])
        left = {clip for clip in clip_names() if not clip.startswith("0-0-")}
        assert set(read_journal(folder)["clip"].to_pylist()) == left
    remove_leftovers(folder)
    check_is(folder, dict.fromkeys(left, 0))


def test_a_part_that_is_replaced_while_a_folder_is_opened_is_read_as_its_successor(
    folder, monkeypatch
):
    gone = of(0)
    reading = pq.ParquetFile

    def read_late(path: Path) -> pq.ParquetFile:
        if path.name == "part-00001-00002.parquet":
            monkeypatch.undo()
            forget(folder, gone)
        return reading(path)

    monkeypatch.setattr(pq, "ParquetFile", read_late)
    check_is(folder, dict.fromkeys(set(clip_names()).difference(gone), 0))


@pytest.mark.parametrize("kind", ["rows", "files"])
def test_a_part_that_is_cut_is_refused_with_the_remedy_and_the_rest_is_read(
    folder: Path, kind: str
) -> None:
    first, *_ = sorted((folder / kind).iterdir())
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(EmbeddingFolderError) as error:
        EmbeddingTable.open(folder)
    assert str(error.value).startswith(f"{first}: cannot be read: ")
    assert f"remove rows/{first.name} and files/{first.name} there" in str(error.value)
    for other in ("rows", "files"):
        (folder / other / first.name).unlink()
    left = [clip for clip in clip_names() if not clip.startswith("0-0-")]
    check_is(folder, dict.fromkeys(left, 0))


def test_a_part_that_is_replaced_later_is_not_read_as_something_else(folder):
    table = EmbeddingTable.open(folder)
    forget(folder, of(0))
    with pytest.raises(EmbeddingFolderError, match="another run has rewritten the folder"):
        table.rows()


def test_a_list_that_is_overtaken_by_a_rewriter_is_made_again(folder, monkeypatch):
    """While it is read, a folder's list may have missed a part and its successor, or show both."""
    [old, *_] = sorted((folder / "files").iterdir())
    forget(folder, ["0-0-0"])
    before = dict.fromkeys(set(clip_names()).difference(["0-0-0"]), 0)
    listed = contract._list_once
    for missed in ({contract.Part(0, 0, 1)}, {contract.Part.of(old)}):
        torn = [lambda *place, missed=missed: listed(*place) ^ missed, *[listed] * 99]
        monkeypatch.setattr(contract, "_list_once", lambda *place, torn=torn: torn.pop(0)(*place))
        check_is(folder, before)


def test_a_journal_of_other_rows_is_refused_by_name_and_the_remedy_works(
    tmp_path: Path,
    model_dir: Path,
    make_sound: Callable[..., Any],
    write_audio: Callable[..., Path],
) -> None:
    from embedkit.extraction import Settings, Shard, extract  # not for the children

    root, emb = tmp_path / "audio", tmp_path / "emb"
    for number in range(4):
        write_audio(root / f"{number}.wav", make_sound(1.5, seed=number))
    for number in (1, 2):
        extract(root, model_dir, emb, Settings(shard=Shard(number, 2)))
    whole = EmbeddingTable.open(emb).rows()
    [name, *_] = sorted(path.name for path in (emb / "rows").iterdir())
    rows = pq.read_table(emb / "rows" / name)
    pq.write_table(rows.slice(1), emb / "rows" / name)
    with pytest.raises(EmbeddingFolderError) as error:
        EmbeddingTable.open(emb)
    said = f"journal files/{name} has {len(rows)} rows, rows/{name} has {len(rows) - 1}; "
    remedy = f"remove rows/{name} and files/{name} there and run `embedkit extract` again"
    assert str(error.value).startswith(f"{emb}: the {said}{remedy}")
    with pytest.raises(EmbeddingFolderError, match="rows/"):
        extract(root, model_dir, emb, Settings(refresh=True))
    for kind in ("rows", "files"):
        (emb / kind / name).unlink()
    extract(root, model_dir, emb)
    found = EmbeddingTable.open(emb).rows()
    assert found.clips.tolist() == whole.clips.tolist()
    np.testing.assert_allclose(found.embeddings, whole.embeddings, rtol=0, atol=1e-5)


REFRESH = """
import sys, time
from pathlib import Path
from embedkit.extraction import Settings, Shard, extract, run

root, model, emb, number, meeting = sys.argv[1:]
forget = run.forget

def forget_together(folder, clips):
    (Path(meeting) / number).touch()
    while len(list(Path(meeting).iterdir())) < 2:
        time.sleep(0.001)
    forget(folder, clips)

run.forget = forget_together
if __name__ == "__main__":
    settings = Settings(refresh=True, shard=Shard(int(number), 2), workers=1)
    done = extract(Path(root), Path(model), Path(emb), settings)
    print(done.files, done.already_done)
"""


def test_two_shares_that_refresh_at_once_give_the_rows_of_one_run(
    tmp_path: Path,
    model_dir: Path,
    make_sound: Callable[..., Any],
    write_audio: Callable[..., Path],
) -> None:
    from embedkit.extraction import Settings, extract  # not for the children

    root, emb = tmp_path / "audio", tmp_path / "emb"
    files = 24
    for number in range(files):
        write_audio(root / f"{number}.wav", make_sound(1.2, seed=number))
    extract(root, model_dir, emb, Settings(workers=3))
    for number in range(0, files, 2):
        write_audio(root / f"{number}.wav", make_sound(2.3, seed=100 + number))
    for number in range(1, files, 6):
        (root / f"{number}.wav").unlink()
    (tmp_path / "meeting").mkdir()
    script = tmp_path / "refresh.py"
    script.write_text(REFRESH)
    places = (root, model_dir, emb)
    runs = [
        subprocess.Popen(
            [sys.executable, script, *places, str(number), tmp_path / "meeting"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    ends = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    done = np.array([out.split() for out, _ in ends], int).sum(axis=0)
    assert done.tolist() == [files // 2, files // 2 - 4]  # none embedded by both, none lost
    extract(root, model_dir, tmp_path / "fresh")
    found, expected = (EmbeddingTable.open(place) for place in (emb, tmp_path / "fresh"))
    assert found.journal == expected.journal
    rows, fresh = found.rows(), expected.rows()
    assert rows.clips.tolist() == fresh.clips.tolist()
    np.testing.assert_allclose(rows.embeddings, fresh.embeddings, rtol=0, atol=1e-5)
    assert pq.read_table(emb / "rows").num_rows == len(expected)


def test_a_share_whose_clips_have_all_vanished_takes_them_out(
    tmp_path: Path,
    model_dir: Path,
    make_sound: Callable[..., Any],
    write_audio: Callable[..., Path],
) -> None:
    from embedkit.extraction import Settings, Shard, extract  # not for the children

    root, emb = tmp_path / "audio", tmp_path / "emb"
    for name in ("a.wav", "b.wav"):
        write_audio(root / name, make_sound(1))
    extract(root, model_dir, emb)
    (root / "a.wav").unlink()
    owner = next(number for number in range(1, 10) if Shard(number, 9).owns("a.wav"))
    assert not Shard(owner, 9).owns("b.wav")
    extract(root, model_dir, emb, Settings(refresh=True, shard=Shard(owner, 9)))
    assert [record.clip for record in EmbeddingTable.open(emb).journal] == ["b.wav"]


def no_flock(code: int) -> Callable[..., None]:
    def flock(file: object, operation: int) -> None:
        raise OSError(code, "as on Lustre or NFS")

    return flock


@pytest.mark.parametrize(
    ("flock", "found"),
    [
        (no_flock(errno.ENOSYS), "as on Lustre or NFS"),
        (no_flock(errno.ENOLCK), "as on Lustre or NFS"),
        (no_flock(errno.EOPNOTSUPP), "as on Lustre or NFS"),
        (lambda file, operation: None, "two could lock one file at once"),
    ],
)
def test_a_file_system_that_does_not_lock_is_written_to_by_nobody(
    tmp_path, monkeypatch, flock, found
):
    monkeypatch.setattr(fcntl, "flock", flock)
    for write in (
        lambda: only_run(tmp_path).__enter__(),
        lambda: EmbeddingWriter(tmp_path, PROVENANCE),
    ):
        with pytest.raises(EmbeddingFolderError, match="does not lock files") as error:
            write()
        assert found in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_on_a_file_system_that_does_not_lock_is_read(folder, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_flock(errno.ENOSYS))
    check_is(folder, dict.fromkeys(clip_names(), 0))


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ("rw,localflock,lazystatfs", "localflock"),
        ("rw,vers=3,nolock,proto=tcp,local_lock=all", "local_lock=all"),
        ("rw,vers=4.2,proto=tcp,local_lock=none", ""),
        ("rw,flock,lazystatfs", ""),
    ],
)
def test_shares_are_warned_of_locks_that_hold_on_one_machine_alone(
    tmp_path, monkeypatch, caplog, options, option
):
    emb = tmp_path / "on a disk/emb"
    emb.mkdir(parents=True)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == emb.parent)
    where = str(emb.parent).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda / ext4 rw,nolock 0 0\nserver:/x {where} nfs rw,nolock 0 0\n"
        f"server:/y {where} nfs {options} 0 0\n"
    )
    monkeypatch.setattr(locks, "MOUNTS", mounts)
    with only_run(emb):  # without others it does no harm
        assert caplog.messages == []
    with only_run(emb, 1, 2):
        assert len(caplog.messages) == bool(option)
    assert option in "".join(caplog.messages)
