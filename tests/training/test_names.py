"""Names learned from a teacher whose answers have a closed form."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from foreign import NO_LOGITS, network, write_extractor
from onnx import helper
from scipy.special import expit

from embedkit import Extractor, scoring
from embedkit.classifiers.classifier import Classifier
from embedkit.errors import DatasetError, UsageError
from embedkit.names.bundled import NAMES, named_sizes
from embedkit.training.names import Heard, Wanted, _calibrate, fit_names

LABELS = ("loud", "soft", "whatever it is")
SLOPE, MIDDLE, WHATEVER = 400.0, 0.01, 3.0
LOUD, SOFT = 0.3, 0.01  # RMS


def names_of_power() -> bytes:
    """A teacher that names by the mean square alone, and finds everything to be whatever it is."""
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["embedding"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["embedding", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["logits"]),
    ]
    weights = {
        "slope": np.array([[SLOPE, -SLOPE, 0]], np.float32),
        "offset": np.array([-SLOPE * MIDDLE, SLOPE * MIDDLE, WHATEVER], np.float32),
    }
    return network(nodes, ("embedding", "logits"), weights)


def logits_of(power: float) -> list[float]:
    return [SLOPE * (power - MIDDLE), -SLOPE * (power - MIDDLE), WHATEVER]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    heard = {"sample_rate": 16000, "window_s": 1.0}
    path = write_extractor(folder, names_of_power(), input=heard)
    (folder / "labels.csv").write_text("display_name\n" + "\n".join(LABELS) + "\n")
    return path


def noise(level: float, seconds: float, seed: int) -> np.ndarray:
    sound = np.random.default_rng(seed).standard_normal(round(16000 * seconds))
    return (sound * level / np.sqrt(np.mean(sound**2))).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]) -> Path:
    """Loud and soft noise by turns, in four packages."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(48):
        level = (LOUD, SOFT)[number % 2]
        path = folder / "kind" / f"package{number // 2 % 4}" / f"{number}.wav"
        write_audio(path, noise(level, 0.4 + number % 5 * 0.5, number))
    return folder


@pytest.fixture(scope="module")
def named(
    save_model: Callable[[int], Path],
    sounds: Path,
    teacher: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    model = save_model(3)
    fitted, failures, clips = fit_names(
        model, sounds, teacher, cache=tmp_path_factory.mktemp("cache")
    )
    assert (failures, clips) == ([], 48)
    [only] = fitted
    assert only.size == 64
    assert only.agreement == only.within_5 == 1  # loud is not soft
    assert only.off < 0.05
    return model


def test_a_model_names_new_sounds_as_its_teacher_would(named: Path) -> None:
    assert named_sizes(named) == [64]
    names = Classifier.load(named / NAMES / "64")
    extractor = Extractor.load(named)
    assert names.labels == LABELS
    assert names.fingerprint == extractor.fingerprint
    loud, soft = (extractor.embed_clip(noise(level, 3.2, 99)) for level in (LOUD, SOFT))
    scores = names.scores(np.array([loud, soft]))
    assert scores[0, 0] > 0.5 > scores[0, 1]
    assert scores[1, 1] > 0.5 > scores[1, 0]


def test_a_name_for_everything_loses_what_everything_has_of_it() -> None:
    # "Loud" is said of one in ten, as good as surely; "whatever it is" of all, with the same odds.
    logits = np.array([logits_of(LOUD**2), *[logits_of(SOFT**2)] * 9], np.float32)
    wanted = Wanted.of(logits)
    likely = wanted.probabilities(logits)
    assert likely.sum() == pytest.approx(expit(logits).sum(), rel=1e-6)  # as many names as before
    np.testing.assert_allclose(
        likely, expit(logits - logits.mean(axis=0) - wanted.offset), rtol=1e-5
    )
    np.testing.assert_allclose(likely[:, 2], expit(-wanted.offset), rtol=1e-5)
    assert likely[0, 0] > 0.99 > likely[0, 2]


def test_slope_and_offset_are_found_that_made_probabilities() -> None:
    logits = np.random.default_rng(0).normal(-2, 3, (400, 30)).astype(np.float32)
    slope, offset = _calibrate(logits, expit(0.6 * logits - 1.5))
    assert (slope, offset) == (pytest.approx(0.6, abs=1e-3), pytest.approx(-1.5, abs=1e-3))


def test_a_stretch_is_the_mean_of_its_segments_by_what_they_last() -> None:
    rng = np.random.default_rng(1)
    segments = rng.standard_normal((5, 8)).astype(np.float32)
    heard = Heard(
        segments=segments,
        rows=np.array([[0, 1, 2], [3, 4, 0]]),
        seconds=np.array([[1, 1, 0.25], [1, 0.5, 0]], np.float32),
        logits=np.zeros((2, 1), np.float32),
        held=np.zeros(2, bool),
    )
    found = heard.vectors(np.array([1, 0]), 6).numpy()
    want = [
        scoring.clip_mean(segments[3:, :6], [1, 0.5]),
        scoring.clip_mean(segments[:3, :6], [1, 1, 0.25]),
    ]
    np.testing.assert_allclose(found, want, rtol=1e-6)
    # Of a share of them, each is the mean of some of its own, now of these and now of those.
    some = heard.vectors(np.zeros(200, int), 8, share=0.3).numpy()
    sets = [place for count in (1, 2, 3) for place in combinations(range(3), count)]
    lasting = np.array([1, 1, 0.25])
    means = [scoring.clip_mean(segments[list(each)], lasting[list(each)]) for each in sets]
    apart = np.abs(some[:, None] - np.array(means)).max(axis=2)
    assert apart.min(axis=1).max() < 1e-5
    assert set(apart.argmin(axis=1)) == set(range(len(sets)))


def test_names_need_logits_and_two_folders(
    model_dir: Path, sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    silent = write_extractor(tmp_path / "teacher", output=NO_LOGITS)
    with pytest.raises(UsageError, match="gives no logits"):
        fit_names(model_dir, sounds, silent, cache=tmp_path)
    alone = sounds / "kind" / "package0"
    with pytest.raises(DatasetError, match="two folders or more"):
        fit_names(model_dir, alone, teacher, cache=tmp_path)


def test_the_command_writes_names_and_reports_what_cannot_be_read(
    save_model: Callable[[int], Path], sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(sounds, tmp_path / "sounds")
    (folder / "kind" / "package1" / "broken.wav").write_bytes(b"RIFF, and no more")
    model = save_model(4)
    done = run("learn-names", model, folder, "--teacher", teacher, "--json")
    assert done.returncode == 3
    assert "kind/package1/broken.wav" in done.stderr
    [row] = json.loads(done.stdout)
    assert row["size"] == 64
    assert row["agreement"] > 0.8
    assert named_sizes(model) == [64]
