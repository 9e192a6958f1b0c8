"""What a person takes away: originals, cuts, lists, ZIPs, places."""

import copy
import csv
import io
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from made import write_table_of
from pages import open_page
from patience import PATIENCE

from embedkit.web import media, reveal, take
from embedkit.web.collection import Collection
from embedkit.web.uploads import Uploads

NAMES = ["a/stereo.flac", "a/stereo.wav", "gone.wav", "b/L\u00e4rm, \u201c1\u201d.wav"]


@pytest.fixture(scope="module")
def taken(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Any, make_sound: Any
) -> Collection:
    root = tmp_path_factory.mktemp("taken")
    for number, name in enumerate(NAMES):
        if name != "gone.wav":
            samples = make_sound(4.0, 22050, seed=number, channels=2)
            write_audio(root / name, samples, 22050, subtype="PCM_16")
    rows = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    clips = dict.fromkeys(NAMES, rows)
    return Collection(write_table_of(root / "emb", clips, root=root, last_s=1.0))


@pytest.fixture
def taker(taken: Collection, uploads: Uploads, tmp_path: Path) -> Any:
    return open_page(taken, uploads, tmp_path / "labels.csv")[0]


def saved_as(done: Any) -> str:
    kind, _, name = done.headers["Content-Disposition"].partition("; filename*=UTF-8''")
    assert kind == "attachment"
    return unquote(name)


def test_an_original_is_the_file_in_ranges(taker: Any, taken: Collection) -> None:
    for name in (NAMES[0], NAMES[3]):
        clip = taken.clips.index(name)
        whole = taken.path(clip).read_bytes()
        done = taker.get(f"/original/{clip}")
        assert (done.content, saved_as(done)) == (whole, name.rpartition("/")[2])
        assert done.headers["Content-Length"] == str(len(whole))
        assert done.headers["Content-Type"].startswith("audio/")
        for asked, span in (
            ("bytes=0-0", slice(1)),
            ("bytes=100-", slice(100, None)),
            ("bytes=-7", slice(-7, None)),
        ):
            part = taker.get(f"/original/{clip}", headers={"Range": asked})
            assert (part.status_code, part.content) == (206, whole[span])
        beyond = taker.get(f"/original/{clip}", headers={"Range": f"bytes={len(whole)}-"})
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (
            416,
            f"bytes */{len(whole)}",
        )
    gone = taker.get(f"/original/{taken.clips.index('gone.wav')}")
    assert (gone.status_code, "No such file" in gone.json()["detail"]) == (422, True)


def test_a_cut_has_the_files_own_samples(taker: Any, taken: Collection) -> None:
    for name in NAMES[:2]:
        clip = taken.clips.index(name)
        done = taker.get(f"/cut/{clip}?start_s=1.25&end_s=3")
        assert saved_as(done) == "stereo_1.25-3.0s.wav"
        samples, rate = soundfile.read(io.BytesIO(done.content))
        expected, _ = soundfile.read(taken.path(clip))
        assert rate == 22050
        np.testing.assert_array_equal(samples, expected[round(1.25 * rate) : 3 * rate])
        for span in ("start_s=2&end_s=2", "start_s=3&end_s=2", "start_s=0&end_s=121"):
            done = taker.get(f"/cut/{clip}?{span}")
            assert (done.status_code, "lasts up to 120 s" in done.json()["detail"]) == (422, True)
        assert "no sound" in taker.get(f"/cut/{clip}?start_s=50&end_s=51").json()["detail"]


def test_a_shortlist_as_a_table_and_as_a_playlist(taker: Any, taken: Collection) -> None:
    odd, flac = taken.clips.index(NAMES[3]), taken.clips.index(NAMES[0])
    taker.post("/labels", json={"clip": flac, "label": "a, b"})
    items = {"items": [{"clip": odd}, {"clip": flac, "start_s": 1, "end_s": 2.5}]}
    done = taker.post("/shortlist/csv", json=items)
    assert saved_as(done) == "shortlist.csv"
    assert list(csv.reader(io.StringIO(done.text))) == [
        ["path", "start_s", "end_s", "label"],
        [NAMES[3], "", "", ""],
        [NAMES[0], "1.0", "2.5", "a, b"],
    ]
    done = taker.post("/shortlist/m3u", json=items)
    assert done.content.decode().splitlines() == [
        "#EXTM3U",
        f"#EXTINF:4,{NAMES[3]}", str(taken.path(odd)),
        f"#EXTINF:4,{NAMES[0]}", str(taken.path(flac)),
    ]  # fmt: skip
    for asked, status in (
        ({"items": [{"clip": 99}]}, 404), ({"items": [{"clip": 0}] * 1001}, 422),
        ({"items": [{"clip": 0, "start_s": 2, "end_s": 1}]}, 422), ({}, 422),
    ):  # fmt: skip
        assert taker.post("/shortlist/csv", json=asked).status_code == status
    assert taker.post("/shortlist/exe", json=items).status_code == 404


