"""Writes the network of a model folder, or one file from waveform to embeddings."""

import random
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.audio.decode import Samples, decode
from embedkit.audio.features import front_end
from embedkit.audio.files import find_audio
from embedkit.audio.segments import BATCH, Segment, batches_of, cut, in_batches, stack
from embedkit.checkpoint import (
    CALIBRATION,
    CALIBRATION_SEGMENTS,
    NETWORK,
    NETWORK_INT8,
    fingerprint,
    load_calibration,
)
from embedkit.errors import AudioError, EmbedkitError, UsageError
from embedkit.export.graph import WAVEFORM, describe, features_graph, halve, join, network_graph
from embedkit.export.quantise import quantise
from embedkit.models.module import ExtractorModule
from embedkit.runtime.embedder import EMBEDDINGS, FEATURES
from embedkit.runtime.onnx import open_session, read_network

TOLERANCE = 1e-4  # of a float32 graph
HEARD = 300  # segments of a file at most that calibration draws from
LEAST_COSINE = 0.98  # of an int8 graph: with less, something is wrong with it


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export.

    Attributes:
        path: the ONNX file.
        difference: the largest difference of a number from torch's, relative to the largest number.
        cosine: mean cosine of the embeddings to torch's; for an int8 network, on the half of the
            calibration segments that it was not calibrated on.
    """

    path: Path
    difference: float
    cosine: float


def write_network(module: ExtractorModule, folder: Path) -> Exported:
    """Write the float32 network of a model folder, which ONNX Runtime runs, and check it.

    Args:
        module: has the weights that the folder holds.
        folder: the model folder.

    Returns:
        the file, and how well it agrees.

    Raises:
        EmbedkitError: it would not give torch's embeddings; it is not written.
    """
    graph = network_graph(module)
    compute, spec = front_end(module.config.features), module.config.segments
    batches = [batches_of(sound, spec, module.sample_rate) for sound in _sounds(module.sample_rate)]
    features = np.concatenate([compute(batch) for some in batches for batch in some])
    found = _compare(module, graph, features)
    return _write(folder / NETWORK, graph, module, folder, "float32", found)


def export(
    model: Path,
    path: Path | None = None,
    *,
    int8: bool = False,
    calibration: Path | None = None,
) -> Exported:
    """Write what ONNX Runtime runs of a model folder, and check that it gives torch's embeddings.

    Without a path it writes the network of the model folder, from features to embeddings, which
    `extract` runs. Otherwise it writes one file that does what `Extractor.embed` does: its input is
    `waveform`, float32 [samples], and its output `embeddings`, float32 [segments, D]. The metadata
    give the sample rate of the waveform, how it is cut, and which weights the file was made from.

    Args:
        model: the model folder.
        path: the file from waveform to embeddings; None: the network of the folder.
        int8: quantise the network to 8 bits.
        calibration: a folder of audio to quantise for; by default the sample of its training
            segments that the model folder holds.

    Returns:
        the file, and how well it agrees.

    Raises:
        ModelFolderError: `model` is not a model folder, or it holds no sample to quantise for.
        UsageError: `calibration` holds no audio that can be decoded.
        EmbedkitError: the file would not give torch's embeddings; it is not written.
    """
    module = ExtractorModule.load(model)
    module.embedding_size = module.network.embedding_size  # who runs a graph takes a part
    if not int8:
        if path is None:
            return write_network(module, model)
        joined = join(features_graph(module), network_graph(module))
        return _write(path, joined, module, model, "float32", _compare_sounds(module, joined))
    if path is not None and calibration is None and not (model / CALIBRATION).exists():
        network = onnx.load_model_from_string(read_network(model, int8=True).graph)
        joined = join(features_graph(module), network)
        return _write(path, joined, module, model, "int8", _compare_sounds(module, joined))
    sample = load_calibration(model) if calibration is None else _sample(module, calibration)
    network = quantise(network_graph(module), sample[::2])
    # What it was not calibrated on tells more.
    found = _compare(module, network, sample[1::2] if len(sample) > 1 else sample)
    if path is not None:
        network = join(features_graph(module), network)
    return _write(path or model / NETWORK_INT8, network, module, model, "int8", found)


def _write(
    path: Path,
    graph: onnx.ModelProto,
    module: ExtractorModule,
    model: Path,
    precision: str,
    found: tuple[float, float],
) -> Exported:
    """Write a graph if its difference from torch's embeddings, and its cosine to them, will do."""
    difference, cosine = found
    if cosine < LEAST_COSINE if precision == "int8" else not difference <= TOLERANCE:
        raise EmbedkitError(
            f"{model}: the exported network would differ from torch's by {difference:.1e} of its"
            f" largest number, mean cosine {cosine:.4f}; nothing was written"
        )
    describe(graph, module, fingerprint(model), precision)
    halve(graph, exactly=True)
    with atomic_write(path) as file:
        file.write(graph.SerializeToString())
    return Exported(path=path, difference=difference, cosine=cosine)


def _compare(
    module: ExtractorModule, network: onnx.ModelProto, features: NDArray[np.float32]
) -> tuple[float, float]:
    """The largest difference of a network's embeddings from torch's, and their mean cosine."""
    session = open_session(network.SerializeToString(), threads=0)
    [found] = session.run([EMBEDDINGS], {FEATURES: features})
    with torch.inference_mode():
        wanted = module.network.embedding(module.normalise(torch.from_numpy(features)))
    return _distance(found, wanted.numpy())


def _compare_sounds(module: ExtractorModule, joined: onnx.ModelProto) -> tuple[float, float]:
    """The same for a graph from waveform to embeddings, on sounds of other lengths."""
    session = open_session(joined.SerializeToString(), threads=0)
    sounds = _sounds(module.sample_rate)
    found = [session.run([EMBEDDINGS], {WAVEFORM: sound})[0] for sound in sounds]
    wanted = [module.embed(sound) for sound in sounds]
    return _distance(np.concatenate(found), np.concatenate(wanted))


def _distance(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float]:
    difference = np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-12)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (found * wanted).sum(axis=1) / np.maximum(lengths, 1e-12)
    return float(difference), float(cosines.mean())


def _sounds(rate: int) -> list[Samples]:
    """Noise, a tone in noise, and silence."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(round(3.3 * rate))
    tone = np.sin(2 * np.pi * 440 / rate * np.arange(rate))
    sounds = [noise, noise[:rate] + tone, np.zeros(rate // 10)]
    return [sound.astype(np.float32) for sound in sounds]


def _sample(module: ExtractorModule, folder: Path) -> NDArray[np.float32]:
    """Features of segments drawn from all over a folder of audio."""
    draw = random.Random(0)
    paths = find_audio(folder).paths
    draw.shuffle(paths)
    spec, rate = module.config.segments, module.sample_rate
    each = -(-CALIBRATION_SEGMENTS // max(1, len(paths)))
    found: list[Segment] = []
    for path in paths:
        heard: list[Segment] = []
        with suppress(AudioError):  # what can be decoded is sample enough
            heard += islice(cut(decode(path, rate), spec, rate), HEARD)
        found += draw.sample(heard, min(each, len(heard)))
        if len(found) >= CALIBRATION_SEGMENTS:
            break
    if not found:
        raise UsageError(f"{folder}: no audio in it to quantise for")
    compute = front_end(module.config.features)
    return np.concatenate([compute(stack(batch)) for batch in in_batches(found, BATCH)])
