"""Settings that a model's vectors depend on: frozen, checked once, saved beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import pairwise
from math import inf, isfinite, log2
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from embedkit.errors import UsageError

DEFAULT_MODEL = Path(__file__).parent / "default_model"
FAST_MODEL = Path(__file__).parent / "fast_model"  # half the work
# embedkit's own models, by the names that `--model` takes.
OWN_MODELS = {"default": DEFAULT_MODEL, "fast": FAST_MODEL}
# Fingerprints of the defaults before it, float32 and int8, and the last version that brought them.
FORMER_MODELS = {
    "88a5ea87840eb07f6cee755b3ff372f70dc1c867a2994b637a6a59182b2ad0e7": "0.1.0",
    "558c3199520b0783295ad8704eab137604aefd0b2a76d6136ec4786a3cede199": "0.1.0",
}
SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)


class Activation(StrEnum):
    """What turns a network's outputs into scores."""

    SOFTMAX = "softmax"  # one label a clip
    SIGMOID = "sigmoid"  # several labels a clip
    NONE = "none"  # no labels: the outputs are vectors of other extractors


class Loss(StrEnum):
    """How the distance of a vector from its target is measured."""

    MSE = "mse"  # mean squared error
    COSINE = "cosine"  # 1 - cosine


class FrontEnd(StrEnum):
    """The features that a network hears (paper, section 3.1, which found log-mel best)."""

    LOG_MEL = "log-mel"
    MFCC = "mfcc"
    CQT = "cqt"


class Sampling(StrEnum):
    """Which training segments an epoch draws."""

    UNIFORM = "uniform"  # each of them once
    BALANCED = "balanced"  # as many, with repeats: every label is equally likely


class Precision(StrEnum):
    """The numbers in which the network multiplies while training; weights are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"  # torch's autocast, for GPUs and for processors with AMX


class Schedule(StrEnum):
    """How the learning rate changes over a training."""

    HALVING = "halving"  # half the rate every `halve_every` epochs
    ONE_CYCLE = "one-cycle"  # up to the rate in the first 30 % of the steps, then down to almost 0
    COSINE = "cosine"  # from the rate down to 0 along a half cosine
    CONSTANT = "constant"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A group of settings that goes to JSON and back."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; an unknown or missing key is an error.

        Raises:
            UsageError: a key is unknown or missing, or a value has another type.
        """
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            odd = ", ".join(sorted(expected.symmetric_difference(values)))
            raise UsageError(
                f"{cls.__name__}: settings do not match this version of embedkit: {odd}"
            )
        for name, kind in get_type_hints(cls).items():
            if not _fits(values[name], kind):
                raise UsageError(f"{cls.__name__}: {name} is {values[name]!r}: not of its type")
        return cls(**values)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value fits a field of this type."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(
            _fits(item, get_args(kind)[0]) for item in value
        )
    if get_origin(kind) is UnionType:
        return any(_fits(value, member) for member in get_args(kind))
    return value is None if kind is NoneType else isinstance(value, str)


def difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The first setting that differs between two groups of settings, in words.

    Args:
        found: settings by the name of their group, as they are stored.
        asked: the same groups, as they are asked for.

    Returns:
        the sentence; empty if nothing differs.
    """
    for group, values in asked.items():
        there = found.get(group)
        if there == values:
            continue
        if not isinstance(values, Mapping) or not isinstance(there, Mapping):
            return f"other {group} there"
        for name, value in values.items():
            if there.get(name) != value:
                return f"{group}.{name} is {there.get(name)!r} there, {value!r} was asked for"
    return ""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(Spec):
    """The front-end (paper, section 3.1: 25 ms window, 10 ms hop, FFT length 2048, 64 bands).

    The paper leaves open the sample rate (here 16 kHz), the window (periodic Hann), the mel scale
    (HTK), its range (0 Hz to half the rate) and the floor: features are ln(power + log_floor). It
    names MFCC and CQT, and says no more about them.

    Attributes:
        kind: log-mel; mfcc, the cosine transform of log-mel; or cqt, a constant-Q transform.
        sample_rate: in Hz.
        window_s: length of the analysis window in seconds; a constant-Q transform has its own.
        hop_s: seconds from one frame to the next.
        n_fft: FFT length.
        bands: mel bands, or bins of the constant-Q transform.
        log_floor: added to a power before its logarithm is taken.
        coefficients: how many of the cosine transform are kept; mfcc only.
        min_hz: frequency of the lowest bin; cqt only.
        bins_per_octave: cqt only; 64 bins at 8 an octave reach from 30 Hz to 7 kHz.
    """

    kind: FrontEnd = FrontEnd.LOG_MEL
    sample_rate: int = 16000
    window_s: float = 0.025
    hop_s: float = 0.010
    n_fft: int = 2048
    bands: int = 64
    log_floor: float = 1e-5
    coefficients: int = 40
    min_hz: float = 30.0
    bins_per_octave: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", FrontEnd(self.kind))
        _require(
            self.sample_rate in SAMPLE_RATES,
            f"sample rate {self.sample_rate}: choose one of {', '.join(map(str, SAMPLE_RATES))}",
        )
        _require(self.bands > 0, f"{self.bands} bands: must be at least 1")
        _require(0 < self.log_floor < inf, f"log floor {self.log_floor}: must be above 0")
        _require(
            0 < self.hop_s < inf and self.hop_length > 0,
            f"feature hop {self.hop_s} s: must be at least a sample",
        )
        _require(
            0 < self.window_s < inf and 0 < self.window_length <= self.n_fft,
            f"a window of {self.window_s} s at {self.sample_rate} Hz does not fit an FFT of"
            f" {self.n_fft}",
        )
        if self.kind is FrontEnd.MFCC:
            _require(
                0 < self.coefficients <= self.bands,
                f"{self.coefficients} coefficients of {self.bands} mel bands: from 1 to as many",
            )
        if self.kind is FrontEnd.CQT:
            _require(0 < self.min_hz < inf, f"lowest bin at {self.min_hz} Hz: must be above 0")
            _require(
                self.bins_per_octave > 0,
                f"{self.bins_per_octave} bins an octave: must be at least 1",
            )
            _require(
                self.bands / self.bins_per_octave <= log2(self.sample_rate / 2 / self.min_hz),
                f"{self.bands} bins, {self.bins_per_octave} an octave from {self.min_hz:g} Hz, end"
                f" too near half the sample rate of {self.sample_rate}: choose fewer bins or more"
                " an octave",
            )

    @property
    def cqt_window_s(self) -> float:
        """Length of the window of the lowest bin of the constant-Q transform, in seconds."""
        ratio = 2 ** (2 / self.bins_per_octave)
        return (ratio + 1) / (ratio - 1) / self.min_hz

    @property
    def size(self) -> int:
        """Number of features of a frame."""
        return self.coefficients if self.kind is FrontEnd.MFCC else self.bands

    @property
    def window_length(self) -> int:
        """Samples in an analysis window."""
        return round(self.window_s * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Samples between two frames."""
        return round(self.hop_s * self.sample_rate)


