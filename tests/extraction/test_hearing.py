"""Recordings heard at other speeds and in bands: the oracles are closed forms and scipy at once."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import run, succeed
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from embedkit.audio.band import Passage, taps_of
from embedkit.audio.decode import decode
from embedkit.audio.segments import cut
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, EmbeddingFolderError, Kind, UsageError
from embedkit.extraction import Settings, extract
from embedkit.hearing import Band, Hearing
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import MANIFEST, EmbeddingTable, read_manifest

Samples = NDArray[np.float32]
RATE = 16000
BAT = 250_000  # Hz, of the recorder


def tone(hertz: float, seconds: float, rate: int) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def pitch(samples: Samples, rate: float) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * rate / len(samples)


def write(path: Path, samples: Samples, rate: int) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def hear(path: Path, hearing: Hearing) -> Samples:
    return np.concatenate(list(decode(path, RATE, hearing=hearing)))


@pytest.mark.parametrize(
    ("recorded", "rate", "speed", "heard"),
    [(45_000, BAT, 0.1, 4500), (20, 2000, 8, 160), (1000, 44_100, 0.3, 300)],
)
def test_a_tone_is_heard_as_high_and_as_long_as_its_speed_makes_it(
    tmp_path: Path, recorded: float, rate: int, speed: float, heard: float
) -> None:
    path = write(tmp_path / "a.wav", tone(recorded, 3 * speed, rate), rate)
    samples = hear(path, Hearing(speed=speed))
    assert len(samples) == pytest.approx(3 * RATE, abs=2)
    assert pitch(samples, RATE) == pytest.approx(heard, abs=0.4)
    segments = list(cut([samples], SegmentSpec(), RATE, speed))
    starts = [segment.start_s for segment in segments]
    assert starts[:3] == pytest.approx([0, speed, 2 * speed])
    assert segments[-1].end_s == pytest.approx(3 * speed, abs=2 * speed / RATE)


def test_blocks_of_any_length_give_what_the_filter_gives_at_once() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(40_000).astype(np.float32)
    taps = taps_of(Band(2000, 8000), 44_100)
    assert taps is not None
    whole = oaconvolve(samples.astype(float), taps, mode="same")
    for _ in range(3):
        passage = Passage(44_100, 44_100, Hearing(band=Band(2000, 8000)))
        places = np.sort(rng.integers(0, len(samples), 9))
        parts = [passage.take(part) for part in np.split(samples, places)]
        parts.append(passage.take(samples[:0], last=True))
        found = np.concatenate(parts)
        assert len(found) == len(samples)
        np.testing.assert_allclose(found, whole, atol=2e-7)
    short = Passage(44_100, 44_100, Hearing(band=Band(2000, 8000)))
    found = np.concatenate([short.take(samples[:50]), short.take(samples[:0], last=True)])
    np.testing.assert_allclose(
        found, np.convolve(samples[:50], taps)[len(taps) // 2 :][:50], atol=1e-6
    )


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_band_lets_its_tones_through_in_their_place_and_no_other(
    tmp_path: Path, rate: int
) -> None:
    hearing = Hearing(band=Band(2000, 5000))
    for hertz, passes in ((500, False), (1500, False), (2500, True), (4500, True), (7000, False)):
        path = write(tmp_path / "a.wav", tone(hertz, 1, rate), rate)
        middle = slice(RATE // 4, -RATE // 4)
        before, after = hear(path, Hearing())[middle], hear(path, hearing)[middle]
        if passes:  # of linear phase, and without its delay: nothing moves
            np.testing.assert_allclose(after, before, atol=2e-3)
        else:
            assert level(after) < level(before) / 900


def test_edges_that_a_recording_does_not_have_are_none(tmp_path: Path) -> None:
    assert taps_of(Band(0, 8000), RATE) is None
    path = write(tmp_path / "a.wav", tone(3000, 1, RATE), RATE)
    low = hear(path, Hearing(band=Band(0, 2000)))
    high = hear(path, Hearing(band=Band(2000, 90_000)))
    middle = slice(RATE // 4, -RATE // 4)
    assert level(low[middle]) < 1e-3
    assert level(high[middle]) > 0.3
    with pytest.raises(
        AudioError, match="20000-90000 Hz was asked for, a recording at 16000"
    ) as no:
        hear(path, Hearing(band=Band(20_000, 90_000)))
    assert no.value.kind is Kind.NO_BAND


@pytest.mark.parametrize("text", ["2000", "8000-2000", "-5-3", "a-b", "nan-3", "5-5"])
def test_what_is_no_band_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected LOW-HIGH in Hz"):
        Band.parse(text)


@pytest.mark.parametrize("speed", [0, -1, 0.001, 1000, float("nan"), float("inf")])
def test_what_is_no_speed_is_refused(speed: float) -> None:
    with pytest.raises(UsageError, match=r"from 0\.01 to 100"):
        Hearing(speed=speed)


# A folder


CALL_S = 1.3  # of its 2 s, where a bat calls


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night of noise, a calling bat in it, and the call alone beside it."""
    root = tmp_path_factory.mktemp("night")
    (root / "sounds").mkdir()
    rng = np.random.default_rng(0)
    call = tone(45_000, 0.1, BAT)
    noise = rng.normal(0, 0.01, 2 * BAT).astype(np.float32)
    quiet = rng.normal(0, 0.01, 2 * BAT).astype(np.float32)
    first = round(CALL_S * BAT)
    noise[first : first + len(call)] += call
    write(root / "sounds/bat.wav", noise, BAT)
    write(root / "sounds/quiet.wav", quiet, BAT)
    write(root / "call.wav", call + rng.normal(0, 0.01, len(call)).astype(np.float32), BAT)
    return root


