from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from embedkit import metrics
from embedkit.audio.decode import decode
from embedkit.audio.segments import BATCH
from embedkit.checkpoint import ModelConfig
from embedkit.config import Activation, FeatureSpec, SegmentSpec, TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.errors import DatasetError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.training.evaluation import evaluate, score_file

RATE = 16000


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on so small tensors wait for each other, for long where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_extractor(activation: Activation) -> ExtractorModule:
    """Random weights, short segments of few bands, and scores from almost 0 to almost 1."""
    config = ModelConfig(
        model=resolve("gap", dim=64, classes=3),
        features=FeatureSpec(bands=16, n_fft=512),
        segments=SegmentSpec(duration_s=0.4, hop_s=0.4),
        training=TrainSpec(),
        activation=activation,
        labels=("a", "b", "c"),
    )
    torch.manual_seed(0)
    extractor = ExtractorModule(config, torch.full((16,), -6.0), torch.full((16,), 3.0)).eval()
    centre = extractor.embed_segments(noise(40.0, 0).reshape(100, -1)).mean(axis=0)
    output = extractor.network.heads["64"].output
    with torch.no_grad():
        output.weight *= 3000
        output.bias.copy_(-output.weight @ torch.from_numpy(centre))
    return extractor


def noise(seconds: float, seed: int) -> np.ndarray:
    """Noise whose loudness and colour wander, so that segments differ."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(round(seconds * RATE) + 1).astype(np.float32)
    time = np.arange(len(white) - 1) / RATE
    dark = np.float32(0.5) * (1 + np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * time))
    return (0.05 * (white[1:] + dark * white[:-1]) * (1 + dark)).astype(np.float32)


@pytest.fixture(scope="module")
def softmax() -> ExtractorModule:
    return make_extractor(Activation.SOFTMAX)


@pytest.fixture(scope="module")
def sigmoid() -> ExtractorModule:
    return make_extractor(Activation.SIGMOID)


@pytest.fixture(scope="module")
def write_noise(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]
) -> Callable[[float, int], Path]:
    folder = tmp_path_factory.mktemp("noise")

    def write(seconds: float, seed: int) -> Path:
        return write_audio(folder / f"{seconds}-{seed}.wav", noise(seconds, seed), subtype="FLOAT")

    return write


@pytest.fixture(scope="module")
def manifest(write_noise: Callable[[float, int], Path]) -> Manifest:
    """24 clips of 0.3 to 1.4 s with labels by turns."""
    return Manifest(
        tuple(
            Clip(path=write_noise(0.3 + 0.1 * (n % 12), n), labels=("abc"[n % 3],))
            for n in range(24)
        ),
        several_labels=False,
    )


@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 0.4 * (2 * BATCH + 3) + 0.05])
def test_a_files_scores_are_those_of_its_waveform(
    softmax: ExtractorModule, write_noise: Any, seconds: float
) -> None:
    found = score_file(softmax, write_noise(seconds, 5))
    expected = softmax.scores(noise(seconds, 5))
    np.testing.assert_allclose(found.segments, expected, atol=1e-6)
    np.testing.assert_allclose(found.start_s, 0.4 * np.arange(len(expected)))
    np.testing.assert_allclose(found.end_s[:-1], found.start_s[1:])
    assert found.end_s[-1] == pytest.approx(seconds)
    assert (found.kind, found.message) == ("", "")
    assert len(expected) < 4 or np.ptp(expected, axis=0).min() > 0.5  # the segments do differ


def test_a_file_at_another_rate_is_scored_as_it_is_decoded(
    sigmoid: ExtractorModule, tmp_path: Path, write_audio: Callable[..., Path]
) -> None:
    path = write_audio(tmp_path / "x.flac", noise(1.3, 1), 44100)
    waveform = np.concatenate(list(decode(path, RATE)))
    np.testing.assert_allclose(
        score_file(sigmoid, path).segments, sigmoid.scores(waveform), atol=1e-6
    )


def test_a_clips_score_is_the_mean_of_its_segments_weighted_by_their_seconds(
    softmax: ExtractorModule, write_noise: Any
) -> None:
    found = score_file(softmax, write_noise(1.0, 3))
    first, second, tail = found.segments.astype(np.float64)
    np.testing.assert_allclose(found.clip, (0.4 * first + 0.4 * second + 0.2 * tail) / 1.0)
    assert np.abs(found.clip - found.segments.mean(axis=0)).max() > 1e-3  # not the plain mean


def test_a_damaged_file_is_scored_up_to_the_damage_and_says_so(
    softmax: ExtractorModule, write_noise: Any, tmp_path: Path
) -> None:
    whole = write_noise(2.0, 4)
    cut = tmp_path / "cut.wav"
    content = whole.read_bytes()
    samples = content[content.index(b"data") + 8 :]
    header = content[: len(content) - len(samples)]
    cut.write_bytes(header + samples[: 4 * round(1.0 * RATE)])
    found = score_file(softmax, cut)
    assert found.kind == "truncated"
    assert "1.00 s" in found.message
    np.testing.assert_allclose(found.segments, softmax.scores(noise(2.0, 4)[:RATE]), atol=1e-6)
    assert found.end_s[-1] == 1.0


@pytest.mark.parametrize(("content", "kind"), [(b"", "empty"), (b"nothing" * 99, "unreadable")])
def test_a_file_without_sound_has_no_scores_and_a_kind(
    softmax: ExtractorModule, tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    found = score_file(softmax, tmp_path / "x.wav")
    assert (found.kind, found.segments.shape, found.start_s.shape) == (kind, (0, 3), (0,))


def test_figures_are_the_metrics_of_the_clips_scores(
    softmax: ExtractorModule, manifest: Manifest
) -> None:
    done = evaluate(softmax, manifest)
    scored = [softmax.scores(noise(0.3 + 0.1 * (n % 12), n)).astype(np.float64) for n in range(24)]
    clips = []
    for number, scores in enumerate(scored):
        seconds = np.full(len(scores), 0.4)
        seconds[-1] = 0.3 + 0.1 * (number % 12) - 0.4 * (len(scores) - 1)
        clips.append(np.average(scores, axis=0, weights=seconds))
    by_clip, truth = np.array(clips), np.arange(24) % 3
    right = by_clip.argmax(axis=1) == truth
    by_segment = np.concatenate(
        [scores.argmax(axis=1) == label for scores, label in zip(scored, truth, strict=True)]
    )
    columns = [(truth == label, by_clip[:, label]) for label in range(3)]
    assert 0 < right.sum() < 24
    assert done.figures == {
        "correct": right.sum(),
        "accuracy": pytest.approx(right.mean()),
        "accuracy_interval": metrics.share_interval(right.astype(float)),
        "segment_accuracy": pytest.approx(by_segment.mean()),
        "weighted_auc": pytest.approx(np.mean([roc_auc_score(*c) for c in columns]), abs=1e-6),
        "macro_auc": pytest.approx(np.mean([roc_auc_score(*c) for c in columns]), abs=1e-6),
        "d_prime": pytest.approx(metrics.d_prime(np.eye(3)[truth], by_clip), abs=1e-6),
        "map": pytest.approx(np.mean([average_precision_score(*c) for c in columns]), abs=1e-6),
    }
    np.testing.assert_allclose(done.scores, by_clip, atol=1e-6)
    np.testing.assert_array_equal(done.targets, np.eye(3)[truth])
    assert (done.clips, done.segments, done.failures) == (24, len(by_segment), [])


def test_figures_of_several_labels_are_those_of_their_matrix(
    sigmoid: ExtractorModule, manifest: Manifest
) -> None:
    truth = np.random.default_rng(1).random((24, 3)) < [0.2, 0.5, 0.8]
    truth[truth.sum(axis=1) == 0, 1] = True
    clips = tuple(
        replace(clip, labels=tuple(np.array(["a", "b", "c"])[row]))
        for clip, row in zip(manifest.clips, truth, strict=True)
    )
    done = evaluate(sigmoid, Manifest(clips, several_labels=True))
    scores = np.array([score_file(sigmoid, clip.path).clip for clip in clips])
    assert done.figures == {
        "weighted_auc": pytest.approx(roc_auc_score(truth, scores, average="weighted")),
        "macro_auc": pytest.approx(roc_auc_score(truth, scores, average="macro")),
        "d_prime": pytest.approx(metrics.d_prime(truth, scores)),
        "map": pytest.approx(average_precision_score(truth, scores, average="macro")),
    }


def test_bad_clips_are_reported_and_the_rest_is_scored(
    softmax: ExtractorModule, manifest: Manifest, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"")
    clips = (*manifest.clips, Clip(path=bad, labels=("a",)))
    done, expected = evaluate(softmax, replace(manifest, clips=clips)), evaluate(softmax, manifest)
    assert [(failure.path, failure.kind) for failure in done.failures] == [(bad, "empty")]
    assert (done.figures, done.clips) == (expected.figures, 24)
    with pytest.raises(DatasetError, match="none of 1 clips can be decoded; the file has 0 bytes"):
        evaluate(softmax, replace(manifest, clips=clips[-1:]))


def test_labels_that_the_model_does_not_know_are_refused(
    softmax: ExtractorModule, manifest: Manifest
) -> None:
    clips = tuple(replace(clip, labels=("z", "a", "y")) for clip in manifest.clips)
    with pytest.raises(
        DatasetError, match=r"does not know the label 'y' \(2 unknown in all\); it knows: a, b, c"
    ):
        evaluate(softmax, Manifest(clips, several_labels=True))


def test_a_label_without_clips_is_left_out_of_the_means_with_a_warning(
    softmax: ExtractorModule, manifest: Manifest
) -> None:
    clips = tuple(clip for clip in manifest.clips if clip.labels != ("b",))
    with pytest.warns(UserWarning, match="1 of 3 classes have no positive"):
        done = evaluate(softmax, replace(manifest, clips=clips))
    scores = np.array([score_file(softmax, clip.path).clip for clip in clips])
    truth = [clip.labels == ("a",) for clip in clips]
    expected = (roc_auc_score(truth, scores[:, 0]) + 1 - roc_auc_score(truth, scores[:, 2])) / 2
    assert done.figures["weighted_auc"] == pytest.approx(expected)
