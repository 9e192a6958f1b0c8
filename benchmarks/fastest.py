"""embedkit beside YAMNet by TensorFlow Lite, the fastest peer: folders of WAV, FLAC and MP3.

    pip install 'embedkit[openvino,peers]'
    python benchmarks/fastest.py yamnet.tflite SOUNDS [--minutes 65] [--repeats 3] [--workers 2]
        [--runtimes onnx openvino openvino-bf16 openvino-int8] [--models default fast MODEL_DIR]

SOUNDS, a folder of any sounds, is strung together to files of a minute, 44.1 kHz stereo, 16 bits.
Each system is a command of its own with as many processes as there are --workers: `embedkit
extract`, whose vectors are on the disk when it ends, and benchmarks/yamnet_tflite.py. All take
turns in each round, and medians of the rounds count. Measure on an idle machine.

start to end: seconds from the start of the command to its end, imports and loading included.
lasting: seconds of audio a second, what a large folder tends to: the audio and the seconds of all
files less those of a run on the first eighth of them.
bound: 1 / sum(1 / rate of each stage) of decoding, features and network, each measured alone on as
many processes at once: what is left if nothing else takes time.
a core: of the processor that is named above the table, one process on each.
CPU s: of all processes of the command, system calls included, for an hour of audio; it hardly
changes where other programs use the cores too. Linux alone tells.
"""

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from itertools import cycle, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.bench.extraction import measure_extraction, processor_name
from embedkit.checkpoint import NETWORK_INT8
from embedkit.processes import WorkerPool
from embedkit.runtime import Runtime
from embedkit.runtime.installed import name_of, resolve

EMBEDKIT = Path(sysconfig.get_path("scripts")) / "embedkit"
YAMNET_TFLITE = Path(__file__).with_name("yamnet_tflite.py")
FORMATS = ("wav", "flac", "mp3")
RATE, FILE_S = 44100, 60
PR_SET_CHILD_SUBREAPER = 36
COLUMNS = (
    *("audio", "system", "start to end, s", "ratio", "lasting, s/s", "ratio", "lasting, a core"),
    *("bound", "CPU s"),
)


class System(NamedTuple):
    """A model and what executes it, or without them the peer."""

    name: str
    model: Path | None = None
    runtime: Runtime | None = None


PEER = System("YAMNet, TFLite")


class Timed(NamedTuple):
    """What a command took, in seconds: by the clock, and of processors."""

    wall_s: float
    cpu_s: float


def write_files(folder: Path, sounds: Path, minutes: int) -> None:
    """Files of a minute in each format; the channels differ, as a stereo recording's do."""
    for form in FORMATS:
        (folder / form).mkdir(parents=True)
    paths = cycle(find_audio(sounds).paths)
    left = np.zeros(0, np.float32)
    for number in range(minutes):
        while len(left) < RATE * FILE_S:
            left = np.concatenate([left, *decode(next(paths), RATE)])
        mono, left = np.split(left, [RATE * FILE_S])
        stereo = np.stack([mono, 0.8 * mono + 0.2 * np.roll(mono, 441)], axis=1)
        for form in FORMATS:
            subtype = {} if form == "mp3" else {"subtype": "PCM_16"}
            soundfile.write(folder / form / f"{number:03}.{form}", stereo, RATE, **subtype)


def run(command: list[object]) -> Timed:
    """Run a command to its end, and wait for what it leaves, which counts for its CPU time."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    wall_s = time.perf_counter() - started
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Timed(wall_s, used)


def command_of(system: System, audio: Path, out: Path, options: argparse.Namespace) -> list[object]:
    """What runs a system on a folder."""
    workers = ["--workers", options.workers]
    if system.model is None:
        scores = out.with_suffix(".npy")
        return [sys.executable, YAMNET_TFLITE, options.yamnet, audio, scores, *workers]
    how = ["--model", system.model, "--runtime", system.runtime]
    return [EMBEDKIT, "extract", audio, "--out", out, *how, *workers]


def hear_rate(model: Path, seconds: float) -> float:
    """Seconds that YAMNet's network hears in a second, in this process."""
    import yamnet_tflite

    yamnet_tflite.start(model)
    second = np.random.default_rng(0).uniform(-0.1, 0.1, 16000).astype(np.float32)
    yamnet_tflite.hear(second)
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        yamnet_tflite.hear(second)
        count += 1
    return count / elapsed


