"""Effects on sounds, each against a closed form."""

from collections.abc import Callable

import numpy as np
import pytest
import soxr
import torch
from torch import Tensor

from embedkit.training import effects

RATE = 16000


def noise(rows: int, samples: int = RATE, seed: int = 0) -> Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def level_db(sounds: Tensor) -> Tensor:
    return 20 * torch.log10(effects.rms(sounds)[:, 0])


def test_a_sound_is_brought_to_the_level_that_was_asked_for() -> None:
    asked = torch.tensor([-45.0, -20.0, -8.0])
    heard = slice(4000, 8000)
    louder = torch.ones(RATE)
    louder[:4000] = 10  # what does not count
    levelled = effects.at_level(noise(3) * louder, asked, heard)
    torch.testing.assert_close(level_db(levelled[:, heard]), asked, atol=1e-3, rtol=0)


def test_silence_has_no_level() -> None:
    silence = torch.zeros(1, RATE)
    assert torch.equal(effects.at_level(silence, torch.tensor([-10.0])), silence)


def test_noise_is_as_much_weaker_as_was_asked_for() -> None:
    sounds, hiss, asked = noise(3), noise(3, seed=1) * 7, torch.tensor([0.0, 13.0, 50.0])
    heard = slice(2000, 9000)
    added = effects.add_noise(sounds, hiss, asked, heard) - sounds
    found = level_db(sounds[:, heard]) - level_db(added[:, heard])
    torch.testing.assert_close(found, asked, atol=1e-2, rtol=0)
    scale = added[:, :1] / hiss[:, :1]
    torch.testing.assert_close(added, hiss * scale, atol=1e-5, rtol=1e-3)  # and nothing else


def test_an_equaliser_of_0_db_changes_nothing() -> None:
    sounds = noise(2)
    torch.testing.assert_close(
        effects.equalise(sounds, torch.zeros(2, 8)), sounds, atol=1e-5, rtol=0
    )


def test_an_equaliser_raises_each_tone_by_the_gain_at_its_frequency() -> None:
    """Knots stand at 0, 2, 4, 6 and 8 kHz; between them gains in dB are on a line."""
    gains = torch.tensor([[0.0, 10.0, -10.0, 0.0, 6.0]])
    time = torch.arange(RATE) / RATE
    for hz, expected in ((2000, 10.0), (3000, 0.0), (4000, -10.0), (5000, -5.0), (7000, 3.0)):
        tone = torch.sin(2 * torch.pi * hz * time)[None]
        found = level_db(effects.equalise(tone, gains)) - level_db(tone)
        assert float(found) == pytest.approx(expected, abs=1e-2)


def test_a_room_of_two_echoes_gives_two_echoes_and_none_before_the_sound() -> None:
    sounds = noise(1)
    response = torch.zeros(1, 8000)
    response[0, 0], response[0, 1000], response[0, 7999] = 1.0, 0.5, -0.25
    expected = sounds.clone()
    expected[:, 1000:] += 0.5 * sounds[:, :-1000]
    expected[:, 7999:] -= 0.25 * sounds[:, :-7999]
    torch.testing.assert_close(effects.reverberate(sounds, response), expected, atol=1e-4, rtol=0)


def test_a_room_has_energy_1_and_rings_as_long_as_was_asked_for() -> None:
    decay = torch.tensor([0.02, 0.1])
    rooms = effects.room(decay, torch.tensor([3.0, 20.0]), torch.ones(2, 8000), RATE)
    torch.testing.assert_close(rooms.square().sum(dim=1), torch.ones(2))
    torch.testing.assert_close(
        rooms[:, 0] / rooms[:, 1], torch.tensor([3.0, 20.0]), rtol=1e-2, atol=0
    )
    fallen = (rooms[:, 801] / rooms[:, 1]).log()  # after 50 ms
    torch.testing.assert_close(fallen, -0.05 / decay)


def test_a_cut_event_is_itself_inside_and_silence_outside() -> None:
    sounds = noise(2)
    cut = effects.cut_event(sounds, torch.tensor([0.3, 0.0]), torch.tensor([0.4, 0.2]), RATE)
    inside, outside = slice(5200, 10400), (slice(0, 4000), slice(12400, None))
    torch.testing.assert_close(cut[0, inside], sounds[0, inside], atol=2e-2, rtol=0)
    for part in outside:
        assert cut[0, part].abs().max() < 5e-2 * sounds.abs().max()
    assert cut[1, 4800:].abs().max() < 5e-2 * sounds.abs().max()


@pytest.mark.parametrize(
    ("rate", "wanted"), [(16000, 32000), (16000, 44100), (32000, 16000), (16000, 8000)]
)
def test_resampling_is_soxrs(rate: int, wanted: int, make_sound: Callable[..., np.ndarray]) -> None:
    """To 1e-3 of full scale, ends included, for what both rates can hold."""
    sound = soxr.resample(make_sound(1.0, 8000), 8000, rate, "VHQ")  # nothing above 4 kHz
    sound *= np.hanning(len(sound)) ** 0.1
    if wanted == 8000:
        sound = soxr.resample(soxr.resample(sound, rate, 6000, "VHQ"), 6000, rate, "VHQ")
    found = effects.resample(torch.from_numpy(sound)[None], rate, wanted)[0].numpy()
    expected = soxr.resample(sound, rate, wanted, "VHQ")
    assert len(found) == round(len(sound) * wanted / rate)
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-3)


def test_resampling_to_the_same_rate_is_nothing() -> None:
    sounds = noise(1)
    assert effects.resample(sounds, RATE, RATE) is sounds
