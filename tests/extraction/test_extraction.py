"""A folder of every kind of sound file, good and bad, through every way of running it."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from killed import kill_midway
from numpy.typing import NDArray
from patience import until

from embedkit.audio.decode import Channel, decode
from embedkit.audio.files import Skipped
from embedkit.errors import AudioError, EmbeddingFolderError, Kind, UsageError
from embedkit.extraction import Extraction, Settings, extract
from embedkit.models.module import ExtractorModule
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    Rows,
    only_run,
    read_manifest,
)

Samples = NDArray[np.float32]
Make = Callable[..., Samples]
Write = Callable[..., Path]

RATE = 16000
TOLERANCE = 1e-5  # what one clip, one vector means, however it was computed

# Every file of the folder: what kind it must end with, and how many rows it may have.
GOOD, DAMAGED, BAD = range(1, 99), range(1, 4), range(1)
EXPECTED: dict[str, tuple[str, range]] = {
    "one-sample.wav": ("", range(1, 2)),
    "short.wav": ("", range(1, 2)),
    "eight-channels.wav": ("", range(2, 3)),
    "192-khz.wav": ("", range(2, 3)),
    "same-stem.flac": ("", range(3, 4)),
    "same-stem.mp3": ("", GOOD),
    "same-stem.ogg": ("", GOOD),
    "sub/größer 🎵.wav": ("", range(1, 2)),
    "sub/without-suffix": ("", range(1, 2)),
    "half.wav": (Kind.TRUNCATED, DAMAGED),
    "half.flac": (Kind.TRUNCATED, DAMAGED),
    "half.ogg": (Kind.TRUNCATED, DAMAGED),
    "half.mp3": (Kind.TRUNCATED, DAMAGED),
    "nan-later.wav": (Kind.NON_FINITE, DAMAGED),
    "nan.wav": (Kind.NON_FINITE, BAD),
    "empty.wav": (Kind.EMPTY, BAD),
    "corrupt.wav": (Kind.UNREADABLE, BAD),
    "text.mp3": (Kind.UNREADABLE, BAD),
    "broken-link.wav": (Kind.UNREADABLE, BAD),
    "link-ring.wav": (Kind.UNREADABLE, BAD),
    "pipe.wav": (Kind.NOT_A_FILE, BAD),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_sound: Make, write_audio: Write) -> Path:
    root = tmp_path_factory.mktemp("sound")
    write_audio(root / "one-sample.wav", make_sound(1 / RATE))
    write_audio(root / "short.wav", make_sound(0.3, seed=1))
    write_audio(root / "eight-channels.wav", make_sound(1.2, seed=2, channels=8))
    write_audio(root / "192-khz.wav", make_sound(1.1, 192000, seed=3), 192000)
    write_audio(root / "same-stem.flac", make_sound(2.4, 44100, seed=4, channels=2), 44100)
    write_audio(root / "same-stem.mp3", make_sound(1.5, seed=5))
    write_audio(root / "same-stem.ogg", make_sound(1.5, seed=6))
    write_audio(root / "sub/größer 🎵.wav", make_sound(1, seed=7))
    write_audio(root / "sub/without-suffix", make_sound(0.7, seed=8), format="FLAC")
    for seed, suffix in enumerate(("wav", "flac", "ogg", "mp3")):
        path = write_audio(root / f"half.{suffix}", make_sound(4, seed=10 + seed))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sound = make_sound(2, seed=20)
    sound[20000:] = np.nan
    write_audio(root / "nan-later.wav", sound, subtype="FLOAT")
    write_audio(root / "nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
    (root / "empty.wav").touch()
    (root / "corrupt.wav").write_bytes(np.random.default_rng(0).bytes(9999))
    (root / "text.mp3").write_text("just words\n" * 99)
    (root / "broken-link.wav").symlink_to("nowhere.wav")
    (root / "link-ring.wav").symlink_to("link-ring.wav")
    os.mkfifo(root / "pipe.wav")
    (root / "notes.txt").write_text("not audio")
    (root / "sub/._short.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(99))
    (root / ".Trash-1000/files").mkdir(parents=True)
    shutil.copy(root / "short.wav", root / ".Trash-1000/files")
    (root / "sub/back").symlink_to("..")
    return root


@pytest.fixture(scope="module")
def extractor(model_dir: Path) -> ExtractorModule:
    return ExtractorModule.load(model_dir)


def waveform(path: Path) -> Samples:
    """What can be decoded of a file, as one array."""
    blocks = [np.zeros(0, np.float32)]
    with suppress(AudioError):
        blocks.extend(decode(path, RATE))
    return np.concatenate(blocks)


@pytest.fixture(scope="module")
def single(root: Path, extractor: ExtractorModule) -> Rows:
    """The rows that the folder must give: each file decoded whole and embedded by itself."""
    columns: list[list[object]] = [[], [], [], [], []]
    for clip in sorted(EXPECTED):
        sound = waveform(root / clip)
        if len(sound):
            for index, vector in enumerate(extractor.embed(sound)):
                end_s = min(index + 1, len(sound) / RATE)
                for column, value in zip(columns, (clip, index, index, end_s, vector), strict=True):
                    column.append(value)
    return Rows(*map(np.array, columns))


def read(folder: Path) -> Rows:
    return EmbeddingTable.open(folder).rows()


def check_equal(found: Rows, expected: Rows) -> None:
    assert found.clips.tolist() == expected.clips.tolist()
    for name in ("segments", "start_s", "end_s"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.embeddings, expected.embeddings, rtol=0, atol=TOLERANCE)


def snapshot(folder: Path) -> dict[str, int]:
    """Every part with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*")}


