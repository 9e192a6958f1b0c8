"""Files with several sound tracks: the oracle is the tone that each of them has."""

import dataclasses
import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from test_damage import packets
from test_decode import collect

from embedkit.audio.decode import decode, probe
from embedkit.errors import AudioError, EmbeddingFolderError, Kind, UsageError
from embedkit.extraction import Settings, extract
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import MANIFEST, EmbeddingTable, read_manifest

Samples = NDArray[np.float32]
RATE = 16000


def tone(hertz: float, seconds: float = 3) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


def pitch(samples: Samples) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * RATE / len(samples)


def film(path: Path, *tones: float) -> Path:
    """Write a sound track for each tone, with a picture before them."""
    with av.open(path, "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        tracks = [container.add_stream("flac", rate=RATE, layout="mono") for _ in tones]
        for _ in range(30):
            black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(black))
        container.mux(picture.encode(None))
        for hertz, track in zip(tones, tracks, strict=True):
            container.mux(packets("flac", tone(hertz), RATE, "mono", track))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    film(folder / "stems.mkv", 500, 1000, 2000)
    film(folder / "one.mkv", 3000)
    return folder


def read(path: Path, track: int | None) -> tuple[Samples, list[str]]:
    notes: list[str] = []
    return np.concatenate(list(decode(path, RATE, track=track, note=notes.append))), notes


@pytest.mark.parametrize(("track", "hertz"), [(None, 500), (1, 500), (2, 1000), (3, 2000)])
def test_the_track_asked_for_is_decoded(films: Path, track: int | None, hertz: float):
    found, notes = read(films / "stems.mkv", track)
    assert len(found) == pytest.approx(3 * RATE, abs=1)
    assert pitch(found) == pytest.approx(hertz, abs=1)
    # Said where nobody has chosen.
    assert notes == ["the first of 3 sound tracks was taken; --track takes another"] * (
        track is None
    )
    info = probe(films / "stems.mkv", track)
    assert (info.notes, info.problem) == (notes, "")


@pytest.mark.parametrize("name", ["stems.mkv", "one.mkv", "a.wav"])
def test_a_track_that_a_file_does_not_have_is_an_error(films: Path, tmp_path: Path, name: str):
    path = films / name
    if name == "a.wav":
        import soundfile

        path = tmp_path / name
        soundfile.write(path, tone(500), RATE)
    with pytest.raises(AudioError, match="sound track 4 was asked for") as caught:
        list(decode(path, RATE, track=4))
    assert caught.value.kind == Kind.NO_TRACK
    assert read(path, 1)[1] == []


def test_a_folder_is_embedded_by_its_track_and_searched_by_it(
    films: Path, model_dir: Path, tmp_path: Path
):
    first = tmp_path / "first"
    run = extract(films, model_dir, first, Settings(workers=1))
    assert (run.errors.total(), run.remarks) == (0, 1)
    journal = {record.clip: record for record in EmbeddingTable.open(first).journal}
    assert journal["stems.mkv"].message.startswith("the first of 3 sound tracks was taken")
    assert journal["one.mkv"].message == ""

    third = tmp_path / "third"
    run = extract(films, model_dir, third, Settings(workers=1, track=3))
    assert run.errors == {Kind.NO_TRACK: 1}
    assert run.remarks == 0
    provenance = read_manifest(third)
    assert provenance.track == 3
    clips, vectors = EmbeddingTable.open(third).clip_vectors()
    assert clips == ["stems.mkv"]
    query = QueryEmbedder(provenance, model_dir).embed(films / "stems.mkv")
    np.testing.assert_allclose(query, vectors[0], rtol=0, atol=1e-4)
    other = QueryEmbedder(read_manifest(first), model_dir).embed(films / "stems.mkv")
    assert np.abs(other - vectors[0]).max() > 0.01
    with pytest.raises(EmbeddingFolderError, match="track 3, not 1"):
        extract(films, model_dir, third, Settings(workers=1, track=1))


def test_a_manifest_of_before_there_were_tracks_is_of_the_first(
    films: Path, model_dir: Path, tmp_path: Path
):
    folder = tmp_path / "emb"
    extract(films, model_dir, folder, Settings(workers=1, track=1))
    content = json.loads((folder / MANIFEST).read_text())
    assert content.pop("track") == 1
    (folder / MANIFEST).write_text(json.dumps(content))
    assert read_manifest(folder).track == 1
    assert extract(films, model_dir, folder, Settings(workers=1)).already_done == 2
    (folder / MANIFEST).write_text(json.dumps({**content, "track": "2"}))
    with pytest.raises(EmbeddingFolderError, match="track is '2'"):
        read_manifest(folder)


def test_a_track_below_one_is_refused():
    with pytest.raises(UsageError, match="track 0: must be at least 1"):
        dataclasses.replace(Settings(), track=0)


def test_collecting_says_nothing_of_a_file_with_one_track(films: Path):
    found, kind = collect(films / "one.mkv")
    assert (pitch(found), kind) == (pytest.approx(3000, abs=1), "")
