import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedkit.atomic import atomic_write
from embedkit.audio.files import (
    MOST,
    NAMED,
    Skipped,
    clip_name,
    count_text,
    find_audio,
    require_audio,
    walk,
)
from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.store import clip_path

Write = Callable[..., Path]

SILENCE = np.zeros(160, np.float32)


def names(root: Path) -> list[str]:
    return [clip_name(path, root) for path in find_audio(root).paths]


@pytest.fixture
def wav(write_audio: Write) -> Callable[[Path], Path]:
    return lambda path: write_audio(path, SILENCE, format="WAV")


def test_audio_is_found_in_subfolders_and_sorted_by_name(tmp_path, wav):
    for name in ("b.wav", "a/z.wav", "a.wav", "B.WAV", "a/b/c.wav", "a-b.wav"):
        wav(tmp_path / name)
    assert names(tmp_path) == ["B.WAV", "a-b.wav", "a.wav", "a/b/c.wav", "a/z.wav", "b.wav"]


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_content_makes_a_file_audio_whatever_its_suffix(tmp_path, write_audio, form):
    sound = np.tile(SILENCE, 100)  # an empty FLAC has no byte, a short MP3 no frame
    for name in ("bare", "data.dat", "notes.txt"):
        write_audio(tmp_path / name, sound, format=form)
    assert names(tmp_path) == ["bare", "data.dat", "notes.txt"]


def test_files_that_are_neither_named_like_audio_nor_audio_are_counted(tmp_path, wav):
    wav(tmp_path / "good.wav")
    (tmp_path / "readme.txt").write_text("words " * 100)
    (tmp_path / "empty").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "score.mid").write_bytes(b"MThd" + bytes(100))
    (tmp_path / "dead").symlink_to("nowhere")
    listing = find_audio(tmp_path)
    assert [path.name for path in listing.paths] == ["good.wav"]
    assert listing.skipped == Skipped(
        not_audio=Counter({".txt": 1, "without a suffix": 2, ".png": 1, ".mid": 1})
    )


@pytest.mark.parametrize("name", ["text.mp3", "text.MP3", "text.wave", "text.opus"])
def test_a_text_file_named_like_audio_is_listed(tmp_path, name):
    (tmp_path / name).write_text("words " * 100)
    listing = find_audio(tmp_path)
    assert (listing.paths, listing.skipped) == ([tmp_path / name], Skipped())


def test_links_that_lead_nowhere_and_links_in_a_ring_are_listed(tmp_path):
    (tmp_path / "broken.wav").symlink_to("nowhere.wav")
    (tmp_path / "ring.wav").symlink_to("gnir.wav")
    (tmp_path / "gnir.wav").symlink_to("ring.wav")
    (tmp_path / "self.wav").symlink_to("self.wav")
    assert names(tmp_path) == ["broken.wav", "gnir.wav", "ring.wav", "self.wav"]


def test_pipes_and_sockets_are_listed_if_named_like_audio_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
    listing = find_audio(tmp_path)
    assert [path.name for path in listing.paths] == ["pipe.wav", "socket.wav"]
    assert listing.skipped.not_audio == {"without a suffix": 1}


@pytest.mark.parametrize("target", [".", "..", "../a", "../a/b", "../.."])
def test_folder_links_inside_the_root_or_above_it_list_nothing_twice(tmp_path, wav, target):
    root = tmp_path / "root"
    wav(root / "top.wav")
    wav(root / "a/b/deep.wav")
    (root / "a/link").symlink_to(target)
    (root / "0").symlink_to("a/b")  # comes before what it leads to, and takes nothing from there
    assert names(root) == ["a/b/deep.wav", "top.wav"]


def test_a_folder_outside_is_followed_once_however_many_links_lead_to_it(tmp_path, wav):
    root, outside = tmp_path / "root", tmp_path / "outside"
    wav(root / "mine.wav")
    wav(outside / "sub/other.wav")
    wav(outside / "sub/deep/more.wav")
    (outside / "back").symlink_to(root)
    (outside / "again").symlink_to(outside)
    (root / "link1").symlink_to(outside)
    (root / "link2").symlink_to(outside)
    (root / "link3").symlink_to(outside / "sub")
    assert names(root) == ["link1/sub/deep/more.wav", "link1/sub/other.wav", "mine.wav"]


