"""embedkit beside YAMNet, VGGish and Cnn14: the same files to embeddings, on two threads.

    pip install -e '.[peers]'
    python benchmarks/peers.py MODEL_DIR [MODEL_DIR ...] AUDIO_DIR [--runtime NAME ...]
        [--workers 1 2] [--peers YAMNet VGGish Cnn14] [--yamnet-tflite FILE] [--repeats 3]
        [--minutes N] [--json FILE]

AUDIO_DIR holds clips of a second or more that libsndfile reads; --minutes first writes so much into
it: 10 s each, stereo, 44.1 kHz, WAV and MP3 by turns. Peers run as their own documentation shows,
with random weights, which speed does not depend on; nothing is fetched. YAMNet and VGGish (of
torch-vggish-yamnet) take all patches of a clip at once, up to 64; Cnn14 (of panns-inference) makes
one vector of a whole clip. --yamnet-tflite is the fastest of them: Google's file of YAMNet, whose
scores two processes of one thread make (benchmarks/yamnet_tflite.py). Measure on an idle machine:
where other programs use the cores, threads wait for each other, and a system may be ten times
slower.

start s: from nothing but Python and torch to the embeddings of the first clips, as many as the most
workers: imports, loading, an export for ONNX Runtime, which the process keeps. No other column of
speed counts this run.

audio s/s: seconds of audio by the seconds that the whole folder takes: median, slowest and fastest
of --repeats. Decoding, resampling and embedding count; for embedkit all that a call of `extract`
does: loading the model, starting the processes where there are several workers (each imports
torch), writing Parquet. The peers' networks are loaded already.

lasting audio s/s: the same without start-up, what a large folder tends to: audio and seconds of the
folder less those of other runs on the first clips. None where the folder takes less than twice as
long as they; with several workers it is sound from some 30 minutes of audio.

peak MB: of a fresh process for each row, from its start, imports and weights included, and of the
workers that it started: the largest sum of the resident peaks (VmHWM, read ten times a second) of
those alive. What they share, libraries above all, counts in each, so this is an upper bound where
there are several workers. Linux only.

parameters: all that were trained, output layers included where the network has them.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from embedkit.audio.files import find_audio  # all else where it is used: peers do not need it
from embedkit.processes import WorkerPool

THREADS = 2
PATCHES = 64  # that a peer takes at a time
PACKAGES = (
    *("torch", "torchaudio", "librosa", "torch-vggish-yamnet", "panns-inference"),
    "ai-edge-litert",
)
COLUMNS = {
    "system": "{system}",
    "audio s/s": "{audio_s_per_second:.1f} ({range[0]:.1f} to {range[1]:.1f})",
    "lasting audio s/s": "{lasting_audio_s_per_second}",
    "start s": "{start_s:.1f}",
    "peak MB": "{peak_mb:.0f}",
    "numbers a second of audio": "{numbers_per_audio_s:.0f}",
    "embedding size": "{embedding_size}",
    "parameters": "{parameters_m:.2f}M",
    "sample rate": "{sample_rate}",
}


@dataclass(frozen=True, kw_only=True)
class System:
    """Something that makes embeddings, loaded.

    Attributes:
        embed: embeds all files below a folder; the shape of what comes out, [vectors, size].
        network: it, for its parameters.
        sample_rate: that it hears.
    """

    embed: Callable[[Path], tuple[int, int]]
    network: nn.Module
    sample_rate: int


def ours(model: Path, runtime: str | None, workers: int) -> System:
    """A model folder, through `extract`."""
    from embedkit.checkpoint import load_config
    from embedkit.extraction import Settings, extract
    from embedkit.models.build import build_model

    config = load_config(model)
    with torch.device("meta"):  # the shapes alone: extract loads the weights
        network = build_model(config.model, config.feature_shape)
    options = {}
    if runtime:  # else the default one
        from embedkit.runtime import Runtime

        options["runtime"] = Runtime(runtime)

    def embed(root: Path) -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as name:
            run = extract(root, model, Path(name), Settings(workers=workers, **options))
        if run.failures:
            raise ValueError(run.failures[0].message)
        return run.rows, network.embedding_size

    return System(embed=embed, network=network, sample_rate=config.features.sample_rate)


def peer(network: nn.Module, sample_rate: int, embed_file: Callable[[Path], Tensor]) -> System:
    """A network of others, file by file; `embed_file` gives [vectors, size]."""
    network.eval()

    @torch.inference_mode()
    def embed(root: Path) -> tuple[int, int]:
        files = [embed_file(path).numpy() for path in find_audio(root).paths]
        return np.concatenate(files).shape

    return System(embed=embed, network=network, sample_rate=sample_rate)


def on_patches(network: nn.Module, embed_patches: Callable[[Tensor], Tensor]) -> System:
    """A network of torch-vggish-yamnet, on patches [B, 1, 96, 64] of 0.96 s."""
    from torch_vggish_yamnet.input_proc import CommonParams, WaveformToInput

    converter = WaveformToInput()

    def embed_file(path: Path) -> Tensor:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        batches = converter(torch.from_numpy(samples.T), rate).split(PATCHES)
        return torch.cat([embed_patches(batch) for batch in batches])

    return peer(network, CommonParams.TARGET_SAMPLE_RATE, embed_file)


def yamnet() -> System:
    """YAMNet of torch-vggish-yamnet."""
    from torch_vggish_yamnet.yamnet import yamnet as build

    network = build(pretrained=False)
    return on_patches(network, lambda patches: network(patches)[0].flatten(1))


def yamnet_tflite(file: Path) -> System:
    """The same network by TensorFlow Lite, which gives its scores."""
    from yamnet_tflite import hear_file, start

    pool = WorkerPool(THREADS, start, file)

    def embed(root: Path) -> tuple[int, int]:
        return np.concatenate(list(pool.map(hear_file, find_audio(root).paths))).shape

    return System(embed=embed, network=yamnet().network, sample_rate=16000)


def vggish() -> System:
    """VGGish of torch-vggish-yamnet."""
    from torch_vggish_yamnet.vggish import get_vggish

    network = get_vggish(with_classifier=False, pretrained=False)
    return on_patches(network, network)


def cnn14() -> System:
    """Cnn14 of panns-inference, with the settings of its AudioTagging."""
    # When the package's config is imported, it fetches a list of labels: this takes its place.
    config = ModuleType("panns_inference.config")
    config.labels, config.classes_num = [], 527
    sys.modules[config.__name__] = config
    import librosa
    from panns_inference.models import Cnn14

    rate = 32000
    network = Cnn14(
        sample_rate=rate,
        window_size=1024,
        hop_size=320,
        mel_bins=64,
        fmin=50,
        fmax=14000,
        classes_num=config.classes_num,
    )

    def embed_file(path: Path) -> Tensor:
        samples, _ = librosa.load(path, sr=rate, mono=True)
        return network(torch.from_numpy(samples[None]))["embedding"]

    return peer(network, rate, embed_file)


PEERS = {"YAMNet": yamnet, "VGGish": vggish, "Cnn14": cnn14}


def measure(load: Callable[[], System], root: Path, first: Path, repeats: int) -> dict[str, Any]:
    """Run a system on a folder and on its first clips; everything in its row but the memory."""
    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    system = load()
    system.embed(first)
    start_s = time.perf_counter() - started
    first_s = statistics.median(timed(system, first)[0] for _ in range(repeats))
    runs = [timed(system, root) for _ in range(repeats)]
    seconds, ((vectors, size), *_) = zip(*runs, strict=True)
    median, audio_s = statistics.median(seconds), duration_s(root)
    lasting = (audio_s - duration_s(first)) / (median - first_s)
    parameters = [each.numel() for each in system.network.parameters() if each.requires_grad]
    return {
        "audio_s_per_second": audio_s / median,
        "range": (audio_s / max(seconds), audio_s / min(seconds)),
        "lasting_audio_s_per_second": round(lasting, 1) if median > 2 * first_s else None,
        "start_s": start_s,
        "numbers_per_audio_s": vectors * size / audio_s,
        "embedding_size": size,
        "parameters_m": sum(parameters) / 1e6,
        "sample_rate": system.sample_rate,
        "seconds": seconds,
    }


def timed(system: System, root: Path) -> tuple[float, tuple[int, int]]:
    """Seconds that a folder takes, and the shape of its embeddings."""
    started = time.perf_counter()
    shape = system.embed(root)
    return time.perf_counter() - started, shape


def duration_s(root: Path) -> float:
    """Seconds of audio below a folder."""
    return sum(soundfile.info(path).duration for path in find_audio(root).paths)


def apart(function: Callable[..., Any], *arguments: object) -> tuple[Any, float]:
    """What a function returns in a fresh process, and the peak MB of it and its workers."""
    # Not a Pool, whose processes may not start workers of their own.
    with WorkerPool(1) as pool:
        pid = pool.submit(os.getpid).result()
        future = pool.submit(function, *arguments)
        peak = 0
        while wait([future], timeout=0.1).not_done:
            peak = max(peak, family_kb(pid))
        return future.result(), peak / 1024


def family_kb(pid: int) -> int:
    """Sum of the resident peaks of a process and its descendants, of those that are alive."""
    # Not ru_maxrss: a process inherits it from the one that started it.
    process = Path(f"/proc/{pid}")
    try:
        peak = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
        children = (process / f"task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return (int(peak[1]) if peak else 0) + sum(family_kb(int(child)) for child in children)


def write_clips(root: Path, minutes: int) -> None:
    """Synthesise clips of 10 s, the same ones every time."""
    from embedkit.demo.synth import CLASSES, synthesise_clip

    root.mkdir(parents=True, exist_ok=True)
    for number in range(6 * minutes):
        rng = np.random.default_rng(number)
        mono = synthesise_clip(CLASSES[number % len(CLASSES)], rng, 10, 44100)
        stereo = np.outer(mono, (1, rng.uniform(0.3, 1)))
        soundfile.write(root / f"{number:04}.{('wav', 'mp3')[number % 2]}", stereo, 44100)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("audio", type=Path)
    parser.add_argument("--runtime", nargs="+", default=[None])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--yamnet-tflite", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.minutes:
        write_clips(options.audio, options.minutes)
    paths = find_audio(options.audio).paths
    first_paths = paths[: max(options.workers)]
    if len(paths) == len(first_paths):
        parser.error(f"{options.audio}: {len(paths)} clips are too few")
    systems: list[tuple[str, Callable[[], System]]] = []
    for model, runtime, workers in product(options.models, options.runtime, options.workers):
        words = (f"embedkit {model.name}", runtime, f"{workers} worker{'s' * (workers > 1)}")
        systems.append((", ".join(filter(None, words)), partial(ours, model, runtime, workers)))
    systems += [(name, PEERS[name]) for name in options.peers]
    if options.yamnet_tflite:
        systems.append(
            ("YAMNet, TFLite, 2 processes", partial(yamnet_tflite, options.yamnet_tflite))
        )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        first = Path(name)
        for number, path in enumerate(first_paths):
            (first / f"{number}{path.suffix}").symlink_to(path.resolve())
        for system, load in systems:
            print(f"{system} ...", file=sys.stderr)
            row, peak_mb = apart(measure, load, options.audio, first, options.repeats)
            rows.append({"system": system, "peak_mb": peak_mb, **row})
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        print(f"| {' | '.join(cell.format(**row) for cell in COLUMNS.values())} |")
    if options.json:
        values = {
            "clips": len(paths),
            "audio_s": duration_s(options.audio),
            "threads": THREADS,
            "versions": {package: version(package) for package in PACKAGES},
            "systems": rows,
        }
        options.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
