"""Settings of a distillation on the way: frozen, checked once, saved beside the model."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from embedkit.config import Precision, Spec
from embedkit.errors import UsageError

LONGEST_S = 60.0  # that a teacher hears at once: a batch of it has to fit into memory


class Heads(StrEnum):
    """The layers between an embedding and what is learned from it; they are thrown away."""

    HIDDEN = "hidden"  # linear, GELU, linear
    LINEAR = "linear"
    NONE = "none"  # the embedding itself becomes that of the teacher


@dataclass(frozen=True, kw_only=True)
class TeacherSpec(Spec):
    """An extractor that a network learned from.

    Attributes:
        name: name of the extractor.
        licence: licence of its weights.
        source: where they are from.
        fingerprint: SHA-256 of its network's file.
    """

    name: str
    licence: str
    source: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class DistilSpec(Spec):
    """The recipe of a distillation on the way.

    Attributes:
        segments: number of segments that the network hears, each of them new.
        batch_size: segments in a step.
        learning_rate: AdamW's highest learning rate.
        weight_decay: AdamW's weight decay.
        heads: the layers between the embedding and the targets.
        names_weight: weight of the cross-entropy of a teacher's names, times the teacher's own
            weight.
        teacher_window_s: seconds that teachers hear around a segment; None: only the segment.
        kinds: how likely the top folders are, as in 'sfx=52,music=14'; empty: in proportion to the
            root of their duration.
        hold_out: patterns of the clips to validate with; empty: a tenth of the packages.
        validation: number of scenes to validate with.
        speed: share of sounds that are heard at half to twice their speed.
        second: share of scenes with a second sound.
        third: share of these with a third sound.
        cut: share of sounds of which only a part of a second is left.
        equaliser, reverberation, noise: shares of scenes with them.
        precision: the numbers that the network computes in while it learns.
        seed: seed of everything that is drawn.
    """

    segments: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-5
    heads: Heads = Heads.HIDDEN
    names_weight: float = 20.0
    teacher_window_s: float | None = None
    kinds: str = ""
    hold_out: tuple[str, ...] = ()
    validation: int = 2048
    speed: float = 0.5
    second: float = 0.5
    third: float = 0.2
    cut: float = 0.2
    equaliser: float = 0.5
    reverberation: float = 0.2
    noise: float = 0.4
    precision: Precision = Precision.FLOAT32
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", Heads(self.heads))
        object.__setattr__(self, "precision", Precision(self.precision))
        object.__setattr__(self, "hold_out", tuple(self.hold_out))
        for name, least in (("segments", 1), ("batch_size", 2), ("validation", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} {getattr(self, name)}: must be at least {least}")
        if not 0 < self.learning_rate < inf:
            raise UsageError(f"learning rate {self.learning_rate}: must be above 0")
        for name in ("weight_decay", "names_weight"):
            if not 0 <= getattr(self, name) < inf:
                raise UsageError(f"{name} {getattr(self, name)}: must not be negative")
        if self.teacher_window_s is not None and not 0 < self.teacher_window_s <= LONGEST_S:
            raise UsageError(
                f"a teacher's window of {self.teacher_window_s} s: must be up to {LONGEST_S:g} s"
            )
        for name in ("speed", "second", "third", "cut", "equaliser", "reverberation", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be a share from 0 to 1")

    @property
    def steps(self) -> int:
        """The number of batches.

        All of them are whole, so that up to a batch more is heard than was asked for.
        """
        return -(-self.segments // self.batch_size)