def test_a_root_that_is_a_link_is_followed(tmp_path, wav):
    wav(tmp_path / "real/a.wav")
    (tmp_path / "link").symlink_to("real")
    assert names(tmp_path / "link") == ["a.wav"]


def test_one_file_as_root_is_listed_by_its_name(tmp_path, wav):
    path = wav(tmp_path / "one.wav")
    assert names(path) == ["one.wav"]


def test_a_root_that_does_not_exist_is_refused_by_its_name(tmp_path):
    with pytest.raises(UsageError, match="nothing-here"):
        find_audio(tmp_path / "nothing-here")


@pytest.mark.parametrize("look", [find_audio, require_audio])
def test_a_folder_without_audio_is_refused_with_what_is_there(tmp_path, wav, look):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(UsageError, match=r"no audio file below .*/root: it is empty"):
        look(root)
    for name in ("a.txt", "b.TXT", "c.pdf"):
        (root / name).write_text("words")
    (root / "@eaDir").mkdir()
    with pytest.raises(
        UsageError, match=r"no audio file below .*/root: there are 2 \.txt, 1 \.pdf; 1 @eaDir"
    ):
        look(root)
    wav(root / "sub/a.wav")
    look(root)


def test_odd_suffixes_neither_fill_memory_nor_reach_the_terminal(tmp_path, wav):
    wav(tmp_path / "a.wav")
    for number in range(MOST + 50):
        (tmp_path / f"log.{number:04}").touch()
    for suffix in (b"\x1b[2J", b"t\xe9", b"x" * 99):
        (tmp_path / os.fsdecode(b"!odd." + suffix)).touch()  # sorted before the others
    counts = find_audio(tmp_path).skipped.not_audio
    assert counts.total() == MOST + 53
    assert len(counts) <= MOST + 1
    assert {".\\x1b[2j", ".t\\xe9"} < counts.keys()
    assert max(map(len, counts)) < 30
    text = count_text(counts)
    assert text.isprintable()
    assert sum(int(part.split()[0]) for part in text.split(", ")) == MOST + 53
    assert text.count(",") == NAMED


def test_most_frequent_suffixes_are_named_first():
    counts = Counter({f".{number}": number for number in range(1, 12)})
    assert count_text(counts) == "11 .11, 10 .10, 9 .9, 8 .8, 7 .7, 6 .6, 5 .5, 4 .4, 6 more"
    assert count_text(Counter({".txt": 2, ".pdf": 1})) == "2 .txt, 1 .pdf"


@pytest.mark.parametrize(
    "name",
    [".Trash-1000", ".Trash", ".Trashes", "$RECYCLE.BIN", "$Recycle.Bin", "@eaDir", "#recycle",
     ".Spotlight-V100", ".fseventsd", "System Volume Information", "lost+found", ".AppleDouble"],
)  # fmt: skip
def test_the_folders_of_systems_are_left_alone_and_counted(tmp_path, wav, name):
    wav(tmp_path / "a.wav")
    wav(tmp_path / "sub" / name / "files/deleted.wav")
    wav(tmp_path / f"{name}.wav")  # a file's name is the user's
    listing = find_audio(tmp_path)
    assert sorted(path.name for path in listing.paths) == sorted(["a.wav", f"{name}.wav"])
    assert listing.skipped.not_audio == {}
    assert listing.skipped.left_alone.total() == 1
    assert list(listing.skipped.left_alone) == [name.replace("1000", "*")]
    # Whoever names it wants it.
    assert names(tmp_path / "sub" / name) == ["files/deleted.wav"]


def test_apple_double_is_known_by_its_first_bytes_and_not_by_its_name(tmp_path, wav):
    """RFC 1740: what macOS writes beside a file on disks that cannot hold its attributes."""
    apple_double = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000)
    for name in ("._a.wav", "._b.mp3", "._c", "sub/._d.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(apple_double)
    wav(tmp_path / "a.wav")
    wav(tmp_path / "._real.wav")
    wav(tmp_path / "._real")
    (tmp_path / "._text.wav").write_text("not AppleDouble, so an error that names it")
    listing = find_audio(tmp_path)
    assert [path.name for path in listing.paths] == [
        "._real", "._real.wav", "._text.wav", "a.wav"
    ]  # fmt: skip
    assert listing.skipped == Skipped(left_alone=Counter({"AppleDouble": 4}))


def test_a_suffix_of_audio_alone_is_believed_without_opening_the_file(tmp_path, monkeypatch):
    """A million of them must be listed in a moment."""
    for name in ("a.wav", "b.FLAC", "c.dsf", "d.gsm", "e.sph", "f.voc", "g.avr", "h.8svx"):
        (tmp_path / name).touch()
    (tmp_path / "main.ts").write_text("export const x = 1;")

    opened = []
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *how: opened.append(path.name) or real(path, *how)
    )
    assert [found.is_audio for found in walk(tmp_path)] == [True] * 8 + [False]
    assert opened == ["main.ts"]