@pytest.fixture(scope="module")
def slow(night: Path, model_dir: Path) -> Path:
    done = extract(
        night / "sounds", model_dir, night / "slow", Settings(speed=0.1, workers=1, hop_s=0.05)
    )
    assert (done.files, done.audio_s) == (2, pytest.approx(4, abs=1e-3))
    return night / "slow"


def test_a_call_that_nobody_hears_is_found_at_its_time(
    night: Path, slow: Path, model_dir: Path
) -> None:
    [answer] = json.loads(
        succeed("search", slow, night / "call.wav", "--segments", "--json", "--top", 3)
    )
    best = answer["results"][0]
    assert best["clip"] == "bat.wav"
    assert best["start_s"] == pytest.approx(CALL_S)
    assert best["end_s"] == pytest.approx(CALL_S + 0.1)
    # As it was recorded nothing of it is heard: the clip with the call is like the one without.
    extract(night / "sounds", model_dir, night / "plain", Settings(workers=1))
    table = EmbeddingTable.open(night / "plain")
    rows, away = table.rows(), EmbeddingTable.open(slow).rows()

    def contrast(vectors: Samples, own: NDArray[np.bool_]) -> float:
        """How far the call's segment is from silence, beside how far silences are apart."""
        middle = vectors[~own].mean(axis=0)
        apart = np.linalg.norm(vectors[~own] - middle, axis=1).max()
        return float(np.linalg.norm(vectors[own] - middle, axis=1).max() / apart)

    heard = (rows.clips == "bat.wav") & (rows.start_s <= CALL_S) & (rows.end_s > CALL_S)
    found = (away.clips == "bat.wav") & (np.abs(away.start_s - CALL_S) < 0.09)
    assert contrast(away.embeddings, found) > 3 * contrast(rows.embeddings, heard)


def test_times_are_those_of_the_recording(slow: Path) -> None:
    table = EmbeddingTable.open(slow)
    assert [record.duration_s for record in table.journal] == pytest.approx([2, 2])
    rows = table.clip_rows("quiet.wav")
    np.testing.assert_allclose(rows.start_s, 0.05 * np.arange(len(rows.start_s)))
    np.testing.assert_allclose(rows.end_s - rows.start_s, 0.1)
    assert len(rows.start_s) == 39
    manifest = read_manifest(slow)
    assert (manifest.speed, manifest.segment_s, manifest.hop_s) == (0.1, 0.1, 0.05)
    assert manifest.sample_rate == 160_000  # a front-end at 16 kHz hears up to 80 kHz


def test_a_query_is_heard_as_the_collection_was(slow: Path, night: Path) -> None:
    table = EmbeddingTable.open(slow)
    found = QueryEmbedder(table.provenance).embed(night / "sounds/bat.wav")
    np.testing.assert_allclose(found, table.clip_vector("bat.wav"), atol=1e-5)
    span = QueryEmbedder(table.provenance).embed(night / "sounds/bat.wav", 1.0, 1.1)
    rows = table.clip_rows("bat.wav")
    np.testing.assert_allclose(span, rows.embeddings[20], atol=1e-3)


def test_a_folder_is_gone_on_with_as_it_was_made(
    night: Path, model_dir: Path, tmp_path: Path
) -> None:
    sounds, emb = tmp_path / "sounds", tmp_path / "emb"
    sounds.mkdir()
    write(sounds / "a.wav", tone(5000, 1, BAT), BAT)
    heard = Settings(speed=0.5, band=Band(1000, 90_000), workers=1)
    extract(sounds, model_dir, emb, heard)
    write(sounds / "b.wav", tone(5000, 1, BAT), BAT)
    done = extract(sounds, model_dir, emb, Settings(workers=1))
    assert (done.files, done.already_done) == (1, 1)
    table = EmbeddingTable.open(emb)
    np.testing.assert_allclose(table.clip_vector("a.wav"), table.clip_vector("b.wav"), atol=1e-6)
    for other, name in (
        (dataclasses.replace(heard, speed=1.0), "segment_s 0.5, not 1.0"),
        (dataclasses.replace(heard, band=Band(1000, 2000)), "band '1000-90000', not '1000-2000'"),
    ):
        with pytest.raises(EmbeddingFolderError, match=name):
            extract(sounds, model_dir, emb, other)
    text = (emb / MANIFEST).read_text()
    (emb / MANIFEST).write_text(text.replace('"speed": 0.5', '"speed": 0.0'))
    with pytest.raises(EmbeddingFolderError, match=r"speed 0: must be from 0\.01 to 100"):
        read_manifest(emb)


def test_a_recording_without_the_band_is_a_row_with_a_kind(model_dir: Path, tmp_path: Path) -> None:
    write(tmp_path / "low.wav", tone(400, 1, 8000), 8000)
    done = run(
        "extract", tmp_path, "--out", tmp_path / "emb", "--model", model_dir, "--workers", 1,
        "--band", "5000-7000",
    )  # fmt: skip
    assert done.returncode == 3
    assert "low.wav: no-band: the band 5000-7000 Hz was asked for" in done.stderr
    assert not len(EmbeddingTable.open(tmp_path / "emb"))