@dataclass(frozen=True, kw_only=True)
class SegmentSpec(Spec):
    """How a clip is cut (paper, section 3.1: 1 s, no overlap)."""

    duration_s: float = 1.0
    hop_s: float = 1.0

    def __post_init__(self) -> None:
        _require(
            0.1 <= self.duration_s < 3600,
            f"segments of {self.duration_s} s: must be from 0.1 s to an hour",
        )
        _require(
            0.01 <= self.hop_s <= self.duration_s,
            f"a hop of {self.hop_s} s: must be from 0.01 s to the segment's {self.duration_s} s",
        )

    def samples(self, sample_rate: int) -> tuple[int, int]:
        """Length of a segment and hop between two segments, in samples at this rate."""
        return round(self.duration_s * sample_rate), round(self.hop_s * sample_rate)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """Which network: its name, the size of its embedding where that is free, and its dropout.

    Attributes:
        name: name of its family.
        classes: number of outputs.
        dim: size of the embedding, where that is free.
        dims: sizes of the prefixes that are embeddings of their own, ascending; the last is `dim`
            (Matryoshka representation learning, Kusupati et al. 2022). Empty: only the whole.
        dropout: share that is dropped before full-width FC layers and the output.
    """

    name: str
    classes: int
    dim: int | None = None
    dims: tuple[int, ...] = ()
    dropout: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(self.dims))
        _require(self.classes > 0, f"{self.classes} classes: must be at least 1")
        _require(0 <= self.dropout < 1, f"dropout {self.dropout}: must be from 0 to below 1")
        if self.dims:
            ascending = all(low < high for low, high in pairwise(self.dims))
            _require(
                ascending and self.dims[-1] == self.dim,
                f"sizes {', '.join(map(str, self.dims))} of an embedding of {self.dim}: expected"
                " ascending ones up to it",
            )


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """The paper's training recipe (section 3.2) as defaults.

    The paper leaves open the number of epochs (here 20), the decay (here half the rate every 4
    epochs, as in the first author's later code) and the seed. Mixup, SpecAugment, balanced sampling
    and bfloat16 go beyond the paper.
    """

    epochs: int = 20
    batch_size: int = 60
    learning_rate: float = 1e-4
    schedule: Schedule = Schedule.HALVING
    halve_every: int = 4
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0015  # Adam's L2 form, not AdamW
    validation: float = 0.1  # share of the training clips, or from 1 on their number
    mixup: float = 0.0  # alpha of the Beta distribution; 0: none
    time_mask: int = 0  # SpecAugment: a masked run has fewer frames than this; 0: none
    band_mask: int = 0  # SpecAugment: a masked run has fewer mel bands than this; 0: none
    hold_out_fold: str = ""  # neither trained on nor validated with
    segment_hop_s: float = 1.0  # of the training segments; below 1 s they overlap
    sampling: Sampling = Sampling.UNIFORM
    precision: Precision = Precision.FLOAT32
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampling", Sampling(self.sampling))
        object.__setattr__(self, "precision", Precision(self.precision))
        object.__setattr__(self, "schedule", Schedule(self.schedule))
        _require(self.epochs > 0, f"{self.epochs} epochs: must be at least 1")
        # Batch normalisation needs two segments to have a variance.
        _require(self.batch_size > 1, f"batches of {self.batch_size}: must be at least 2")
        _require(self.learning_rate > 0, f"learning rate {self.learning_rate}: must be above 0")
        betas = (self.beta1, self.beta2)
        _require(min(betas) >= 0 and max(betas) < 1, f"betas {betas}: must be from 0 to below 1")
        _require(
            self.halve_every > 0, f"halving every {self.halve_every} epochs: must be at least 1"
        )
        _require(
            0 < self.validation < 1 or (self.validation >= 1 and self.validation % 1 == 0),
            f"validation {self.validation}: a share between 0 and 1, or a number of clips",
        )
        _require(self.weight_decay >= 0, f"weight decay {self.weight_decay}: must not be negative")
        _require(self.mixup >= 0, f"mixup {self.mixup}: must not be negative")
        _require(min(self.time_mask, self.band_mask) >= 0, "SpecAugment masks must not be negative")


@dataclass(frozen=True, kw_only=True)
class TargetSpec(Spec):
    """Vectors of another extractor that a network learned to give.

    Attributes:
        name: of the extractor.
        size: of its vectors.
        weight: of its loss, beside those of other targets.
        loss: between the vector and the network's.
    """

    name: str
    size: int
    weight: float = 1.0
    loss: Loss = Loss.MSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", Loss(self.loss))
        _require(self.size > 0, f"vectors of {self.size} numbers: must be at least 1")
        _require(0 < self.weight < inf, f"weight {self.weight}: must be above 0")
