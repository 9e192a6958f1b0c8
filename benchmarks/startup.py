"""What a command costs before it has done anything: seconds, memory, and the size on the disk.

    python benchmarks/startup.py [--long HOURS] [--repeats 5]

Wall seconds are the median of the repeats, of processes that start anew each time. Memory is the
largest sum, over a run, of the proportional set sizes (Linux: /proc/PID/smaps_rollup) of all
processes of the command: what they hold together, shared pages once. Run it in an environment with
the base installation alone: what a package takes on the disk is summed over that environment.
"""

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
EMBEDKIT = str(Path(sysconfig.get_path("scripts")) / "embedkit")


def write_noise(path: Path, seconds: float) -> Path:
    """A WAV of noise, in blocks of a minute."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for start in np.arange(0, seconds, 60):
            length = round(min(60, seconds - start) * RATE)
            file.write((0.1 * rng.standard_normal(length)).astype(np.float32))
    return path


def wall(command: list[str], repeats: int) -> float:
    """Median seconds from start to end."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def extraction(audio: Path, repeats: int) -> float:
    """Median seconds of an extraction into a new folder."""
    seconds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            command = [EMBEDKIT, "extract", str(audio), "--out", f"{out}/embeddings"]
            seconds.append(wall(command, 1))
    return statistics.median(seconds)


def memory(audio: Path) -> tuple[int, int]:
    """Bytes at most of all processes of an extraction together, and of the largest of them."""
    most = largest = 0
    with tempfile.TemporaryDirectory() as out:
        command = [EMBEDKIT, "extract", str(audio), "--out", f"{out}/embeddings"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while run.poll() is None:
                sizes = [proportional_set(pid) for pid in family(run.pid)]
                most, largest = max(most, sum(sizes)), max(largest, *sizes)
                time.sleep(0.02)
    return most, largest


def family(parent: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended
                about = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(about[1])
    found = [parent]
    for pid in found:
        found += [child for child, above in parents.items() if above == pid]
    return found


def proportional_set(pid: int) -> int:
    """PSS of a process in bytes; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def installed() -> int:
    """Bytes of this environment's packages."""
    site = Path(sysconfig.get_path("purelib"))
    return sum(path.lstat().st_size for path in site.rglob("*") if path.is_file())


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--long", type=float, default=2.0, help="hours of the long file")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = write_noise(folder / "30s.wav", 30)
        long = write_noise(folder / "long.wav", 3600 * options.long)
        print("| what | measured |\n|---|---|")
        print(f"| packages of this environment | {installed() / 1e6:,.0f} MB |", flush=True)
        bare = wall([sys.executable, "-c", "import embedkit"], options.repeats)
        print(f"| `import embedkit` | {bare:.2f} s |", flush=True)
        print(f"| `embedkit models` | {wall([EMBEDKIT, 'models'], options.repeats):.2f} s |")
        print(
            f"| `embedkit extract`, one WAV of 30 s | {extraction(short, options.repeats):.2f} s |"
        )
        emb = str(folder / "emb")
        subprocess.run([EMBEDKIT, "extract", str(short), "--out", emb], check=True)
        found = wall([EMBEDKIT, "search", emb, "30s.wav", "--segments"], options.repeats)
        print(f"| `embedkit search` by a clip | {found:.2f} s |", flush=True)
        (few, one), (many, worker) = memory(short), memory(long)
        print(f"| all processes, one WAV of 30 s | {few / 1e6:,.0f} MB |")
        print(f"| the largest of them | {one / 1e6:,.0f} MB |")
        print(f"| more for a WAV of {options.long:g} hours | {(many - few) / 1e6:,.0f} MB |")
        print(f"| the largest process then | {worker / 1e6:,.0f} MB |")
    print(f"\n{os.cpu_count()} processors")


if __name__ == "__main__":
    main()
