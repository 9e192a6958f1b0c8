"""Make the guide's night of bats: `python docs/night.py FOLDER`, and call.wav beside the folder.

Three recordings of ten seconds at 250 kHz, in which a bat calls four times: from 55 kHz down to 40.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 250_000, 10
CALLS = {"2024-06-01": (3.32, 3.52, 3.72), "2024-06-02": (), "2024-06-03": (7.12,)}
HIGH, LOW, CALL_S = 55_000.0, 40_000.0, 0.06


def call() -> np.ndarray:
    """A sweep that fades in and out: [samples]."""
    time = np.arange(round(CALL_S * RATE)) / RATE
    phase = HIGH * time + (LOW - HIGH) * time**2 / (2 * CALL_S)
    return 0.3 * np.hanning(len(time)) * np.sin(2 * np.pi * phase)


def main(folder: Path) -> None:
    """Make the folder, and a call alone."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for night, starts in CALLS.items():
        samples = 0.01 * rng.standard_normal(SECONDS * RATE)
        for start_s in starts:
            first = round(start_s * RATE)
            samples[first : first + len(call())] += call()
        soundfile.write(folder / f"{night}.wav", samples, RATE)
    alone = 0.01 * rng.standard_normal(RATE // 10)
    alone[RATE // 50 : RATE // 50 + len(call())] += call()
    soundfile.write(folder.with_name("call.wav"), alone, RATE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
