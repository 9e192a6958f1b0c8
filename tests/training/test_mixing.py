"""Scenes made of clips: the same whoever makes them, and of what was asked for."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import run, succeed

from embedkit.errors import DatasetError, UsageError
from embedkit.training import mixtures as mixing
from embedkit.training.mixtures import Sounds, draw_excerpt, mix, rms
from embedkit.training.pool import Pool

RATE = 16000


@pytest.fixture(scope="module")
def root(tmp_path_factory, make_sound, write_audio):
    folder = tmp_path_factory.mktemp("sounds")
    for seed in range(3):
        write_audio(folder / "a" / f"{seed}.wav", make_sound(0.4 + seed, seed=seed))
    write_audio(folder / "b" / "0.wav", make_sound(1.5, seed=9))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.flac")}


def test_files_are_the_same_by_one_worker_by_two_and_after_a_stop(root, tmp_path):
    hours = 20 / 3600
    whole = mix(root, tmp_path / "whole", hours=hours)
    assert (whole.files, whole.clips, whole.failures) == (2, 4, [])
    mix(root, tmp_path / "two", hours=hours, workers=2)
    mix(root, tmp_path / "stopped", hours=hours / 2)
    mix(root, tmp_path / "stopped", hours=hours)
    expected = contents(tmp_path / "whole")
    assert sorted(expected) == [f"000/00000{number}.flac" for number in range(2)]
    assert len(set(expected.values())) == 2
    assert contents(tmp_path / "two") == contents(tmp_path / "stopped") == expected
    mix(root, tmp_path / "other", hours=hours, seed=1)
    assert not set(contents(tmp_path / "other").values()) & set(expected.values())
    for path in (tmp_path / "whole").rglob("*.flac"):
        samples, rate = soundfile.read(path)
        assert (rate, samples.shape) == (RATE, (10 * RATE,))
        scenes = np.abs(samples.reshape(10, RATE)).max(axis=1)
        assert ((scenes > 0.03) & (scenes < 0.9)).all()  # -30 to -1 dB of full scale


def one_clip(tmp_path: Path, samples: np.ndarray) -> Sounds:
    path = tmp_path / "sounds"
    path.write_bytes((samples * 32767).astype(np.int16).tobytes())
    return Sounds(Pool(path, ("one",), np.array([0, len(samples)]), []), np.array([1.0]))


def test_a_tone_at_another_speed_has_another_pitch(tmp_path, monkeypatch):
    hz = 500
    sounds = one_clip(tmp_path, 0.5 * np.sin(2 * np.pi * hz * np.arange(4 * RATE) / RATE))
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        excerpt = draw_excerpt(sounds, sounds.pool.open(), RATE, rng)
        spectrum = np.abs(np.fft.rfft(excerpt * np.hanning(RATE)))
        found.append(spectrum.argmax())
        assert rms(excerpt[800:-800]) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    octaves = np.log2(np.array(found) / hz)
    assert octaves.min() > -1.01
    assert octaves.max() < 1.01
    assert octaves.std() == pytest.approx(2 / np.sqrt(12), rel=0.25)  # of a uniform one


def test_a_short_clip_stands_whole_somewhere_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(mixing, "SPEED", 0.0)
    clip = np.full(RATE // 4, 0.5)
    sounds = one_clip(tmp_path, clip)
    rng, starts = np.random.default_rng(0), []
    for _ in range(20):
        there = np.abs(draw_excerpt(sounds, sounds.pool.open(), RATE, rng)) > 0.25
        assert there.sum() == len(clip)
        starts.append(int(there.argmax()))
        assert there[starts[-1] : starts[-1] + len(clip)].all()
    assert len(set(starts)) == 20


def test_layers_stand_to_each_other_as_they_should(tmp_path, monkeypatch):
    """Of two tones each is found again by its own frequency."""
    tone = [0.5 * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE) for hz in (500, 1500)]
    path = tmp_path / "sounds"
    path.write_bytes((np.concatenate(tone) * 32767).astype(np.int16).tobytes())
    pool = Pool(path, ("one", "two"), np.array([0, 2 * RATE, 4 * RATE]), [])
    sounds = Sounds(pool, np.array([0.5, 0.5]))
    monkeypatch.setattr(mixing, "SPEED", 0.0)
    monkeypatch.setattr(mixing, "LAYERS", (0.0, 1.0))
    monkeypatch.setattr(mixing, "_colours", lambda: lambda sound, rate: sound)
    differences = []
    for seed in range(8):
        for scene in mixing._scenes(sounds, RATE, np.random.default_rng(seed)):
            spectrum = np.abs(np.fft.rfft(scene))
            if min(spectrum[500], spectrum[1500]) > 0.01 * spectrum.max():  # not one tone twice
                differences.append(abs(20 * np.log10(spectrum[500] / spectrum[1500])))
    assert len(differences) > 20
    assert max(differences) < 12.1
    assert np.mean(differences) == pytest.approx((12**2 + 6**2) / 2 / 18, rel=0.3)


def test_clips_are_drawn_by_the_root_of_their_length_and_by_weight(root, tmp_path):
    weights = [("a/0*", 0.0), ("a/*", 1.0), ("b/*", 3.0)]
    sounds, failures = mixing._gather(root, tmp_path / "s", RATE, weights, mixing.untracked)
    assert not failures
    expected = np.array([0.0, 1.4**0.5, 2.4**0.5, 3 * 1.5**0.5])
    np.testing.assert_allclose(sounds.chance, expected / expected.sum(), rtol=1e-6)


def test_a_clip_that_is_none_is_named_and_the_others_are_mixed(root, tmp_path):
    audio = shutil.copytree(root, tmp_path / "audio")
    (audio / "bad.wav").write_bytes(b"RIFF")
    arguments = ("mix", audio, "--hours", 0.002, "--out", tmp_path / "out", "--json")
    done = run(*arguments)
    assert done.returncode == 3
    assert "bad.wav" in done.stderr
    result = json.loads(done.stdout)
    assert [name for name, *_ in result["failures"]] == ["bad.wav"]
    assert len(contents(tmp_path / "out")) == result["files"] == 1
    assert succeed("mix", root, "--hours", 0.002, "--out", tmp_path / "out").endswith(
        "1 files of 10 s\n"
    )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"hours": 0}, UsageError, "hours"),
        ({"weights": [("*", -1.0)]}, UsageError, "weights"),
        ({"weights": [("*", 0.0)]}, DatasetError, "weight"),
        ({"sample_rate": 1}, UsageError, "1 Hz"),
    ],
)
def test_a_wrong_setting_is_refused(root, tmp_path, change, error, text):
    with pytest.raises(error, match=text):
        mix(root, tmp_path / "out", **{"hours": 0.01, **change})
    assert not (tmp_path / "out").exists()


def test_a_folder_in_the_collection_is_refused(root):
    with pytest.raises(UsageError, match="its own mixtures"):
        mix(root, root / "mixtures", hours=0.01)


def test_a_weight_without_a_number_is_refused(root, tmp_path):
    done = run("mix", root, "--hours", 1, "--out", tmp_path / "out", "--weight", "birds")
    assert done.returncode == 2
    assert "PATTERN=W" in done.stderr
