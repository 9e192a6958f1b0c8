"""The checks of HEAR's validator, and the vectors against the extractor called by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from embedkit.errors import UsageError
from embedkit.extractor import Extractor
from embedkit.kits import hear

RATE = 16000
RATES = {16000, 22050, 32000, 44100, 48000}


@pytest.fixture(scope="module")
def model(save_model: Callable[[int], Path]) -> hear.HearModel:
    return hear.load_model(str(save_model(0)))


def noise(sounds: int, seconds: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(sounds, int(seconds * RATE), generator=generator) - 1


def test_without_a_path_it_is_embedkits_own_model() -> None:
    model = hear.load_model()
    for name in ("sample_rate", "scene_embedding_size", "timestamp_embedding_size"):
        assert type(getattr(model, name)) is int
    assert model.sample_rate in RATES
    assert model.scene_embedding_size == 256
    assert hear.load_model(dim=64).timestamp_embedding_size == 64


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_timestamps_are_as_the_validator_wants_them(model: hear.HearModel, seconds: float) -> None:
    vectors, timestamps = hear.get_timestamp_embeddings(noise(2, seconds), model)
    assert vectors.dtype == torch.float32
    assert timestamps.dtype == torch.float32
    assert vectors.shape == (2, timestamps.shape[1], model.timestamp_embedding_size)
    assert timestamps.shape[0] == 2
    spacing = torch.diff(timestamps)
    assert spacing.min() > 0
    assert (spacing - spacing.mean()).abs().max() < 1
    assert timestamps.min() >= 0
    assert timestamps.max() <= 1000 * seconds
    assert timestamps[:, 0].max() <= spacing.mean()
    assert (1000 * seconds - timestamps[:, -1]).max() <= 50
    assert spacing.mean() == pytest.approx(50)


def test_each_vector_is_of_the_second_around_its_timestamp(model: hear.HearModel) -> None:
    audio = noise(1, 2.0)
    vectors, timestamps = hear.get_timestamp_embeddings(audio, model)
    padded = np.pad(audio[0].numpy(), RATE)
    for place in (0, 3, 20, 39):
        middle = RATE + round(float(timestamps[0, place]) * RATE / 1000)
        expected = model.extractor.embed(padded[middle - RATE // 2 : middle + RATE // 2])
        np.testing.assert_allclose(vectors[0, place], expected[0], atol=1e-5)


def test_scenes_are_the_mean_of_the_segments_by_their_duration(model: hear.HearModel) -> None:
    audio = noise(4, 2.74)
    found = hear.get_scene_embeddings(audio, model)
    assert found.shape == (4, model.scene_embedding_size)
    assert found.dtype == torch.float32
    for vector, sound in zip(found, audio, strict=True):
        segments = model.extractor.embed(sound.numpy())
        expected = np.average(segments, axis=0, weights=[1, 1, 0.74])
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_long_audio_stays_in_bounded_memory(
    model: hear.HearModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1200
    audio = noise(1, seconds)

    def cheap(segments: np.ndarray) -> np.ndarray:
        assert len(segments) <= 64
        assert psutil.Process().memory_info().rss < before + 400 * 2**20
        return segments[:, : model.timestamp_embedding_size].copy()

    monkeypatch.setattr(model.extractor, "embed_segments", cheap)
    before = psutil.Process().memory_info().rss
    vectors, _ = hear.get_timestamp_embeddings(audio, model)
    assert vectors.shape[:2] == (1, 20 * seconds)  # of windows of 1.5 GB together


@pytest.mark.parametrize("shape", [(16000,), (1, 2, 16000), (0, 16000), (2, 0)])
def test_audio_of_another_shape_is_refused(model: hear.HearModel, shape: tuple[int, ...]) -> None:
    for function in (hear.get_timestamp_embeddings, hear.get_scene_embeddings):
        with pytest.raises(UsageError, match=r"expected audio \[n_sounds, n_samples\]"):
            function(torch.zeros(shape), model)


def test_a_model_of_a_rate_that_hear_has_no_audio_at_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    low = Extractor.of(lambda segments: segments[:, :1], name="low", sample_rate=8000)
    monkeypatch.setattr(Extractor, "load", lambda path: low)
    with pytest.raises(UsageError, match="hears 8000 Hz; HEAR has audio at 16000, 22050"):
        hear.load_model("")
