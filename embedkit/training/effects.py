"""Effects of rooms, microphones and distance on batches of sounds, on any device."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SILENT = 1e-4  # RMS below which there is nothing to hear
ATTACK, RELEASE = 400.0, 200.0  # how steep a cut event begins and ends, a second


def rms(sounds: Tensor) -> Tensor:
    """Root mean square [B, 1] of sounds [B, samples]."""
    return sounds.square().mean(dim=1, keepdim=True).sqrt()


def gain(db: Tensor) -> Tensor:
    """The factor of a number of decibels."""
    return torch.pow(10.0, db / 20)


def at_level(sounds: Tensor, db: Tensor, heard: slice = slice(None)) -> Tensor:
    """Bring sounds to a level.

    Args:
        sounds: [B, samples].
        db: root mean square below full scale [B].
        heard: the samples whose level counts; where they are silent, the sound stays as it is.

    Returns:
        [B, samples].
    """
    level = rms(sounds[:, heard])
    factor = gain(db)[:, None] / level.clamp(min=SILENT)
    return torch.where(level > SILENT, sounds * factor, sounds)


def cut_event(sounds: Tensor, start_s: Tensor, length_s: Tensor, sample_rate: int) -> Tensor:
    """Cut sounds to an event.

    Args:
        sounds: [B, samples].
        start_s: where the event starts, in seconds [B].
        length_s: how long it lasts, in seconds [B].
        sample_rate: in Hz.

    Returns:
        [B, samples], silent outside of the event.
    """
    time = torch.arange(sounds.shape[1], device=sounds.device)[None] / sample_rate
    since, left = time - start_s[:, None], (start_s + length_s)[:, None] - time
    return sounds * torch.sigmoid(ATTACK * since) * torch.sigmoid(RELEASE * left)


def equalise(sounds: Tensor, gains_db: Tensor) -> Tensor:
    """Filter sounds by gains at evenly spaced frequencies from 0 Hz to half the sample rate.

    Args:
        sounds: [B, samples].
        gains_db: [B, knots].

    Returns:
        [B, samples].
    """
    size = sounds.shape[1]
    curve = F.interpolate(
        gains_db[:, None], size=size // 2 + 1, mode="linear", align_corners=True
    ).squeeze(1)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(sounds) * gain(curve), n=size)
    return filtered


def reverberate(sounds: Tensor, responses: Tensor) -> Tensor:
    """Put sounds into rooms.

    Args:
        sounds: [B, samples].
        responses: impulse responses of the rooms [B, m].

    Returns:
        [B, samples].
    """
    size = sounds.shape[1]
    whole = _fast_length(size + responses.shape[1] - 1)  # what rings on does not come round
    product = torch.fft.rfft(sounds, n=whole) * torch.fft.rfft(responses, n=whole)
    heard: Tensor = torch.fft.irfft(product, n=whole)[:, :size]
    return heard


def room(decay_s: Tensor, direct: Tensor, noise: Tensor, sample_rate: int) -> Tensor:
    """Impulse responses of energy 1.

    Args:
        decay_s: seconds after which the reverberation is 8.7 dB weaker [B].
        direct: how much stronger the sound itself is than the noise that follows it [B].
        noise: white, of deviation 1 [B, m].
        sample_rate: in Hz.

    Returns:
        [B, m].
    """
    time = torch.arange(noise.shape[1], device=noise.device)[None] / sample_rate
    ringing = noise * torch.exp(-time / decay_s[:, None])
    response = torch.cat([direct[:, None], ringing[:, 1:]], dim=1)
    return response / response.square().sum(dim=1, keepdim=True).sqrt()


def add_noise(sounds: Tensor, noise: Tensor, snr_db: Tensor, heard: slice = slice(None)) -> Tensor:
    """Add noise to sounds.

    Args:
        sounds: [B, samples].
        noise: [B, samples].
        snr_db: by how many decibels the noise is weaker where it counts [B].
        heard: the samples that count.

    Returns:
        [B, samples].
    """
    level, own = rms(sounds[:, heard]), rms(noise[:, heard])
    return sounds + noise * (level / own.clamp(min=SILENT) * gain(-snr_db)[:, None])


def resample(sounds: Tensor, sample_rate: int, wanted: int) -> Tensor:
    """Sounds at another sample rate, cut off at half of the lower rate.

    A Fourier transform treats a sound as periodic: silence around it keeps its end away from its
    beginning.

    Args:
        sounds: [B, samples].
        sample_rate: in Hz.
        wanted: the other sample rate, in Hz.

    Returns:
        [B, other samples].
    """
    if sample_rate == wanted:
        return sounds
    common = math.gcd(sample_rate, wanted)
    down, up = sample_rate // common, wanted // common
    size = sounds.shape[1]
    margin = math.ceil(sample_rate / 20 / down) * down  # 50 ms, and whole samples at both rates
    whole = math.ceil((size + 2 * margin) / down) * down
    spectrum = torch.fft.rfft(F.pad(sounds, (margin, whole - size - margin)))
    resampled = whole // down * up
    kept = min(whole, resampled) // 2 + 1
    spectrum = F.pad(spectrum[:, :kept], (0, resampled // 2 + 1 - kept))
    start, length = margin // down * up, math.ceil(size * up / down)
    resounding: Tensor = torch.fft.irfft(spectrum, n=resampled)[:, start : start + length]
    return resounding * (up / down)


def _fast_length(size: int) -> int:
    """The length of a fast Fourier transform of at least this size."""
    step = 1 << max(0, size.bit_length() - 3)
    return math.ceil(size / step) * step
