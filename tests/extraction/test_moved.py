"""A collection that is elsewhere now: found by its own files, and no other one is taken for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit.errors import DatasetError, EmbeddingFolderError, UsageError
from embedkit.extraction import Settings, estimate, extract
from embedkit.labels.join import find_labels
from embedkit.store import EmbeddingTable, clip_path, only_run, read_manifest

Samples = NDArray[np.float32]
CLIPS = [f"{folder}/{number}.wav" for folder in "ab" for number in range(6)]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    make_sound: Callable[..., Samples],
    write_audio: Callable[..., Path],
    model_dir: Path,
) -> Path:
    """A folder with old/ (sounds of as many lengths as files), same/ (all of one length), emb."""
    root = tmp_path_factory.mktemp("made")
    for seed, clip in enumerate(CLIPS):
        write_audio(root / "old" / clip, make_sound(0.5 + seed / 100, seed=seed))
        write_audio(root / "same" / clip, make_sound(0.5, seed=seed))
        for name in ("old", "same"):  # not just now, as all that is copied is
            os.utime(root / name / clip, ns=(seed * 10**9, 1_600_000_000_123_456_789 + seed))
    extract(root / "old", model_dir, root / "emb", Settings(workers=2))
    extract(root / "same", model_dir, root / "emb-same")
    return root


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """A copy of it, of which nothing is where it was."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def settings(root: Path, **others: object) -> Settings:
    return Settings(audio_root=root, **others)  # type: ignore[arg-type]


def test_a_collection_that_moved_is_gone_on_with_where_it_is(work, model_dir, made):
    new, emb = work / "old", work / "emb"
    before = snapshot(emb)
    with pytest.raises(EmbeddingFolderError, match=r"has moved there: --audio-root"):
        extract(new, model_dir, emb)
    assert estimate(new, model_dir, emb, settings(new)).changed == 0
    assert snapshot(emb) == before
    shutil.copy(made / "same/a/0.wav", new / "a/new.wav")
    done = extract(new, model_dir, emb, settings(new))
    assert (done.files, done.already_done, done.changed, done.vanished) == (1, len(CLIPS), 0, 0)
    assert read_manifest(emb).audio_root == str(new.resolve())
    after = snapshot(emb)
    del before["manifest.json"]
    assert after.items() > before.items()  # no part was touched
    manifest = json.loads(after["manifest.json"])
    assert manifest == json.loads((made / "emb/manifest.json").read_text()) | {
        "audio_root": str(new.resolve())
    }
    assert extract(new, model_dir, emb).files == 0  # from now on without the option


