"""Everything that a model's numbers depend on: frozen, checked once, saved beside the weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from embedkit.errors import UsageError

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)


class Activation(StrEnum):
    """What turns a network's outputs into scores."""

    SOFTMAX = "softmax"  # one label a clip
    SIGMOID = "sigmoid"  # several labels a clip


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
        return {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; an unknown or missing key is an error, never a default."""
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            odd = ", ".join(sorted(expected.symmetric_difference(values)))
            raise UsageError(
                f"{cls.__name__}: settings do not match this version of embedkit: {odd}"
            )
        return cls(**values)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(Spec):
    """Log-mel features (paper, section 3.1: 25 ms window, 10 ms hop, FFT length 2048, 64 bands).

    The paper leaves open the sample rate (here 16 kHz), the window (periodic Hann), the mel scale
    (HTK), its range (0 Hz to half the rate) and the floor: features are ln(power + log_floor).
    """

    sample_rate: int = 16000
    window_s: float = 0.025
    hop_s: float = 0.010
    n_fft: int = 2048
    bands: int = 64
    log_floor: float = 1e-5

    def __post_init__(self) -> None:
        _require(
            self.sample_rate in SAMPLE_RATES,
            f"sample rate {self.sample_rate}: choose one of {', '.join(map(str, SAMPLE_RATES))}",
        )
        _require(self.bands > 0, f"{self.bands} mel bands: must be at least 1")
        _require(self.log_floor > 0, f"log floor {self.log_floor}: must be above 0")
        _require(
            self.hop_s > 0 and self.hop_length > 0,
            f"feature hop {self.hop_s} s: must be at least a sample",
        )
        _require(
            0 < self.window_length <= self.n_fft,
            f"a window of {self.window_length} samples does not fit an FFT of {self.n_fft}",
        )

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
        _require(self.duration_s >= 0.1, f"segments of {self.duration_s} s: at least 0.1 s")
        _require(
            0.01 <= self.hop_s <= self.duration_s,
            f"a hop of {self.hop_s} s: from 0.01 s to the segment's {self.duration_s} s",
        )

    def samples(self, sample_rate: int) -> tuple[int, int]:
        """Length of a segment and hop between two, in samples."""
        return round(self.duration_s * sample_rate), round(self.hop_s * sample_rate)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """Which network: its name, the size of its embedding where that is free, and its dropout."""

    name: str
    classes: int
    dim: int | None = None
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _require(self.classes > 0, f"{self.classes} classes: must be at least 1")
        _require(0 <= self.dropout < 1, f"dropout {self.dropout}: from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """The paper's training recipe (section 3.2) as defaults.

    Open in the paper, with our choice: epochs (20), the decay (half the rate every 4 epochs, as in
    the first author's later code) and the seed. Mixup and SpecAugment go beyond the paper.
    """

    epochs: int = 20
    batch_size: int = 60
    learning_rate: float = 1e-4
    schedule: Schedule = Schedule.HALVING
    halve_every: int = 4
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0015  # Adam's L2 form, not AdamW
    validation: float = 0.1  # share of the training clips
    mixup: float = 0.0  # alpha of the Beta distribution; 0: none
    time_mask: int = 0  # SpecAugment: a masked run has fewer frames than this; 0: none
    band_mask: int = 0  # SpecAugment: a masked run has fewer mel bands than this; 0: none
    hold_out_fold: str = ""  # neither trained on nor validated with
    segment_hop_s: float = 1.0  # of the training segments; below 1 s they overlap
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", Schedule(self.schedule))
        _require(self.epochs > 0, f"{self.epochs} epochs: must be at least 1")
        # Batch normalisation needs two segments to have a variance.
        _require(self.batch_size > 1, f"batches of {self.batch_size}: must be at least 2")
        _require(self.learning_rate > 0, f"learning rate {self.learning_rate}: must be above 0")
        betas = (self.beta1, self.beta2)
        _require(min(betas) >= 0 and max(betas) < 1, f"betas {betas}: from 0 to below 1")
        _require(self.halve_every > 0, f"halving every {self.halve_every} epochs: at least 1")
        _require(0 < self.validation < 1, f"validation share {self.validation}: between 0 and 1")
        _require(self.weight_decay >= 0, f"weight decay {self.weight_decay}: must not be negative")
        _require(self.mixup >= 0, f"mixup {self.mixup}: must not be negative")
        _require(min(self.time_mask, self.band_mask) >= 0, "SpecAugment masks: not negative")