@pytest.mark.parametrize(
    ("raw", "clip"),
    [
        (b"caf\xe9.wav", "caf\\xe9.wav"),  # Latin-1
        (b"\xff\xfe/x.wav", "\\xff\\xfe/x.wav"),
        (b"two  words .wav", "two  words .wav"),
        (b"new\nline.wav", "new\nline.wav"),
        ("🎵 größer.wav".encode(), "🎵 größer.wav"),
        (b"-rf.wav", "-rf.wav"),
        (rb"\xe9.wav", r"\x5cxe9.wav"),  # of which a name in Latin-1 would be another file
        (rb"\x5cxe9.wav", r"\x5cx5cxe9.wav"),
        (rb"a\b\x41.wav", r"a\b\x41.wav"),
        (b"..wav/a.wav", "..wav/a.wav"),
    ],
)
def test_any_name_is_found_and_becomes_utf8_text(tmp_path, wav, raw, clip):
    path = wav(tmp_path / os.fsdecode(raw))
    assert names(tmp_path) == [clip]
    assert clip.encode()  # without surrogates
    assert clip_path(tmp_path, clip) == path


@pytest.mark.parametrize("clip", ["../a.wav", "a/../../b.wav", "/etc/passwd", "a\0.wav"])
def test_a_name_that_leads_out_of_the_folder_is_no_path(tmp_path, clip):
    with pytest.raises(EmbeddingFolderError, match="leads out of"):
        clip_path(tmp_path, clip)


def test_one_stem_with_several_suffixes_is_several_clips(tmp_path, wav):
    for name in ("a.wav", "a.mp3", "a", "a.wav.wav"):
        wav(tmp_path / name)
    assert names(tmp_path) == ["a", "a.mp3", "a.wav", "a.wav.wav"]


def test_atomic_write_replaces_the_file_and_makes_its_folder(tmp_path):
    path = tmp_path / "new/file.bin"
    for content in (b"old", b"newer"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_atomic_write_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the new")
            file.flush()
            assert path.read_bytes() == b"old"  # nothing shows before the end
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_two_that_write_one_path_at_once_both_succeed_and_the_later_end_stands(tmp_path):
    path = tmp_path / "file.bin"
    with atomic_write(path) as first:
        first.write(b"first")
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_name_as_long_as_a_name_may_be_is_written(tmp_path):
    path = tmp_path / ("ä" * 125 + ".json")  # 255 bytes
    with atomic_write(path) as file:
        file.write(b"{}")
    assert path.read_bytes() == b"{}"


WRITE_AND_WAIT = """
import sys
from pathlib import Path
from embedkit.atomic import atomic_write

with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"whole")
    file.flush()
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_goes_and_what_a_live_one_writes_stays(tmp_path):
    names = ("killed", "living")
    processes = {}
    for name in names:
        processes[name] = subprocess.Popen(
            [sys.executable, "-c", WRITE_AND_WAIT, tmp_path / name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert processes[name].stdout.readline() == b"begun\n"
    processes["killed"].kill()
    processes["killed"].communicate()
    hidden = {path.name.split(".")[1] for path in tmp_path.iterdir()}
    assert hidden == set(names)
    mine = tmp_path / ".mine.tmp"  # hidden files of others are not ours to remove
    mine.touch()
    with atomic_write(tmp_path / "new") as file:
        file.write(b"x")
    left = {path.name.split(".")[1] for path in tmp_path.glob(".*")}
    assert left == {"living", "mine"}
    processes["living"].communicate()
    assert processes["living"].returncode == 0
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "living", "new"]
    assert (tmp_path / "living").read_bytes() == b"whole"
