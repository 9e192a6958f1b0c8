"""The explorer's server: what comes back, and that labels are never lost."""

import asyncio
import copy
import csv
import io
import os
import re
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command import run, succeed
from pages import BYTES, COOKIE, HOST, HOSTS, MARKUP, TOKEN, brute_force, open_page, unit
from patience import PATIENCE
from starlette.testclient import TestClient

from embedkit.audio.decode import decode
from embedkit.classifiers.active import suggest
from embedkit.errors import DatasetError, EmbeddingFolderError
from embedkit.labels.answers import Answers
from embedkit.search.duplicates import find_duplicates
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.web import app as web_app
from embedkit.web import sound
from embedkit.web.app import create_app
from embedkit.web.collection import Collection
from embedkit.web.edition import edition_of
from embedkit.web.guard import Guard
from embedkit.web.uploads import Uploads


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/app.py",
        "/....//....//etc/passwd", "/static/../app.py", "/vendor/..%5c..%5capp.py", "//etc/passwd",
        "/audio/../../etc/passwd", "/audio/%2fetc%2fpasswd", "/audio/a%2f0.wav",
        "/audio/-1", "/audio/99", "/audio/1e9", "/clip/99", "/spectrogram/99",
        "/segment/999999", "/export/..%2f..%2fetc",
    ],
)  # fmt: skip
def test_no_path_is_taken_from_a_request(client: Any, stranger: Any, path: str) -> None:
    for done in (client.get(path), stranger.get(path), stranger.get(f"/api{path}")):
        assert done.status_code in {404, 409, 422}
        assert b"root:" not in done.content
        assert b"import" not in done.content