def bounds(folder: Path, systems: list[System], options: argparse.Namespace) -> dict[System, str]:
    """Stages of each system on a folder, and what they allow, in words."""
    found = {}
    for system in systems[1:]:
        speed = measure_extraction(
            folder, system.model, runtime=system.runtime, workers=options.workers, seconds=1.0
        )
        parts = {name: speed.stages[name] for name in ("decode", "features", "network")}
        found[system] = in_words(parts)
    with WorkerPool(options.workers) as pool:
        each = [pool.submit(hear_rate, options.yamnet, 1.0) for _ in range(options.workers)]
        hears = sum(future.result() for future in each)
    found[PEER] = in_words({"decode": speed.stages["decode"], "network": hears})
    return found


def in_words(stages: dict[str, float]) -> str:
    """The bound of stages, and they."""
    bound = 1 / sum(1 / rate for rate in stages.values())
    return f"{bound:,.0f} ({', '.join(f'{name} {rate:,.0f}' for name, rate in stages.items())})"


def measure(
    whole: Path, few: Path, systems: list[System], scratch: Path, options: argparse.Namespace
) -> dict[System, tuple[Timed, Timed]]:
    """Medians on all files and on few of them."""
    taken: dict[tuple[System, Path], list[Timed]] = {}
    for number in range(options.repeats):
        for folder in (few, whole):
            for system in systems:
                out = scratch / f"{number}-{folder.name}-{system.name.replace(', ', '-')}"
                done = run(command_of(system, folder, out, options))
                taken.setdefault((system, folder), []).append(done)
                print(f"{folder.name}, {system.name}: {done.wall_s:.2f} s", file=sys.stderr)

    def medians(system: System, folder: Path) -> Timed:
        return Timed(*map(statistics.median, zip(*taken[system, folder], strict=True)))

    return {system: (medians(system, whole), medians(system, few)) for system in systems}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("yamnet", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--minutes", type=int, default=65)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["default"])
    parser.add_argument(
        "--runtimes",
        nargs="+",
        type=Runtime,
        default=[Runtime.ONNX, Runtime.OPENVINO, Runtime.OPENVINO_BF16, Runtime.OPENVINO_INT8],
    )
    options = parser.parse_args()
    systems = [PEER]
    for text, runtime in product(options.models, options.runtimes):
        model = resolve(Path(text))
        if runtime.is_quantised and not (model / NETWORK_INT8).exists():
            print(f"{text}: has no network in 8 bits, left out of {runtime}", file=sys.stderr)
            continue
        systems.append(System(f"{name_of(model)}, {runtime}", model, runtime))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_files(scratch / "audio", options.sounds, options.minutes)
        count = max(options.workers, options.minutes // 8)
        taken = {}
        for form in FORMATS:
            whole, few = scratch / "audio" / form, scratch / f"few-{form}"
            few.mkdir()
            for path in sorted(whole.iterdir())[:count]:
                (few / path.name).hardlink_to(path)
            taken[form] = measure(whole, few, systems, scratch, options)
        print(f"{processor_name()}, {options.workers} processes, {options.minutes} minutes\n")
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for form, times in taken.items():
            bound = bounds(scratch / "audio" / form, systems, options)
            lasting = {
                system: FILE_S * (options.minutes - count) / (end.wall_s - early.wall_s)
                for system, (end, early) in times.items()
            }
            for system, (end, _) in times.items():
                print(
                    f"| {form} | {system.name} | {end.wall_s:.2f} |"
                    f" {times[PEER][0].wall_s / end.wall_s:.2f} | {lasting[system]:,.0f} |"
                    f" {lasting[system] / lasting[PEER]:.2f} |"
                    f" {lasting[system] / options.workers:,.0f} | {bound[system]} |"
                    f" {end.cpu_s * 60 / options.minutes:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
