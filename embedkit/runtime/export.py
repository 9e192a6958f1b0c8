"""A model folder as one ONNX file: a waveform goes in, embeddings come out."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from embedkit import __version__
from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.audio.segments import cut, stack
from embedkit.checkpoint import CALIBRATION_SEGMENTS, fingerprint, load_calibration
from embedkit.errors import AudioError, EmbedkitError, UsageError
from embedkit.files import atomic_write
from embedkit.models.extractor import Extractor
from embedkit.runtime.exported import FLOAT32, INT8, WEIGHTS_OF
from embedkit.runtime.graph import (
    EMBEDDINGS,
    FEATURES,
    WAVEFORM,
    features_graph,
    join,
    load_whole,
    network_graph,
)
from embedkit.runtime.quantise import quantise
from embedkit.runtime.session import open_session

TOLERANCE = 1e-4  # of a float32 file
LEAST_COSINE = 0.98  # of an int8 file: with less, something is wrong with it


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export gave.

    Attributes:
        path: of the ONNX file.
        difference: of an embedding's number from torch's, at most, relative to the largest number.
        cosine: of the network's embeddings to torch's, on average: of an int8 network on the half
            of the calibration segments that it was not calibrated on.
    """

    path: Path
    difference: float
    cosine: float


def export(
    model: Path,
    path: Path | None = None,
    *,
    int8: bool = False,
    calibration: Path | None = None,
) -> Exported:
    """Write one ONNX file that does what `Extractor.embed` does, and check that it does.

    Its input is `waveform`, float32 [samples], its output `embeddings`, float32 [segments, D]. Its
    metadata say at which rate the waveform is, how it is cut, and which weights it was made from.

    Args:
        model: the model folder.
        path: of the file; by default it stands in the model folder.
        int8: quantise the network to 8 bits.
        calibration: a folder of audio to quantise for; by default the sample of its training
            segments that the model folder holds.

    Raises:
        ModelFolderError: `model` is not a model folder, or it holds no sample to quantise for.
        UsageError: `calibration` holds no audio that can be decoded.
        EmbedkitError: the file would not give torch's embeddings; it is not written.
    """
    extractor = load_whole(model)
    network = network_graph(extractor)
    if int8:
        sample = (
            load_calibration(model) if calibration is None else _features(extractor, calibration)
        )
        network = quantise(network, sample[::2])
        cosine = _cosine(extractor, network, sample[1::2] if len(sample) > 1 else sample)
    joined = join(features_graph(extractor), network)
    joined.producer_name, joined.producer_version = "embedkit", __version__
    onnx.helper.set_model_props(joined, _metadata(extractor, model, int8))
    difference, waveform_cosine = _difference(extractor, joined)
    if not int8:
        cosine = waveform_cosine
    if (cosine < LEAST_COSINE) if int8 else not difference <= TOLERANCE:
        raise EmbedkitError(
            f"{model}: the exported network would differ from torch's by {difference:.1e} of its"
            f" largest number, mean cosine {cosine:.4f}; nothing was written"
        )
    path = path or model / (INT8 if int8 else FLOAT32)
    with atomic_write(path) as file:
        file.write(joined.SerializeToString())
    return Exported(path=path, difference=difference, cosine=cosine)


def _metadata(extractor: Extractor, model: Path, int8: bool) -> dict[str, str]:
    config = extractor.config
    return {
        WEIGHTS_OF: fingerprint(model),
        "model": config.model.name,
        "precision": "int8" if int8 else "float32",
        "sample_rate": str(extractor.sample_rate),
        "segment_s": str(config.segments.duration_s),
        "hop_s": str(config.segments.hop_s),
        "embedding_size": str(extractor.embedding_size),
        # Of a Matryoshka network: the prefixes that are embeddings too.
        "embedding_sizes": " ".join(map(str, extractor.network.sizes)),
    }


def _difference(extractor: Extractor, model: onnx.ModelProto) -> tuple[float, float]:
    """From torch's embeddings of noise, a tone in noise and silence, and their cosine."""
    session = open_session(model.SerializeToString(), threads=0)
    rate = extractor.sample_rate
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal(round(3.3 * rate))
    tone = np.sin(2 * np.pi * 440 / rate * np.arange(len(noise)))
    sounds = [noise, noise[:rate] + tone[:rate], np.zeros(rate // 10)]
    found, wanted = [], []
    for sound in sounds:
        waveform = sound.astype(np.float32)
        wanted.append(extractor.embed(waveform))
        found += session.run([EMBEDDINGS], {WAVEFORM: waveform})
    ours, torchs = np.concatenate(found), np.concatenate(wanted)
    return float(np.abs(ours - torchs).max() / max(np.abs(torchs).max(), 1e-12)), _mean_cosine(
        ours, torchs
    )


def _cosine(extractor: Extractor, network: onnx.ModelProto, features: NDArray[np.float32]) -> float:
    session = open_session(network.SerializeToString(), threads=0)
    [found] = session.run([EMBEDDINGS], {FEATURES: features})
    with torch.inference_mode():
        values = extractor.normalise(torch.from_numpy(features))
        return _mean_cosine(found, extractor.network.embedding(values).numpy())


def _mean_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def _features(extractor: Extractor, folder: Path) -> NDArray[np.float32]:
    """Features of segments from all over a folder of audio."""
    paths = find_audio(folder).paths
    each = -(-CALIBRATION_SEGMENTS // max(1, len(paths)))
    steps = max(1, len(paths) // CALIBRATION_SEGMENTS)
    found = []
    for path in paths[::steps]:
        try:
            blocks = decode(path, extractor.sample_rate)
            cuts = cut(blocks, extractor.config.segments, extractor.sample_rate)
            segments = stack(list(islice(cuts, each)))
        except AudioError:
            continue  # what can be decoded is sample enough
        with torch.inference_mode():
            found.append(extractor.front_end(torch.from_numpy(segments)).numpy())
    if not found:
        raise UsageError(f"{folder}: no audio in it to quantise for")
    return np.concatenate(found)