@pytest.fixture(scope="module")
def done(root: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("done") / "emb"
    run = extract(root, model_dir, folder, Settings(batch_size=5))
    assert (run.files, run.already_done) == (len(EXPECTED), 0)
    assert run.skipped == Skipped(
        not_audio=Counter({".txt": 1}), left_alone=Counter({"AppleDouble": 1, ".Trash-*": 1})
    )
    assert sorted(record.clip for record in run.failures) == sorted(
        clip for clip, (kind, _) in EXPECTED.items() if kind
    )
    return folder


def test_every_file_ends_once_with_its_kind_and_its_rows(done, root):
    table = EmbeddingTable.open(done)
    clips = table.rows().clips.tolist()
    assert [record.clip for record in table.journal] == sorted(EXPECTED)
    for record in table.journal:
        kind, rows = EXPECTED[record.clip]
        assert record.kind == kind, record
        assert bool(record.message) == bool(kind), record
        assert record.rows in rows, record
        assert clips.count(record.clip) == record.rows
        assert record.duration_s == len(waveform(root / record.clip)) / RATE
        if not (root / record.clip).is_symlink():
            status = (root / record.clip).stat()
            assert (record.size, record.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert table.provenance.audio_root == str(root.resolve())


def test_vectors_tell_clips_apart_far_beyond_the_tolerance(single):
    """Else the tests of equality would say nothing."""
    distances = np.abs(single.embeddings[:, None] - single.embeddings[None]).max(axis=2)
    assert distances[~np.eye(len(distances), dtype=bool)].min() > 50 * TOLERANCE


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (5, 1), (64, 1), (5, 2)])
def test_batched_and_parallel_equals_one_clip_at_a_time(
    root, model_dir, single, tmp_path, batch_size, workers
):
    extract(root, model_dir, tmp_path / "emb", Settings(batch_size=batch_size, workers=workers))
    check_equal(read(tmp_path / "emb"), single)
    shards = {path.name.split("-")[1] for path in (tmp_path / "emb/files").iterdir()}
    assert len(shards) == workers


def test_a_second_run_adds_nothing(done, root, model_dir):
    before = snapshot(done)
    run = extract(root, model_dir, done)
    assert (run.files, run.rows, run.already_done) == (0, 0, len(EXPECTED))
    assert snapshot(done) == before


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, make_sound: Make, write_audio: Write) -> Path:
    root = tmp_path_factory.mktemp("small")
    for seed in range(6):
        write_audio(root / f"{seed}.wav", make_sound(0.6 + seed / 5, seed=seed))
    return root


@pytest.fixture(scope="module")
def whole(small: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """What a run over `small` that nothing disturbed gives."""
    folder = tmp_path_factory.mktemp("whole") / "emb"
    assert extract(small, model_dir, folder).files == 6
    return EmbeddingTable.open(folder)


def test_a_file_that_comes_later_is_added_and_the_others_are_left_alone(
    whole, small, model_dir, extractor, tmp_path, make_sound, write_audio
):
    root, emb = tmp_path / "sound", tmp_path / "emb"
    shutil.copytree(small, root)
    extract(root, model_dir, emb)
    before = snapshot(emb)
    path = write_audio(root / "0/new.flac", make_sound(1.3, seed=99))
    run = extract(root, model_dir, emb)
    assert (run.files, run.rows, run.already_done) == (1, 2, 6)
    assert snapshot(emb).items() > before.items()
    rows, old = read(emb), whole.rows()
    assert rows.clips.tolist() == [*old.clips[:1], *["0/new.flac"] * 2, *old.clips[1:]]
    expected = np.insert(old.embeddings, [1, 1], extractor.embed(waveform(path)), axis=0)
    np.testing.assert_allclose(rows.embeddings, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fingerprint", {"seed": 1}),
        ("hop_s", {"hop_s": 0.5}),
        ("channel", {"channel": Channel.parse("left")}),
    ],
)
def test_going_on_with_another_setting_is_refused_by_its_name(
    done, root, model_dir, save_model, name, change
):
    before = snapshot(done)
    seed = change.pop("seed", None)
    with pytest.raises(EmbeddingFolderError, match=f"was made with {name} "):
        extract(root, model_dir if seed is None else save_model(seed), done, Settings(**change))
    assert snapshot(done) == before