def test_a_shortlist_as_a_zip_has_what_can_be_read_and_says_what_cannot(
    taker: Any, taken: Collection
) -> None:
    clip = {name: taken.clips.index(name) for name in NAMES}
    cut = {"start_s": 1, "end_s": 2}
    items = [{"clip": clip[name]} for name in NAMES] + [
        {"clip": clip[NAMES[0]], **cut}, {"clip": clip[NAMES[1]], **cut}, {"clip": clip[NAMES[0]]},
    ]  # fmt: skip
    done = taker.post("/shortlist/zip", json={"items": items})
    assert saved_as(done) == "shortlist.zip"
    archive = zipfile.ZipFile(io.BytesIO(done.content))
    assert archive.testzip() is None
    same = "a/stereo_1.0-2.0s"
    assert archive.namelist() == [
        NAMES[0], NAMES[1], NAMES[3], f"{same}.wav", f"{same} (2).wav", "not-taken.txt",
    ]  # fmt: skip
    for name in (NAMES[0], NAMES[1], NAMES[3]):
        assert archive.read(name) == taken.path(clip[name]).read_bytes()
    for name, of in ((f"{same}.wav", NAMES[0]), (f"{same} (2).wav", NAMES[1])):
        found = soundfile.read(io.BytesIO(archive.read(name)))[0]
        expected = soundfile.read(taken.path(clip[of]))[0][22050:44100]
        np.testing.assert_array_equal(found, expected)
    assert archive.read("not-taken.txt").decode().startswith("gone.wav: cannot be opened: No such")


def test_a_zip_comes_in_pieces_and_has_a_limit(
    taker: Any, taken: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take, "CHUNK", 1000)
    clip = taken.clips.index(NAMES[1])
    total = taken.path(clip).stat().st_size
    items = {"items": [{"clip": clip}]}
    with taker.stream("POST", "/shortlist/zip", json=items) as done:
        pieces = list(done.iter_raw())
    assert len(pieces) > total / 1000
    assert max(map(len, pieces)) < 2000
    monkeypatch.setattr(take, "MOST_BYTES", total - 1)
    done = taker.post("/shortlist/zip", json=items)
    assert (done.status_code, "take fewer" in done.json()["detail"]) == (413, True)
    second = {"items": [{"clip": clip, "start_s": 0, "end_s": 1}]}
    monkeypatch.setattr(take, "MOST_BYTES", 22050 * 2 * 3 - 1)
    assert taker.post("/shortlist/zip", json=second).status_code == 413
    monkeypatch.setattr(take, "MOST_BYTES", 22050 * 2 * 3)
    assert taker.post("/shortlist/zip", json=second).status_code == 200


@pytest.mark.parametrize("name", ["../outside.wav", "/etc/passwd"])
def test_no_name_leads_out_of_the_folder(
    taken: Collection, uploads: Uploads, tmp_path: Path, name: str
) -> None:
    found = copy.copy(taken)
    found.clips = [name, *taken.clips[1:]]
    client, _ = open_page(found, uploads, tmp_path / "labels.csv", own=True)
    for asked in ("original/0", "cut/0?start_s=0&end_s=1", "path/0"):
        done = client.get(f"/{asked}")
        assert (done.status_code, "leads out of" in done.text) == (422, True), asked
    for form in ("csv", "m3u", "zip"):
        assert client.post(f"/shortlist/{form}", json={"items": [{"clip": 0}]}).status_code == 422


def test_a_path_is_told(taker: Any, taken: Collection) -> None:
    clip = taken.clips.index(NAMES[3])
    assert taker.get(f"/path/{clip}").json() == {"path": str(taken.path(clip))}
    assert media.shown(b"/a/\xe9.wav".decode("utf-8", "surrogateescape")) == r"/a/\xe9.wav"


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A screen with a file manager that writes down what it is asked to show."""
    program, told = tmp_path / "bin" / "xdg-open", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}.new && mv {told}.new {told}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return told


@pytest.mark.skipif(sys.platform != "linux", reason="of the Linux desktop")
def test_a_sound_is_shown_in_its_folder_to_who_sits_at_the_machine_alone(
    taken: Collection, uploads: Uploads, tmp_path: Path, screen: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import threading

    clip = taken.clips.index(NAMES[0])

    def show(**options: Any) -> tuple[bool, int]:
        client, stranger = open_page(taken, uploads, tmp_path / "l.csv", **options)
        told = stranger.get("/api/collection").json()["can_reveal"]
        return told, client.post(f"/reveal/{clip}").status_code

    assert show() == (False, 403)  # served to other machines
    before = set(threading.enumerate())
    assert show(own=True) == (True, 200)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert screen.read_text() == str(taken.path(clip).parent)
    monkeypatch.setenv("SSH_CONNECTION", "x")
    assert show(own=True) == (False, 403)
    monkeypatch.delenv("SSH_CONNECTION")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert show(own=True) == (False, 403)


def test_where_the_platform_can_the_file_is_selected() -> None:
    path = Path("/sounds/a b.wav")
    assert reveal.command(path, "darwin") == ["open", "-R", str(path)]
    assert reveal.command(path, "win32") == ["explorer", "/select,", str(path)]
    assert reveal.command(path, "linux") == ["xdg-open", str(path.parent)]
