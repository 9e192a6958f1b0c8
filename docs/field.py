"""Make the guide's week of two recorders: `python docs/field.py FOLDER`, and its marks.csv.

An AudioMoth by a lake, and a Song Meter in a wood whose battery was empty for a day. Birds sing
from 4 to 9, crickets in the wood from 21 to 2; now and then either is heard at another hour.
"""

import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from embedkit.demo.synth import synthesise_clip

RATE, SECONDS = 16000, 20
START = datetime(2026, 6, 1, tzinfo=UTC)
EMPTY = range(60, 84)  # hours without power in the wood
MARKED = 48  # hours in which all calls are marked


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WAV file."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def calls(rng: np.random.Generator, hour: int, site: str) -> list[tuple[str, int]]:
    """Kinds of calls of three seconds, and the seconds in which they begin."""
    night = (hour >= 21 or hour < 2) and site == "wood"
    found: list[tuple[str, int]] = []
    for label, likely in (("bird", 4 <= hour < 9), ("cricket", night)):
        if rng.random() < (0.8 if likely else 0.03):
            for _ in range(rng.integers(1, 3)):
                at = int(rng.integers(0, SECONDS - 3))
                if all(abs(at - other) >= 4 for _, other in found):
                    found.append((label, at))
    return found


def write(path: Path, samples: np.ndarray, comment: str) -> None:
    """Write a WAV file, with an AudioMoth's comment if there is one."""
    sound = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    content = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
    if comment:
        info = b"INFO" + chunk(b"ICMT", comment.encode().ljust(384, b"\0"))
        content += chunk(b"LIST", info)
    content += chunk(b"data", sound)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)


def main(folder: Path) -> None:
    """Make the folder, and marks.csv beside it."""
    rng = np.random.default_rng(7)
    marks = ["path,start_s,end_s,label"]
    for site in ("lake", "wood"):
        for hour in range(7 * 24):
            start = START + timedelta(hours=hour)
            here = start.astimezone(ZoneInfo("Europe/Berlin"))
            if site == "wood" and hour in EMPTY:
                continue
            samples = 0.003 * rng.standard_normal(SECONDS * RATE)
            found = calls(rng, here.hour, site)
            for label, at in found:
                own = np.random.default_rng(rng.integers(2**30))
                samples[at * RATE : (at + 3) * RATE] += synthesise_clip(label, own, 3.0, RATE)
            name, comment = f"SMA01234_{here:%Y%m%d_%H%M%S}.wav", ""
            if site == "lake":
                name = f"{start:%Y%m%d_%H%M%S}.WAV"
                comment = (
                    f"Recorded at {start:%H:%M:%S %d/%m/%Y} (UTC) by AudioMoth 24F3190361A1A5C0"
                )
            write(folder / site / name, samples, comment)
            if hour < MARKED:
                marks += [f"{site}/{name},{at},{at + 3},{label}" for label, at in found]
    Path("marks.csv").write_text("\n".join(marks) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