def test_going_on_with_another_audio_folder_is_refused(done, model_dir, small):
    with pytest.raises(EmbeddingFolderError, match="was made with audio_root "):
        extract(small, model_dir, done)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"workers": 0}, {"hop_s": 1.5}])
def test_a_setting_out_of_range_is_refused_before_anything_is_written(
    small, model_dir, tmp_path, change
):
    with pytest.raises(UsageError):
        extract(small, model_dir, tmp_path / "emb", Settings(**change))
    assert not (tmp_path / "emb").exists()


def test_a_folder_that_another_run_is_writing_is_refused(small, model_dir, tmp_path):
    emb = tmp_path / "emb"
    extract(small / "0.wav", model_dir, emb)
    with (
        EmbeddingWriter(emb, EmbeddingTable.open(emb).provenance),
        pytest.raises(EmbeddingFolderError, match="another run is writing"),
    ):
        extract(small, model_dir, emb)
    done = extract(small, model_dir, emb)
    assert done.already_done + done.files == 6


def test_a_run_killed_midway_and_run_again_gives_the_rows_of_a_whole_run(
    whole, small, model_dir, tmp_path
):
    emb = tmp_path / "emb"
    kill_midway(small, model_dir, emb)
    left = sorted(path.relative_to(emb).as_posix() for path in emb.glob("*/*"))
    assert re.fullmatch(r"files/\.part-00000-00001\.parquet\.\d+-\w+\.tmp", left.pop(0))
    assert left == [
        "files/part-00000-00000.parquet",
        "rows/part-00000-00000.parquet",
        "rows/part-00000-00001.parquet",
    ]
    run = extract(small, model_dir, emb)
    assert (run.already_done, run.files) == (1, 5)
    assert list(emb.glob("*/.*")) == []
    check_equal(read(emb), whole.rows())
    assert EmbeddingTable.open(emb).journal == whole.journal


def test_a_run_interrupted_by_ctrl_c_and_run_again_gives_the_rows_of_a_whole_run(
    whole, small, model_dir, tmp_path
):
    def interrupt(run: Extraction) -> None:
        assert run.total_files == 6
        if run.files >= 3:
            raise KeyboardInterrupt

    emb = tmp_path / "emb"
    with pytest.raises(KeyboardInterrupt):
        extract(small, model_dir, emb, Settings(batch_size=2), interrupt)
    run = extract(small, model_dir, emb)
    assert run.already_done + run.files == 6
    check_equal(read(emb), whole.rows())
    assert EmbeddingTable.open(emb).journal == whole.journal


@pytest.mark.parametrize("hop_s", [0.25, 0.4])
def test_overlapping_segments_equal_windows_cut_by_hand(
    small, model_dir, extractor, tmp_path, hop_s
):
    path = small / "5.wav"
    done = extract(path, model_dir, tmp_path / "emb", Settings(hop_s=hop_s))
    sound, hop = waveform(path), round(hop_s * RATE)
    assert done.audio_s == pytest.approx(len(sound) / RATE)  # what overlaps counts once
    number = 1 + math.ceil((len(sound) - RATE) / hop)
    starts = np.arange(number) * hop
    windows = [sound[start : start + RATE] for start in starts]
    vectors = [extractor.embed(np.pad(w, (0, RATE - len(w))))[0] for w in windows]
    expected = Rows(
        clips=np.array(["5.wav"] * number, object),
        segments=np.arange(number),
        start_s=starts / RATE,
        end_s=np.minimum(starts + RATE, len(sound)) / RATE,
        embeddings=np.array(vectors),
    )
    check_equal(read(tmp_path / "emb"), expected)


