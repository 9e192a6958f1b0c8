"""Front-ends against librosa, which computes them with NumPy."""

import math
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from embedkit.audio.features import CQT, MFCC, LogMel, front_end
from embedkit.config import SAMPLE_RATES, FeatureSpec
from embedkit.errors import UsageError
from embedkit.models import features as torch_features


def logmel(sound: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    return LogMel(spec)(np.atleast_2d(sound).astype(np.float32))


def mel_power(sound: np.ndarray, rate: int) -> np.ndarray:
    """By librosa, with the paper's settings and the HTK scale [bands, frames]."""
    return librosa.feature.melspectrogram(
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
        power = mel_power(sound, rate)
        # Of ln: a relative difference of 2e-4 in power, from float32 sums in another order.
        np.testing.assert_allclose(features, np.log(power + 1e-5).T, rtol=0, atol=2e-4)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_a_short_fft_is_as_exact_as_a_long_one_in_float32(rate, make_sound):
    """Pure tones are the hard case: everything else is their rounding error."""
    spec = FeatureSpec(sample_rate=rate)
    seconds = np.arange(rate) / rate
    tones = np.sin(2 * np.pi * np.outer([50, 97, 440, 1234.5, 3000, 7800], seconds))
    square = np.sign(tones[:3])
    sounds = np.concatenate([tones, square, [np.full(rate, 0.9), make_sound(1, rate)]])
    mel = MelSpectrogram(rate, 2048, spec.window_length, spec.hop_length, n_mels=64)
    exact = torch.log(mel.double()(torch.from_numpy(sounds)) + 1e-5).transpose(1, 2).numpy()
    theirs = torch.log(mel.float()(torch.from_numpy(sounds).float()) + 1e-5)
    their_error = np.abs(theirs.transpose(1, 2).numpy() - exact).max()
    assert np.abs(logmel(sounds, spec)[:, 0] - exact).max() < max(2e-3, 3 * their_error)


def test_only_windows_much_shorter_than_the_fft_are_folded():
    lengths = {rate: LogMel(FeatureSpec(sample_rate=rate)).n_fft for rate in SAMPLE_RATES}
    assert lengths == {16000: 960, 22050: 1344, 32000: 1920, 44100: 2048, 48000: 2048}


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


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_mfcc_equal_librosa(rate, make_sound):
    spec = FeatureSpec(kind="mfcc", sample_rate=rate)
    sound = make_sound(1, rate)
    found = MFCC(spec)(sound[None])
    assert found.shape == (1, 1, 1 + rate // spec.hop_length, 40)
    expected = librosa.feature.mfcc(
        S=np.log(mel_power(sound, rate) + 1e-5), n_mfcc=40, dct_type=2, norm="ortho"
    )
    # A coefficient is a unit vector's product with 64 logarithms, each right to 2e-4.
    np.testing.assert_allclose(found[0, 0], expected.T, rtol=0, atol=1e-3)


def cqt_amplitude(sound, spec):
    features = CQT(spec)(sound[None].astype(np.float32))[0, 0].astype(np.float64)
    return np.sqrt(np.maximum(np.exp(features) - spec.log_floor, 0))


CQT_SPECS = [
    FeatureSpec(kind="cqt"),
    FeatureSpec(kind="cqt", sample_rate=44100, bins_per_octave=7),
    FeatureSpec(kind="cqt", bins_per_octave=12, min_hz=110),
]


@pytest.mark.parametrize("spec", CQT_SPECS)
def test_cqt_is_the_inner_product_with_librosas_wavelets(spec, make_sound):
    rate, hop = spec.sample_rate, spec.hop_length
    sound = make_sound(1, rate)
    hertz = librosa.cqt_frequencies(
        spec.bands, fmin=spec.min_hz, bins_per_octave=spec.bins_per_octave
    )
    wavelets, lengths = librosa.filters.wavelet(freqs=hertz, sr=rate, norm=1, pad_fft=False)
    size = wavelets.shape[1]
    padded = np.pad(sound.astype(np.float64), (size // 2, size))
    frames = np.stack([padded[start : start + size] for start in range(0, rate + 1, hop)])
    expected = np.abs(frames @ wavelets.conj().T) * np.sqrt(lengths)
    found = cqt_amplitude(sound, spec)
    # librosa rounds the length of a window to whole samples.
    assert np.linalg.norm(found - expected) < 0.005 * np.linalg.norm(expected)


@pytest.mark.parametrize("spec", CQT_SPECS)
def test_cqt_resembles_librosas_which_goes_down_by_octaves(spec, make_sound):
    sound = make_sound(1, spec.sample_rate)
    expected = np.abs(
        librosa.cqt(
            sound,
            sr=spec.sample_rate,
            hop_length=spec.hop_length,
            fmin=spec.min_hz,
            n_bins=spec.bands,
            bins_per_octave=spec.bins_per_octave,
            sparsity=0,
            pad_mode="constant",
        )
    ).T
    found = cqt_amplitude(sound, spec)[: len(expected)]
    # Its filters between octaves take something from the bins that are near their edge.
    assert np.linalg.norm(found - expected) < 0.08 * np.linalg.norm(expected)


def test_a_tone_at_a_bin_of_the_cqt_has_the_closed_form_of_its_amplitude():
    spec = FeatureSpec(kind="cqt")
    hertz = spec.min_hz * 2 ** (np.arange(20, 60, 5) / spec.bins_per_octave)
    factor = 2 ** (2 / spec.bins_per_octave)
    quality = (factor + 1) / (factor - 1)
    for bin_, tone in zip(range(20, 60, 5), hertz, strict=True):
        sound = 0.5 * np.sin(2 * np.pi * tone * np.arange(16000) / 16000)
        amplitude = cqt_amplitude(sound, spec)[20:-20]
        assert (amplitude.argmax(axis=1) == bin_).all()
        # Half of 0.5 stands at the positive frequency; the window sums to sqrt(its length).
        closed = 0.25 * math.sqrt(quality * 16000 / tone)
        np.testing.assert_allclose(amplitude[:, bin_], closed, rtol=1e-3)


def test_white_noise_is_equally_strong_in_every_bin_of_the_cqt():
    noise = np.random.default_rng(0).standard_normal((60, 16000)).astype(np.float32)
    power = np.exp(CQT(FeatureSpec(kind="cqt"))(noise)[:, 0, 35:66]).mean(axis=(0, 1))
    # A Hann window that sums to sqrt(n) has an energy of 3 / 2.
    np.testing.assert_allclose(power, 1.5, rtol=0.25)
    assert power.mean() == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(("kind", "module"), [("log-mel", LogMel), ("mfcc", MFCC), ("cqt", CQT)])
def test_the_spec_names_the_front_end_and_a_batch_gives_what_single_segments_give(
    kind, module, make_sound
):
    spec = FeatureSpec(kind=kind)
    transform = front_end(spec)
    assert type(transform) is module
    sounds = np.stack([make_sound(1, seed=seed) for seed in range(3)])
    together = transform(sounds)
    assert together.shape == (3, 1, 101, spec.size)
    alone = np.concatenate([transform(sound[None]) for sound in sounds])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("kind", ["log-mel", "mfcc", "cqt"])
def test_torchs_front_ends_are_numpys(kind, rate, make_sound):
    spec = FeatureSpec(kind=kind, sample_rate=rate)
    sounds = np.stack(
        [make_sound(1, rate), 1e-3 * make_sound(1, rate, seed=1), np.zeros(rate, "f4")]
    )
    transform = torch_features.front_end(spec)
    theirs = transform(torch.from_numpy(sounds)).numpy()
    np.testing.assert_allclose(front_end(spec)(sounds), theirs, rtol=0, atol=5e-4)
    assert not transform.state_dict()  # it is made from the settings, and never stored


def test_a_front_end_serves_threads_at_once(make_sound):
    transform = front_end(FeatureSpec())
    batches = [np.stack([make_sound(1, seed=seed + k) for k in range(3)]) for seed in range(8)]
    wanted = [transform(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(transform, batches * 5), wanted * 5, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "mfcc", "coefficients": 65}, "65 coefficients of 64 mel bands"),
        ({"kind": "cqt", "bins_per_octave": 7}, "end too near half the sample rate of 16000"),
        ({"kind": "cqt", "min_hz": 0}, "lowest bin at 0 Hz: must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        FeatureSpec(**settings)
