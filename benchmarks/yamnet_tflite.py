"""YAMNet by TensorFlow Lite (XNNPACK), as people run it on a CPU: a folder of sound -> scores.

    pip install ai-edge-litert
    python benchmarks/yamnet_tflite.py yamnet.tflite AUDIO_DIR scores.npy [--workers 2]

One process of one thread for each worker. Files are decoded and resampled as embedkit does it, and
of each second the network hears the 15,600 samples that it takes.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.audio.segments import cut
from embedkit.config import SegmentSpec

RATE, WINDOW = 16000, 15600

_network: Interpreter


def start(model: Path) -> None:
    """Load the network, once a process."""
    global _network  # noqa: PLW0603
    _network = Interpreter(str(model), num_threads=1)
    _network.allocate_tensors()


def hear(second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores [521] of a second [16000]."""
    _network.set_tensor(_network.get_input_details()[0]["index"], second[None, :WINDOW])
    _network.invoke()
    return _network.get_tensor(_network.get_output_details()[0]["index"])[0]


def hear_file(path: Path) -> NDArray[np.float32]:
    """Scores [seconds, 521] of a file."""
    segments = cut(decode(path, RATE), SegmentSpec(), RATE)
    return np.stack([hear(segment.samples) for segment in segments])


def main() -> None:
    """Write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    paths = find_audio(options.audio).paths
    with ProcessPoolExecutor(options.workers, initializer=start, initargs=(options.model,)) as pool:
        np.save(options.out, np.concatenate(list(pool.map(hear_file, paths))))


if __name__ == "__main__":
    main()