def test_the_channel_asked_for_is_embedded_and_files_without_it_say_so(
    tmp_path, model_dir, extractor, make_sound, write_audio
):
    sounds = [make_sound(1, seed=seed) for seed in (1, 2)]
    write_audio(tmp_path / "in/both.wav", np.stack(sounds, axis=1), subtype="FLOAT")
    write_audio(tmp_path / "in/mono.wav", sounds[0], subtype="FLOAT")
    extract(tmp_path / "in", model_dir, tmp_path / "emb", Settings(channel=Channel.parse("right")))
    table = EmbeddingTable.open(tmp_path / "emb")
    kinds = [(record.clip, record.kind) for record in table.journal]
    assert kinds == [("both.wav", ""), ("mono.wav", Kind.NO_CHANNEL)]
    found = table.rows().embeddings
    np.testing.assert_allclose(found, extractor.embed(sounds[1]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("clip", ["same-stem.flac", "one-sample.wav", "half.flac"])
def test_a_query_is_the_vector_of_its_clip(done, root, clip):
    table = EmbeddingTable.open(done)
    clips, vectors = table.clip_vectors()
    found = QueryEmbedder(table.provenance).embed(root / clip)
    np.testing.assert_allclose(found, vectors[clips.index(clip)], rtol=0, atol=TOLERANCE)


def test_a_query_uses_the_hop_and_the_channel_of_the_folder(
    tmp_path, model_dir, make_sound, write_audio
):
    path = write_audio(tmp_path / "in/a.wav", make_sound(1.7, channels=2))
    extract(path, model_dir, tmp_path / "emb", Settings(hop_s=0.3, channel=Channel.parse("right")))
    table = EmbeddingTable.open(tmp_path / "emb")
    found = QueryEmbedder(table.provenance).embed(path)
    np.testing.assert_allclose(found, table.clip_vectors()[1][0], rtol=0, atol=TOLERANCE)


def test_a_query_that_gives_nothing_says_why(done, root, save_model):
    provenance = EmbeddingTable.open(done).provenance
    with pytest.raises(AudioError, match=r"text\.mp3") as error:
        QueryEmbedder(provenance).embed(root / "text.mp3")
    assert error.value.kind == Kind.UNREADABLE
    with pytest.raises(UsageError, match=r"no-such\.wav"):
        QueryEmbedder(provenance).embed(root / "no-such.wav")
    with pytest.raises(EmbeddingFolderError, match="not the model that made these"):
        QueryEmbedder(provenance, model=save_model(1)).embed(root / "short.wav")


def test_a_whole_run_keeps_other_runs_off_whatever_their_number_of_workers(
    root: Path, model_dir: Path, tmp_path: Path
) -> None:
    with only_run(tmp_path / "emb"), pytest.raises(EmbeddingFolderError, match="another run"):
        extract(root, model_dir, tmp_path / "emb", Settings(workers=3))


def test_workers_end_with_a_parent_that_is_killed(
    model_dir: Path, tmp_path: Path, make_sound: Make, write_audio: Write
) -> None:
    for seed in range(40):
        write_audio(tmp_path / "audio" / f"{seed}.wav", make_sound(5, seed=seed))
    emb = tmp_path / "emb"
    code = (
        "import sys; from pathlib import Path; from embedkit.extraction import Settings, extract\n"
    )
    code += "if __name__ == '__main__': extract(*map(Path, sys.argv[1:]), Settings(workers=2))"
    script = tmp_path / "run.py"  # a spawned worker imports its parent's main module
    script.write_text(code)
    places = map(str, (tmp_path / "audio", model_dir, emb))
    parent = subprocess.Popen([sys.executable, script, *places])
    until(lambda: parent.poll() is not None or (emb / ".lock-00001").exists(), "it never begins")
    assert parent.poll() is None
    parent.kill()
    parent.wait()

    def left() -> bool:
        with suppress(EmbeddingFolderError):  # a worker that lives on holds its shard
            for shard in (0, 1):
                EmbeddingWriter(emb, read_manifest(emb), shard).__exit__(None, None, None)
            return True
        return False

    until(left, "the workers live on")
    extract(tmp_path / "audio", model_dir, emb)
    rows = EmbeddingTable.open(emb).rows()
    assert [f"{clip}/{n}" for clip, n in zip(rows.clips, rows.segments, strict=True)] == sorted(
        f"{seed}.wav/{n}" for seed in range(40) for n in range(5)
    )


def test_a_sound_track_without_a_decoder_is_one_bad_file(
    model_dir: Path, tmp_path: Path, make_sound: Make, write_audio: Write
) -> None:
    path = write_audio(tmp_path / "audio" / "odd.wav", make_sound(1))
    data = bytearray(path.read_bytes())
    data[20:22] = b"\x99\x99"  # the format tag
    path.write_bytes(data)
    write_audio(tmp_path / "audio" / "good.wav", make_sound(1))
    done = extract(tmp_path / "audio", model_dir, tmp_path / "emb")
    assert [(record.clip, record.kind) for record in done.failures] == [("odd.wav", "unreadable")]
    assert done.files == 2


def test_a_file_that_changed_since_is_counted(
    model_dir: Path, tmp_path: Path, make_sound: Make, write_audio: Write
) -> None:
    path = write_audio(tmp_path / "audio" / "a.wav", make_sound(1))
    assert extract(tmp_path / "audio", model_dir, tmp_path / "emb").changed == 0
    assert extract(tmp_path / "audio", model_dir, tmp_path / "emb").changed == 0
    write_audio(path, make_sound(2))
    again = extract(tmp_path / "audio", model_dir, tmp_path / "emb")
    assert (again.changed, again.files) == (1, 0)
