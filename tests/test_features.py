"""Log-mel features against librosa, which computes them with NumPy."""

import math

import librosa
import numpy as np
import pytest
import torch

from embedkit.audio.features import LogMel
from embedkit.config import SAMPLE_RATES, FeatureSpec


def logmel(sound: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    return LogMel(spec)(torch.from_numpy(np.atleast_2d(sound).astype(np.float32))).numpy()


def band_centres(spec: FeatureSpec) -> np.ndarray:
    """Hz, from the definition of the HTK mel scale."""
    top = 2595 * np.log10(1 + spec.sample_rate / 2 / 700)
    return 700 * (10 ** (np.linspace(0, top, spec.bands + 2)[1:-1] / 2595) - 1)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_log_mel_equals_librosa(rate, make_sound):
    spec = FeatureSpec(sample_rate=rate)
    sounds = [make_sound(1, rate), 0.001 * make_sound(1, rate, seed=1)]
    found = logmel(np.stack(sounds), spec)
    for sound, features in zip(sounds, found[:, 0], strict=True):
        power = librosa.feature.melspectrogram(
            y=sound,
            sr=rate,
            n_fft=2048,
            win_length=round(0.025 * rate),
            hop_length=round(0.010 * rate),
            window="hann",
            center=True,
            pad_mode="reflect",
            power=2,
            n_mels=64,
            htk=True,
            norm=None,
        )
        # Of ln: a relative difference of 2e-4 in power, from float32 sums in another order.
        np.testing.assert_allclose(features, np.log(power + 1e-5).T, rtol=0, atol=2e-4)


def test_a_second_at_16_khz_has_the_papers_shape():
    assert logmel(np.zeros(16000), FeatureSpec()).shape == (1, 1, 101, 64)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_a_tone_is_loudest_in_the_band_with_the_nearest_centre(rate):
    spec = FeatureSpec(sample_rate=rate)
    centres = band_centres(spec)
    # Below, bands are narrower than what a window of 25 ms tells apart.
    wide = np.flatnonzero(np.gradient(centres) > 2 / spec.window_s)[:-1:3]
    steps = [-0.3, 0, 0.3]  # of the way to the next band
    tones = np.concatenate([centres[wide] + step * np.diff(centres)[wide] for step in steps])
    assert len(tones) >= 30
    features = logmel(0.5 * np.sin(2 * np.pi * np.outer(tones, np.arange(rate) / rate)), spec)
    nearest = np.abs(centres - tones[:, None]).argmin(axis=1)
    loudest = features[:, 0, 5:-5].argmax(axis=2)  # at the edges reflection breaks the tone
    np.testing.assert_array_equal(loudest, np.tile(nearest[:, None], loudest.shape[1]))


@pytest.mark.parametrize("floor", [1e-5, 1e-10])
def test_silence_is_the_log_of_the_floor(floor):
    features = logmel(np.zeros(16000), FeatureSpec(log_floor=floor))
    assert (features == np.float32(math.log(floor))).all()