@pytest.mark.parametrize("lost", ["all", "nanoseconds"])
def test_times_that_copying_has_lost_are_noted_where_sizes_tell(work, model_dir, lost):
    """Else every file would count as changed, and --refresh would embed all of them again."""
    new, emb = work / "old", work / "emb"
    for clip in CLIPS:
        then = (new / clip).stat().st_mtime_ns
        os.utime(new / clip, ns=(0, 10**18 if lost == "all" else then // 2 // 10**9 * 2 * 10**9))
    rows = EmbeddingTable.open(emb).rows()
    assert estimate(new, model_dir, emb, settings(new)).changed == 0
    done = extract(new, model_dir, emb, settings(new, refresh=True))
    assert (done.files, done.already_done, done.changed) == (0, len(CLIPS), 0)
    table = EmbeddingTable.open(emb)
    for record in table.journal:
        assert record.mtime_ns == (new / record.clip).stat().st_mtime_ns
    np.testing.assert_array_equal(table.rows().embeddings, rows.embeddings)


def test_files_of_one_length_are_known_by_their_times_alone(work, model_dir):
    new, emb = work / "same", work / "emb-same"
    assert len({(new / clip).stat().st_size for clip in CLIPS}) == 1
    assert extract(new, model_dir, emb, settings(new)).already_done == len(CLIPS)
    old, other = work / "emb-other", work / "other"
    shutil.copytree(emb, old)
    shutil.copytree(new, other, copy_function=shutil.copyfile)  # another year's, of today
    before = snapshot(old)
    with pytest.raises(UsageError, match="12 have the same size and another time, 0 have the same"):
        extract(other, model_dir, old, settings(other))
    assert snapshot(old) == before


def test_more_than_a_tenth_of_other_files_is_another_collection(work, model_dir):
    new, emb = work / "old", work / "emb"
    with (new / CLIPS[0]).open("ab") as file:
        file.write(b"more")
    os.utime(new / CLIPS[1], ns=(0, 10**18))
    with (new / CLIPS[2]).open("ab") as file:
        file.write(b"more")
    before = snapshot(emb)
    with pytest.raises(
        UsageError, match="Of 12 files 0 are not there, 2 have another size, 1 have the same size"
    ):
        extract(new, model_dir, emb, settings(new))
    assert snapshot(emb) == before


def test_more_than_half_must_be_there(work, model_dir):
    new, emb = work / "old", work / "emb"
    for clip in CLIPS[:6]:
        (new / clip).unlink()
    shutil.copytree(emb, work / "again")
    done = extract(new, model_dir, emb, settings(new))
    assert (done.already_done, done.vanished) == (6, 6)
    (new / CLIPS[6]).unlink()
    with pytest.raises(UsageError, match="Of 12 files 7 are not there"):
        extract(new, model_dir, work / "again", settings(new))


def test_a_file_that_was_edited_since_is_not_taken_for_a_copy(work, model_dir):
    new, emb = work / "old", work / "emb"
    os.utime(new / CLIPS[1], ns=(0, 10**18))  # it has the size that it had
    with (new / CLIPS[0]).open("ab") as file:
        file.write(b"more")
    done = extract(new, model_dir, emb, settings(new))
    assert (done.files, done.already_done, done.changed) == (0, len(CLIPS), 2)


def test_a_part_of_a_collection_is_named_by_its_path_below_the_root(work, model_dir):
    new, emb = work / "old", work / "emb"
    shutil.copy(work / "same/a/0.wav", new / "a/new.wav")
    (new / "b/0.wav").unlink()
    (new / "a/0.wav").unlink()
    part = os.path.relpath(new / "a")
    done = extract(Path(part), model_dir, emb, settings(new))
    # What stands elsewhere is neither new nor gone.
    assert (done.files, done.already_done, done.vanished) == (1, 5, 1)
    clips = [record.clip for record in EmbeddingTable.open(emb).journal]
    assert sorted(clips) == sorted([*CLIPS, "a/new.wav"])
    done = extract(new / "a", model_dir, emb, settings(new, refresh=True))
    assert sorted(record.clip for record in EmbeddingTable.open(emb).journal) == sorted(
        [*CLIPS[1:], "a/new.wav"]
    )
    with pytest.raises(UsageError, match="not in the audio root"):
        extract(work / "same", model_dir, emb, settings(new))


def test_other_settings_are_refused_before_anything_is_written(work, save_model):
    before = snapshot(work / "emb")
    with pytest.raises(EmbeddingFolderError, match="was made with fingerprint"):
        extract(work / "old", save_model(1), work / "emb", settings(work / "old"))
    assert snapshot(work / "emb") == before


def test_a_folder_that_a_run_is_writing_is_not_moved(work, model_dir):
    before = snapshot(work / "emb")
    with only_run(work / "emb", 2, 3), pytest.raises(EmbeddingFolderError, match="another run"):
        extract(work / "old", model_dir, work / "emb", settings(work / "old"))
    assert snapshot(work / "emb") == before


def test_shares_that_begin_at_once_move_the_folder_once(work, model_dir):
    new, emb = work / "old", work / "emb"
    for clip in CLIPS:
        os.utime(new / clip, ns=(0, 10**18))
    shutil.copy(work / "same/a/0.wav", new / "a/new.wav")
    shares = [
        subprocess.Popen(
            [
                Path(sys.executable).with_name("embedkit"), "extract", new, "--out", emb,
                "--model", model_dir, "--audio-root", new, "--shard", f"{number}/2", "--json",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    ends = [(*share.communicate(timeout=PATIENCE), share.returncode) for share in shares]
    assert [code for _, _, code in ends] == [0, 0], ends
    told = [json.loads(out) for out, _, _ in ends]
    assert sum(one["files"] for one in told) == 1
    assert sum(one["already_done"] for one in told) == len(CLIPS)
    assert {one["changed"] for one in told} == {0}
    assert read_manifest(emb).audio_root == str(new.resolve())


def test_what_needs_the_sounds_finds_them_where_they_are(work, model_dir, monkeypatch):
    new, emb = work / "old", work / "emb"
    done = run("extract", new, "--out", emb, "--model", model_dir)
    assert (done.returncode, "--audio-root" in done.stderr) == (1, True)
    succeed("extract", new, "--out", emb, "--model", model_dir, "--audio-root", new)
    root = Path(EmbeddingTable.open(emb).provenance.audio_root)
    assert all(clip_path(root, clip).exists() for clip in CLIPS)
    out = work / "map.html"
    succeed("map", emb, "--out", out)
    assert out.read_text().count("data:audio") == len(CLIPS)


def labelled(work: Path, paths: list[str]) -> dict[str, str]:
    """By clip, the path whose label it gets from a manifest with these paths."""
    source = work / "labels/m.csv"
    source.parent.mkdir(exist_ok=True)
    source.write_text("path,label\n" + "".join(f"{path},{path}\n" for path in paths))
    known, _ = find_labels(CLIPS, EmbeddingTable.open(work / "emb"), str(source))
    return {name: clip.labels[0] for name, clip in known.items()}


@pytest.mark.parametrize("root", ["/gone/archive", "/gone/old/a", "elsewhere/below", "../up", "/"])
def test_labels_of_another_place_join_by_the_path_below_it(work, root):
    root = root.rstrip("/")
    paths = [f"{root}/{clip}" for clip in CLIPS]
    others = [f"{root}/c/0.wav", f"{root}/0.wav"]  # no clips of the folder
    assert labelled(work, [*paths, *others]) == dict(zip(CLIPS, paths, strict=True))


def test_labels_of_windows_join_by_the_path_below_their_folder(work):
    paths = ["D:\\sounds\\" + clip.replace("/", "\\") for clip in CLIPS]
    assert labelled(work, paths) == dict(zip(CLIPS, paths, strict=True))


def test_labels_join_below_the_folder_that_most_of_them_stand_in(work):
    paths = [f"/gone/a/{clip}" for clip in CLIPS]
    strays = [f"/other/{clip}" for clip in CLIPS[:3]]
    assert labelled(work, strays + paths) == dict(zip(CLIPS, paths, strict=True))


def test_labels_that_two_folders_could_have_given_are_refused_with_both(work):
    paths = [f"/gone/{year}/{clip}" for year in (2023, 2024) for clip in CLIPS]
    with pytest.raises(DatasetError, match=r"(?s)/gone/2023.*/gone/2024.*/a/0\.wav"):
        labelled(work, paths)


def test_labels_that_join_as_they_stand_are_never_joined_to_others_clips_too(work):
    here = [f"{work}/emb/../old/{CLIPS[0]}"]
    (work / "emb/manifest.json").write_text(
        (work / "emb/manifest.json").read_text().replace(
            read_manifest(work / "emb").audio_root, str(work / "old")
        )
    )  # fmt: skip
    far = [f"/gone/{clip}" for clip in CLIPS[1:]]
    assert labelled(work, here + far) == {CLIPS[0]: here[0]}