def routes(guard: Any) -> list[tuple[str, str]]:
    """Method and path of all that a server answers, but for the files of the page."""
    paths = guard._app._app._app.openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_a_page_of_another_edition_is_told_so_whatever_it_asks(
    collection: Collection, uploads: Uploads, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    guard = Guard(create_app(collection, Answers(labels), uploads), HOSTS, TOKEN)
    client = TestClient(guard, base_url=f"http://{HOST}", headers=COOKIE)
    edition = client.get("/api/collection").json()["edition"]
    every = routes(guard)
    assert len(every) == 37
    every.remove(("GET", "/api/collection"))
    body = {"clip": 0, "label": "rain", "like": [0]}
    for method, path in every:
        assert path.startswith(f"/api/{edition}/"), path
        asked = re.sub(r"\{.*?\}", "0", path)
        for other in ("0" * 16, "", edition.upper() + "x", "%2e%2e", f"..%2f{edition}"):
            done = client.request(method, asked.replace(edition, other), json=body)
            assert (done.status_code, done.json()["edition"]) == (409, edition), (path, other)
            assert "load the page again" in done.json()["detail"]
            assert done.headers["X-Edition"] == edition
            assert done.headers["Cache-Control"] == "no-cache"
        bare = client.request(method, asked.replace(f"/{edition}", ""), json=body)
        assert bare.status_code == 409
        right = client.request(method, asked, json=body)
        assert right.status_code not in {405, 409}, path
        assert right.headers["X-Edition"] == edition
    assert not labels.exists()  # the one label that was right had a body that is none
    for sent in (bytes(2**20), iter([b"x"] * 100)):  # a sound is taken first: no broken connection
        done = client.post("/api/old/upload", content=sent, headers=BYTES)
        assert done.status_code == 409


def test_an_edition_is_what_the_numbers_mean(
    collection: Collection, folder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    same = edition_of(Collection(EmbeddingTable.open(folder / "emb")), labels)
    assert same == edition_of(collection, labels)

    def other(**changes: Any) -> str:
        made = copy.copy(collection)
        vars(made).update(changes)
        return edition_of(made, labels)

    table = copy.copy(collection.table)
    table.provenance = replace(table.provenance, fingerprint="0" * 64)
    first, *rest = collection.clips
    found = {
        same,
        edition_of(collection, tmp_path / "others.csv"),
        other(audio=tmp_path),
        other(clips=[f"{first}x", *rest]),
        other(clips=[*rest, first]),
        other(clip=collection.clip[::-1].copy()),
        other(start_s=collection.start_s + 0.5),
        other(end_s=collection.end_s + 0.5),
        other(table=table),
    }
    assert len(found) == 9


def test_a_sound_that_has_changed_on_the_disk_is_not_taken_from_any_cache(
    client: Any, collection: Collection, write_audio: Any, make_sound: Any
) -> None:
    clip = collection.clips.index("a/2.wav")
    path = collection.path(clip)
    kept, status = path.read_bytes(), path.stat()
    asked = [f"/audio/{clip}?end_s=2", f"/spectrogram/{clip}?end_s=2"]
    before = [client.get(each) for each in asked]
    peaks = client.get(f"/clip/{clip}").json()["peaks"]
    tags = [{"If-None-Match": done.headers["ETag"]} for done in before]
    assert tags[0] != tags[1]
    for each, tag in zip(asked, tags, strict=True):
        done = client.get(each, headers=tag)
        assert (done.status_code, done.content) == (304, b"")
        assert "no-cache" in done.headers["Cache-Control"]
    part = {"Range": "bytes=0-9", "If-Range": before[0].headers["ETag"]}
    assert client.get(asked[0], headers=part).content == before[0].content[:10]
    try:
        write_audio(path, 0.1 * make_sound(2.0, seed=99))
        assert path.stat().st_size == status.st_size  # only its time says it
        for each, tag, old in zip(asked, tags, before, strict=True):
            done = client.get(each, headers=tag)
            assert done.status_code == 200
            assert done.headers["ETag"] != old.headers["ETag"]
            assert done.content != old.content
        samples, rate = soundfile.read(io.BytesIO(client.get(asked[0]).content), dtype="float32")
        whole = np.concatenate(list(decode(path, rate)))
        np.testing.assert_allclose(samples, whole, atol=1e-4)
        assert max(client.get(f"/clip/{clip}").json()["peaks"]) < 0.5 * max(peaks)
        whole_again = client.get(asked[0], headers=part)  # not the middle of another sound
        assert (whole_again.status_code, len(whole_again.content)) == (200, len(before[0].content))
        path.unlink()
        gone = client.get(asked[0], headers=tags[0])
        assert (gone.status_code, "No such file" in gone.json()["detail"]) == (422, True)
    finally:
        path.write_bytes(kept)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_number_of_an_upload_is_nothing_to_the_next_server(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Uploads, "_embed", lambda *_: collection.search.vectors[0])
    numbers = []
    for _ in range(2):  # a restart: the edition is the same
        uploads = Uploads(collection.table.provenance)
        client, _ = open_page(collection, uploads, tmp_path / "labels.csv")
        numbers.append(client.post("/upload", content=b"x", headers=BYTES).json()["upload"])
        assert client.post("/search", json={"uploads": numbers[-1:]}).status_code == 200
    done = client.post("/search", json={"uploads": numbers[:1]})
    assert (done.status_code, "drop it again" in done.json()["detail"]) == (404, True)


def test_two_explorers_share_a_labels_file(
    collection: Collection, uploads: Uploads, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    one, two = (open_page(collection, uploads, path)[0] for _ in range(2))
    for number, name in enumerate(collection.clips):
        (one, two)[number % 2].post("/labels", json={"clip": number, "label": name[:9]})
    expected = {name: name[:9] for name in collection.clips}
    assert one.get("/labels").json() == two.get("/labels").json() == expected
    two.post("/labels", json={"clip": 0, "label": "skip"})  # leaves it out for good
    del expected[collection.clips[0]]
    assert one.get("/labels").json() == expected
    assert collection.clips[0] not in {
        card["name"] for card in one.post("/refit").json()["proposed"]
    }
    path.write_bytes(b"PK\x03\x04\xff")  # saved as a spreadsheet
    done = one.post("/labels", json={"clip": 1, "label": "x"})
    assert (done.status_code, "save it as one" in done.json()["detail"]) == (422, True)
    assert path.read_bytes() == b"PK\x03\x04\xff"
    assert one.post("/search", json={"like": [0]}).status_code == 200


def test_labels_are_read_while_others_are_given(client: Any, collection: Collection) -> None:
    """By eight threads: whoever reads sees the labels of one moment."""
    client.post("/labels", json={"clip": 0, "label": "first"})

    def work(number: int) -> list[int]:
        clip = number % len(collection.clips)
        answers = []
        for turn in range(6):
            label = {"clip": clip, "label": f"label {number} {turn}"}
            answers += [
                client.post("/labels", json=label),
                client.get("/labels"),
                client.get("/export/audacity"),
                client.post("/search", json={"like": [0], "label": "first"}),
                client.post("/shortlist/csv", json={"items": [{"clip": clip}]}),
            ]
        return [answer.status_code for answer in answers]

    with client, ThreadPoolExecutor(8) as pool:
        assert {status for done in pool.map(work, range(8)) for status in done} == {200}
    labels = client.get("/labels").json()
    assert set(labels) == set(collection.clips)
    assert all(label.endswith(" 5") for label in labels.values())


@pytest.mark.parametrize("name", ["../outside.wav", "/etc/passwd", "b/../../outside.wav"])
def test_a_clip_whose_name_leads_out_of_the_folder_is_not_served(
    folder: Path, tmp_path: Path, uploads: Uploads, name: str
) -> None:
    found = Collection(EmbeddingTable.open(folder / "emb"))
    (folder / "outside.wav").write_bytes((folder / "audio" / "a" / "0.wav").read_bytes())
    found.clips[2] = name  # as a Parquet file of somebody else may have it
    Answers(tmp_path / "labels.csv").set(name, "rain")
    client, _ = open_page(found, uploads, tmp_path / "labels.csv")
    for asked in ("audio/2", "clip/2", "spectrogram/2", "export/audacity"):
        done = client.get(f"/{asked}")
        assert (done.status_code, "leads out of" in done.text) == (422, True), asked


def test_links_in_the_folder_of_sounds_are_followed(
    collection: Collection, folder: Path, tmp_path: Path, client: Any
) -> None:
    clip = collection.clips.index("a/0.wav")
    kept, target = folder / "audio" / "a" / "0.wav", tmp_path / "elsewhere.wav"
    expected = client.get(f"/audio/{clip}").content
    kept.rename(target)
    kept.symlink_to(target)
    try:
        assert client.get(f"/audio/{clip}?end_s=100").content == expected
    finally:
        kept.unlink()
        target.rename(kept)


def test_a_slice_is_the_sound_of_its_span(client: Any, collection: Collection) -> None:
    clip = collection.clips.index("b/5.wav")
    done = client.get(f"/audio/{clip}?start_s=0.5&end_s=1.25")
    samples, rate = soundfile.read(io.BytesIO(done.content), dtype="float32")
    whole = np.concatenate(list(decode(collection.path(clip), rate)))
    np.testing.assert_allclose(samples, whole[rate // 2 : rate * 5 // 4], atol=1e-4)
    assert done.headers["Content-Type"] == "audio/wav"
    facts = client.get(f"/clip/{clip}").json()
    assert facts["duration_s"] == pytest.approx(3.5, abs=0.01)
    assert max(facts["peaks"]) == pytest.approx(np.abs(whole).max(), abs=1e-3)
    picture = client.get(f"/spectrogram/{clip}?end_s=1").content
    assert picture.startswith(b"\x89PNG")
    # At most two minutes, whatever is asked for.
    assert client.get(f"/audio/{clip}?end_s=1e9").status_code == 200
    for span in ("start_s=-1", "start_s=nan", "start_s=inf", "end_s=inf"):
        for asked in ("audio", "spectrogram"):
            assert client.get(f"/{asked}/{clip}?{span}").status_code == 422


def test_a_long_clip_is_told_by_stretches(
    client: Any, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound, "LONGEST_S", 1.0)
    clip = collection.clips.index("b/5.wav")  # 3.5 s
    rate = sound.RATE
    whole = np.abs(np.concatenate(list(decode(collection.path(clip), rate))))
    rows = collection.rows_of(clip)
    for start_s, end_s in ((0.0, 1.0), (1.0, 2.0), (3.0, 3.5)):
        facts = client.get(f"/clip/{clip}?start_s={start_s}").json()
        assert (facts["start_s"], facts["end_s"]) == (start_s, pytest.approx(end_s, abs=1e-3))
        assert facts["duration_s"] == pytest.approx(3.5, abs=1e-3)
        samples = whole[round(start_s * rate) : round(end_s * rate)]
        expected = [part.max() for part in np.array_split(samples, sound.PEAKS)]
        np.testing.assert_allclose(facts["peaks"], expected, atol=1e-3)
        inside = (collection.end_s[rows] > start_s) & (collection.start_s[rows] < end_s)
        assert [card["row"] for card in facts["segments"]] == rows[inside].tolist()
    assert client.get(f"/clip/{clip}?start_s=9").json()["segments"] == []


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        (None, 200, (0, None)),
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=10-19", 206, (10, 20)),
        ("bytes=100-", 206, (100, None)),
        ("bytes=-7", 206, (-7, None)),
        ("bytes=0-999999999999", 206, (0, None)),
        ("bytes=999999999-", 416, None),
        ("bytes=20-10", 416, None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(1000)), 200, (0, None)),
        ("bytes=-", 200, (0, None)),
        ("bytes=1-" + "9" * 100, 200, (0, None)),
        ("items=0-1", 200, (0, None)),
    ],
)
def test_ranges_are_bounded(
    client: Any, asked: str | None, status: int, span: tuple[int, int | None] | None
) -> None:
    whole = client.get("/audio/0").content
    done = client.get("/audio/0", headers={"Range": asked} if asked else {})
    assert done.status_code == status
    if span is None:
        assert done.headers["Content-Range"] == f"bytes */{len(whole)}"
    else:
        assert done.content == whole[span[0] : span[1]]


def test_the_cache_forgets_the_oldest() -> None:
    cache, made = sound.Cache(most=100), []

    def make(key: int) -> bytes:
        made.append(key)
        return bytes(40)

    for key in (1, 2, 1, 3, 1, 2):
        cache.get(key, lambda key=key: make(key))
    assert made == [1, 2, 3, 2]  # 2 was the oldest when 3 came
    cache.get(4, lambda: bytes(1000))  # larger than all: kept alone
    cache.get(4, lambda: pytest.fail("made again"))


def test_an_upload_is_embedded_as_a_query_and_bad_ones_are_refused(
    client: Any, collection: Collection, folder: Path, model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = folder / "audio" / "b" / "3.wav"
    number = client.post("/upload", content=path.read_bytes(), headers=BYTES).json()["upload"]
    found = client.post("/search", json={"uploads": [number], "top": 5}).json()["found"]
    query = QueryEmbedder(collection.table.provenance, model_dir).embed(path)
    scores = brute_force(collection, unit(query.astype(float)), len(query))
    best = [scores[collection.rows_of(clip)].max() for clip in range(len(collection.clips))]
    np.testing.assert_allclose(
        [sound["similarity"] for sound in found], np.sort(best)[:-6:-1], atol=1e-4
    )
    refused = client.post("/upload", content=b"no sound", headers=BYTES)
    assert refused.status_code == 422
    assert client.post("/upload", content=b"x").status_code == 415
    monkeypatch.setattr(web_app, "MOST_BYTES", 1000)
    assert client.post("/upload", content=bytes(1001), headers=BYTES).status_code == 413


def test_an_upload_that_has_no_model_to_go_through_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise EmbeddingFolderError("/models/x: the model that made these embeddings is not there")

    monkeypatch.setattr(Uploads, "add", refuse)
    done = client.post("/upload", content=b"x", headers=BYTES)
    assert done.status_code == 422
    assert done.json() == {"detail": "/models/x: the model that made these embeddings is not there"}


def test_a_slow_upload_ends(
    collection: Collection, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_app, "UPLOAD_S", 0.2)
    made = Guard(create_app(collection, Answers(tmp_path / "l.csv"), uploads), HOSTS, TOKEN)
    path = f"/api/{edition_of(collection, tmp_path / 'l.csv')}/upload"
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
        "headers": [(b"host", HOST.encode()), (b"content-type", b"application/octet-stream"),
                    (b"cookie", COOKIE["Cookie"].encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8765),
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(made(scope, receive, send), PATIENCE))
    assert sent[0]["status"] == 408


def test_too_many_uploads_at_once_are_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def slow(self: Uploads, content: bytes) -> int:
        begun.release()
        assert gate.wait(PATIENCE)
        return 1

    monkeypatch.setattr(Uploads, "add", slow)
    with client, ThreadPoolExecutor(5) as pool:  # one event loop for all requests
        send = partial(client.post, "/upload", content=b"x", headers=BYTES)
        waiting = [pool.submit(send) for _ in range(web_app.WAITING)]
        for _ in waiting:
            assert begun.acquire(timeout=PATIENCE)
        assert send().status_code == 429
        gate.set()
        assert [done.result().status_code for done in waiting] == [200] * web_app.WAITING
        assert send().status_code == 200


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_labels_are_on_the_disk_at_every_stroke_with_what_else_stood_there(
    collection: Collection, uploads: Uploads, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label,fold\na/0.wav,rain,1\nelsewhere.wav,wind,2\n")
    client, _ = open_page(collection, uploads, path)
    for name, label in ((MARKUP, "<b>bold</b>"), ("a/0.wav", "hail"), ("b/1.wav", "sea, far")):
        clip = collection.clips.index(name)
        done = client.post("/labels", json={"clip": clip, "label": label})
        assert done.json()[name] == label
        assert {row["path"]: row["label"] for row in read(path)}[name] == label
    client.post("/labels", json={"clip": collection.clips.index("b/1.wav"), "label": " "})
    rows = {row["path"]: row for row in read(path)}
    assert set(rows) == {"a/0.wav", "elsewhere.wav", MARKUP}
    assert (rows["a/0.wav"]["label"], rows["a/0.wav"]["fold"]) == ("hail", "1")
    assert rows["elsewhere.wav"]["fold"] == "2"
    assert Answers(path).labels == {name: row["label"] for name, row in rows.items()}
    for label in ("x" * 101, "two\nlines", "\x1b[31m"):
        assert client.post("/labels", json={"clip": 0, "label": label}).status_code == 422
    assert client.get("/export/csv").content == path.read_bytes()
    tracks = zipfile.ZipFile(io.BytesIO(client.get("/export/audacity").content))
    assert tracks.read("a/0.wav.txt").decode() == "0.000000\t1.000000\thail\n"
    raven = zipfile.ZipFile(io.BytesIO(client.get("/export/raven").content))
    assert raven.namelist() == tracks.namelist()
    assert raven.read("a/0.wav.txt").decode().splitlines()[1].split("\t")[7] == "hail"
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="has no column path"):
        Answers(tmp_path / "odd.csv")


def test_refitting_proposes_what_the_label_command_would(
    client: Any, collection: Collection
) -> None:
    known = {name: "ab"["b/" in name] for name in collection.clips[:6]}
    for name, label in known.items():
        clip = collection.clips.index(name)
        client.post("/labels", json={"clip": clip, "label": label})
    found = client.post("/refit").json()
    names, vectors = collection.table.clip_vectors()
    expected, classifier = suggest(names, vectors, known, (), 12)
    assert classifier is not None
    assert [(card["name"], card["guess"]) for card in found["proposed"]] == [
        (clip, guess) for clip, guess, _ in expected.proposed
    ]
    assert (found["labelled"], found["accuracy"]) == (6, expected.accuracy)
    clip = collection.clips.index("b/5.wav")
    facts = client.get(f"/clip/{clip}").json()
    scores = classifier.scores(collection.search.vectors[collection.rows_of(clip)])
    np.testing.assert_allclose(facts["scores"], scores, atol=1e-3)
    assert facts["labels"] == list(classifier.labels)


def test_what_was_passed_over_is_not_proposed(client: Any, collection: Collection) -> None:
    client.post("/labels", json={"clip": 3, "label": "skip"})
    found = client.post("/refit", json={"passed": [0, 5, 10**9]}).json()
    assert {each["clip"] for each in found["proposed"]} == set(range(8)) - {0, 3, 5}
    assert (found["clips"], found["skipped"], found["labelled"]) == (8, 1, 0)


def test_scores_are_of_the_labels_as_they_stand(client: Any, collection: Collection) -> None:
    assert client.get("/clip/2").json()["labels"] == []
    for given in ({0: "a", 1: "b"}, {0: "a", 1: "c", 4: "b"}):
        for clip, label in given.items():
            client.post("/labels", json={"clip": clip, "label": label})
        known = {collection.clips[clip]: label for clip, label in given.items()}
        names, vectors = collection.table.clip_vectors()
        classifier = suggest(names, vectors, known, (), 0)[1]
        assert classifier is not None
        facts = client.get("/clip/2").json()
        assert facts["labels"] == list(classifier.labels)
        scores = classifier.scores(collection.search.vectors[collection.rows_of(2)])
        np.testing.assert_allclose(facts["scores"], scores, atol=1e-3)


def test_the_collection_is_told_as_it_is(
    client: Any, stranger: Any, collection: Collection
) -> None:
    facts = stranger.get("/api/collection").json()
    assert (facts["files"], facts["clips"], sum(facts["errors"].values())) == (9, 8, 1)
    assert facts["failed"][0]["clip"] == "bad.wav"
    assert facts["hours"] == pytest.approx(sum(1 + 0.5 * n for n in range(8)) / 3600, rel=1e-3)
    assert facts["segments"] == len(collection.clip)
    table = np.frombuffer(client.get("/segments").content, np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(table[:, 0], collection.clip)
    assert client.get("/clips").json()["names"] == collection.clips
    pairs = [
        (pair["one"]["name"], pair["other"]["name"], pair["similarity"])
        for pair in client.get("/duplicates").json()
    ]
    assert pairs == [
        (pair.clip, pair.other, pair.similarity) for pair in find_duplicates(collection.table, 0.98)
    ]
    assert "no-referrer" in stranger.get("/").headers["Referrer-Policy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--projection", "mds"), "no projection 'mds'; there are: pca"),
        (("--audio", "nowhere"), "nowhere: no such folder; say where the sounds are"),
        (("--host", "192.0.2.1", "--port", "1"), "192.0.2.1, port 1: "),
        (("--token", "password"), "--token: it can be guessed; at least 16 characters"),
        (("--allow-host", "http://birds"), "--allow-host http://birds: expected a name"),
    ],
)
def test_wrong_usage_is_said(folder: Path, options: tuple[str, ...], message: str) -> None:
    done = run("explore", folder / "emb", *options)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_the_help_names_the_loopback() -> None:
    assert "answers only this machine" in " ".join(succeed("explore", "--help").split())
