"""Log-mel features beside torchaudio's, the same numbers from a longer FFT.

    python benchmarks/features.py

One second of noise at 16 kHz, in batches of eight; the ratio is the median over pairs of runs, one
after the other. The error is the largest from torchaudio in float64, of noise and of pure tones.
"""

import statistics
import time

import numpy as np
import torch
from torchaudio.transforms import MelSpectrogram

from embedkit.audio.features import LogMel
from embedkit.config import FeatureSpec

BATCH, PAIRS = 8, 200


def seconds(front_end: torch.nn.Module, segments: torch.Tensor) -> float:
    """What a batch takes."""
    started = time.perf_counter()
    front_end(segments)
    return time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    """Print a Markdown table."""
    spec = FeatureSpec()
    ours = LogMel(spec)
    mel = MelSpectrogram(16000, 2048, spec.window_length, spec.hop_length, n_mels=spec.bands)

    class Theirs(torch.nn.Module):
        def forward(self, segments: torch.Tensor) -> torch.Tensor:
            return torch.log(mel(segments) + spec.log_floor).transpose(1, 2).unsqueeze(1)

    theirs = Theirs()
    noise = 0.1 * torch.randn(BATCH, 16000)
    print("| threads | torchaudio, s/s | embedkit, s/s | ratio |\n|---|---|---|---|")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        pairs = [(seconds(theirs, noise), seconds(ours, noise)) for _ in range(PAIRS)][10:]
        rates = [BATCH / statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(first / second for first, second in pairs)
        print(f"| {threads} | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.1f} |")
    hertz = np.array([50, 97, 440, 1234.5, 3000, 7800])
    tones = torch.from_numpy(np.sin(2 * np.pi * np.outer(hertz, np.arange(16000) / 16000)))
    print("\n| largest error of ln | torchaudio, float32 | embedkit |\n|---|---|---|")
    for name, sounds in (("noise", noise.double()), ("tones", tones)):
        found = [front_end(sounds.float()).double() for front_end in (theirs, ours)]
        mel.double()
        exact = theirs(sounds)
        mel.float()
        errors = [f"{(one - exact).abs().max():.0e}" for one in found]
        print(f"| {name} | {errors[0]} | {errors[1]} |")


if __name__ == "__main__":
    main()
