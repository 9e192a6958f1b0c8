"""Vectors of YAMNet (Google, Apache-2.0, trained on AudioSet) as targets for `embedkit distil`.

    pip install ai-edge-litert
    python benchmarks/yamnet.py yamnet.tflite AUDIO_DIR OUT_DIR

yamnet.tflite is the conversion with float activations that gives scores and spectrogram (SHA-256
469be6a3...). For each second of the audio OUT_DIR gets the first principal components of the 1,024
numbers before the classifier (`embedding/`) and of the 521 logits (`logits/`). Their basis,
basis.npz, is made of the first 20,000 seconds; with --basis that of another run is taken.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from embedkit.audio.decode import decode
from embedkit.audio.files import clip_name, find_audio
from embedkit.audio.segments import cut
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError
from embedkit.processes import WorkerPool

WINDOW = 15600  # samples that it hears
OUTPUTS = {"embedding": "global_average_pooling2d/Mean", "logits": "dense/BiasAdd"}
COMPONENTS = {"embedding": 256, "logits": 128}
LOWEST = -30.0  # a logit of digital silence may be -800
SAMPLE, PART = 20_000, 100_000  # rows

Vectors = dict[str, NDArray[np.float32]]

_teacher: Interpreter


def start(model: Path) -> None:
    """Load the network, once a process."""
    global _teacher  # noqa: PLW0603
    _teacher = Interpreter(str(model), num_threads=1, experimental_preserve_all_tensors=True)
    _teacher.allocate_tensors()


def hear(second: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What it has for a second [16000]."""
    _teacher.set_tensor(_teacher.get_input_details()[0]["index"], second[None, :WINDOW])
    _teacher.invoke()
    return {output: _teacher.get_tensor(tensor)[0].copy() for output, tensor in _tensors().items()}


@cache
def _tensors() -> dict[str, int]:
    return {
        output: next(
            detail["index"]
            for detail in _teacher.get_tensor_details()
            if name in detail["name"][-60:]
            and len(detail["shape"]) == 2
            and detail["shape"][0] == 1
        )
        for output, name in OUTPUTS.items()
    }


def embed(path: Path) -> tuple[list[float], Vectors]:
    """Starts of a clip's seconds, and their vectors."""
    starts, found = [], {output: [] for output in OUTPUTS}
    try:
        for segment in cut(decode(path, 16000), SegmentSpec(), 16000):
            if segment.index and segment.end_s - segment.start_s < 0.5:
                continue
            starts.append(segment.start_s)
            for output, vector in hear(segment.samples).items():
                found[output].append(vector)
    except AudioError as error:
        print(error)
    return starts, {output: np.array(rows, np.float32) for output, rows in found.items()}


def main() -> None:
    """Write the targets."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--basis", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    paths = find_audio(options.audio).paths
    with WorkerPool(options.workers, start, options.model) as pool:
        rows = _rows(zip(paths, pool.map(embed, paths, chunksize=16), strict=True), options.audio)
        part = list(islice(rows, SAMPLE))
        basis = _basis(options.basis or options.out / "basis.npz", part)
        number = 0
        while part:
            _write(options.out, number, part, basis)
            number += 1
            print(f"part {number}: {len(part)} seconds", flush=True)
            part = list(islice(rows, PART))


Row = tuple[str, int, float, Vectors]


def _rows(clips, root: Path) -> Iterator[Row]:
    for path, (starts, vectors) in clips:
        for index, start_s in enumerate(starts):
            yield clip_name(path, root), index, start_s, {k: v[index] for k, v in vectors.items()}


def _values(rows: list[Row], output: str) -> NDArray[np.float32]:
    values = np.stack([vectors[output] for *_, vectors in rows])
    return np.maximum(values, LOWEST)


def _basis(path: Path, rows: list[Row]) -> dict[str, NDArray[np.float32]]:
    if not path.exists():
        basis = {}
        for output, components in COMPONENTS.items():
            found = PCA(components, random_state=0).fit(_values(rows, output))
            print(f"{output}: {found.explained_variance_ratio_.sum():.3f} of the variance")
            basis |= {f"{output}_mean": found.mean_, output: found.components_.T}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **basis)
    return dict(np.load(path))


def _write(out: Path, number: int, rows: list[Row], basis: dict[str, NDArray[np.float32]]) -> None:
    clips, indices, starts, _ = zip(*rows, strict=True)
    for output in OUTPUTS:
        vectors = (_values(rows, output) - basis[f"{output}_mean"]) @ basis[output]
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.astype(np.float16).ravel()), vectors.shape[1]
        )
        table = pa.table(
            {
                "clip": clips,
                "segment": pa.array(indices, pa.int32()),
                "start_s": starts,
                "end_s": np.array(starts) + 1.0,
                "embedding": column,
            }
        )
        (out / output).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, out / output / f"part-{number:05d}.parquet")


if __name__ == "__main__":
    main()
