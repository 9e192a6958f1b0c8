"""A module as ONNX graphs: from waveform to features, and from features to embeddings."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit import __version__
from embedkit.models.build import count_macs
from embedkit.models.features import MFCC, LogMel
from embedkit.models.module import ExtractorModule
from embedkit.runtime.embedder import EMBEDDINGS, FEATURES
from embedkit.runtime.onnx import MACS, WEIGHTS_OF

WAVEFORM = "waveform"
LARGE = 100_000  # numbers of an array that is worth storing in 16 bits


def network_graph(module: ExtractorModule) -> onnx.ModelProto:
    """Features float32 [batch, 1, frames, bands] -> embeddings float32 [batch, D]."""
    example = torch.zeros(2, 1, *module.config.feature_shape)
    return _export(_Network(module), example, "batch", FEATURES, EMBEDDINGS)


def features_graph(module: ExtractorModule) -> onnx.ModelProto:
    """A waveform float32 [samples] of any length -> features float32 [segments, 1, frames, bands].

    It is cut as `embedkit.audio.segments.cut` does.
    """
    example = torch.zeros(3 * module.config.segments.samples(module.sample_rate)[0])
    return _export(_Features(module), example, "samples", WAVEFORM, FEATURES)


def join(features: onnx.ModelProto, network: onnx.ModelProto) -> onnx.ModelProto:
    """One graph from waveform to embeddings.

    Args:
        features: the graph from waveform to features.
        network: the graph from features to embeddings.

    Returns:
        the graph.
    """
    parts = [
        onnx.compose.add_prefix(part, prefix, rename_inputs=False, rename_outputs=False)
        for prefix, part in (("features/", features), ("network/", network))
    ]
    return onnx.compose.merge_models(parts[0], parts[1], io_map=[(FEATURES, FEATURES)])


def halve(graph: onnx.ModelProto, *, exactly: bool = False) -> onnx.ModelProto:
    """Store large float32 arrays as float16; the runtime widens them as it loads.

    Args:
        graph: is changed.
        exactly: only store those that lose nothing by it, as weights that are stored in half.

    Returns:
        the same graph.
    """
    for array in list(graph.graph.initializer):
        values = onnx.numpy_helper.to_array(array)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        half = values.astype(np.float16)
        if exactly and not np.array_equal(half.astype(np.float32), values):
            continue
        name = array.name
        array.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        widen = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        graph.graph.node.insert(0, widen)
    return graph


def describe(graph: onnx.ModelProto, module: ExtractorModule, weights: str, kind: str) -> None:
    """Name in a graph's metadata what it is and what made it.

    Args:
        graph: is changed.
        module: the module that it was made from.
        weights: fingerprint of the weights.
        kind: `float32` or `int8`.
    """
    config = module.config
    graph.producer_name, graph.producer_version = "embedkit", __version__
    facts = {
        WEIGHTS_OF: weights,
        MACS: count_macs(config.model, config.feature_shape, heads=not config.teachers),
        "model": config.model.name,
        "precision": kind,
        "sample_rate": module.sample_rate,
        "segment_s": config.segments.duration_s,
        "hop_s": config.segments.hop_s,
        "embedding_size": module.network.embedding_size,
        # Of a Matryoshka network: the prefixes that are embeddings too.
        "embedding_sizes": " ".join(map(str, module.network.sizes)),
    }
    onnx.helper.set_model_props(graph, {name: str(value) for name, value in facts.items()})


class _Network(nn.Module):
    def __init__(self, module: ExtractorModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        embeddings: Tensor = self.module.network.embedding(self.module.normalise(features))
        return embeddings


class _Features(nn.Module):
    def __init__(self, module: ExtractorModule) -> None:
        super().__init__()
        self.length, self.hop = module.config.segments.samples(module.sample_rate)
        front_end = copy.deepcopy(module.front_end)
        if isinstance(front_end, LogMel):
            front_end = _ConvolvedLogMel(front_end)
        elif isinstance(front_end, MFCC):
            front_end.add_module("log_mel", _ConvolvedLogMel(front_end.log_mel))
        self.front_end = front_end

    def forward(self, waveform: Tensor) -> Tensor:
        samples = waveform.shape[0]
        # Windows start every hop until one reaches the end.
        starts = torch.sym_max((samples - self.length + self.hop - 1) // self.hop, 0)
        missing = starts * self.hop + self.length - samples
        padded = F.pad(waveform, (0, missing))  # type: ignore[arg-type]  # a symbolic integer
        features: Tensor = self.front_end(padded.unfold(0, self.length, self.hop))
        return features


class _ConvolvedLogMel(nn.Module):
    """LogMel whose Fourier transform is a convolution: ONNX's is slow, and less exact."""

    kernels: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.mel, self.spec = log_mel.mel, log_mel.spec
        length, points = self.spec.window_length, log_mel.n_fft
        bins, samples = torch.arange(points // 2 + 1), torch.arange(length)
        angle = (torch.outer(bins, samples) % points).double() * (2 * torch.pi / points)
        window = torch.hann_window(length, dtype=torch.float64)
        kernels = torch.cat([window * angle.cos(), window * angle.sin()])
        self.register_buffer("kernels", kernels.float().unsqueeze(1))
        # torch.stft centres the window in its FFT's frame, and the frame on the sample.
        self.before = points // 2 - (points - length) // 2

    def forward(self, segments: Tensor) -> Tensor:
        padded = F.pad(segments.unsqueeze(1), (self.before, self.before), mode="reflect")
        parts = F.conv1d(padded, self.kernels, stride=self.spec.hop_length)
        frames = 1 + segments.shape[1] // self.spec.hop_length
        real, imaginary = parts[..., :frames].chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        return torch.log((power @ self.mel).relu() + self.spec.log_floor).unsqueeze(1)


def _export(
    module: nn.Module, example: Tensor, free: str, source: str, result: str
) -> onnx.ModelProto:
    """Export a module of one input, whose first axis may have any length from 1 on."""
    with torch.inference_mode(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[source],
            output_names=[result],
            dynamic_shapes=({0: torch.export.Dim(free, min=1)},),
        )
    assert program is not None
    graph = program.model_proto
    # Where in which file of this machine a node is from is nobody's business.
    for part in (graph.graph, *graph.graph.node, *graph.graph.value_info):
        part.ClearField("metadata_props")
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of torch's own ways, and that torchvision is missing."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
