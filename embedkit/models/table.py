"""The table of networks: their names, sizes and costs; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from embedkit.config import ModelSpec
from embedkit.errors import UsageError, choices

SIZES = range(64, 1025)
FRAMES, BANDS = 101, 64  # of the paper's segments
AUDIOSET = 527  # classes


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that differ at most in the size of their embedding.

    Attributes:
        structure: in a few words, as the paper's tables have it.
        sizes: sizes of the embedding that have a name; empty where the size is not free.
        matryoshka: whether prefixes of the embedding may be embeddings of their own.
        dropout, weight_decay: the paper's (section 3.2), for MLP and CNN only.
    """

    structure: str
    sizes: tuple[int, ...] = ()
    matryoshka: bool = False
    dropout: float = 0.5
    weight_decay: float = 0.0015


FAMILIES: dict[str, Family] = {
    "mlp": Family(structure="3 x 1000, BN"),
    "lstm": Family(structure="3 x 2048, last step", dropout=0, weight_decay=0),
    "b-gru-att": Family(
        structure="2 x 2048 in both directions, attention",
        dropout=0,
        weight_decay=0,
    ),
    "alexnet": Family(structure="5 convolutions, 2 x FC 3982"),
    "alexnet-bn": Family(structure="the same, BN"),
    "resnet-50": Family(structure="49 convolutions, BN, average pooling"),
    "bneck-final": Family(
        structure="AlexNet(BN), bottleneck after the last FC",
        sizes=(64, 256, 1024),
    ),
    "bneck-mid": Family(
        structure="AlexNet(BN), bottleneck between the FC",
        sizes=(64, 256, 1024),
        matryoshka=True,
    ),
    "fc": Family(structure="AlexNet(BN), both FC small", sizes=(64, 256, 1024)),
    "gap": Family(
        structure="AlexNet(BN), average pooling for both FC",
        sizes=(256,),
        matryoshka=True,
    ),
    "gap-lite": Family(
        structure="depthwise-separable convolutions, BN, averages and deviations at 3 depths",
        sizes=(256,),
        matryoshka=True,
    ),
}


def _names() -> dict[str, ModelSpec]:
    names = {}
    for family, entry in FAMILIES.items():
        for dim in entry.sizes or (None,):
            name = f"{family}-{dim}" if len(entry.sizes) > 1 else family
            names[name] = ModelSpec(name=family, dim=dim, classes=AUDIOSET)
    return names


MODELS: dict[str, ModelSpec] = _names()
"""Every network of the paper's Tables 1 and 2, and gap-lite, with the 527 classes of AudioSet."""


def resolve(
    name: str,
    *,
    dim: int | None = None,
    dims: Sequence[int] = (),
    dropout: float | None = None,
    classes: int = AUDIOSET,
) -> ModelSpec:
    """The spec of a model by its name, with another embedding size where that is free.

    `bneck-mid-256` and `bneck-mid` with `dim=256` are the same.

    Args:
        name: a name of the table, or of a family.
        dim: size of the embedding.
        dims: sizes of the prefixes that are embeddings of their own; the largest is `dim`.
        dropout: the paper's by default: 0.5, none in recurrent networks.
        classes: number of outputs.

    Returns:
        the spec.

    Raises:
        UsageError: there is no such name; or a size is missing, not free, or out of range, or there
            are two sizes.
    """
    if name not in MODELS and name not in FAMILIES:
        raise UsageError(f"no model {name!r}{choices(name, [*MODELS, *FAMILIES])}")
    spec = MODELS.get(name, ModelSpec(name=name, classes=classes))
    dims = tuple(sorted(set(dims)))
    if dims and dim is None:
        dim = dims[-1]
    if dim is not None:
        if name not in FAMILIES and dim != spec.dim:
            raise UsageError(f"{name} has a size of its own: name {spec.name} for size {dim}")
        spec = replace(spec, dim=dim, dims=dims)
    if dropout is None:
        dropout = FAMILIES[spec.name].dropout
    spec = replace(spec, classes=classes, dropout=dropout)
    check_spec(spec)
    return spec


def check_spec(spec: ModelSpec) -> None:
    """Refuse a family that does not exist, or a size of the embedding that it cannot have.

    Raises:
        UsageError: so it is.
    """
    if spec.name not in FAMILIES:
        raise UsageError(f"no model {spec.name!r}{choices(spec.name, FAMILIES)}")
    family = FAMILIES[spec.name]
    if spec.dims and not family.matryoshka:
        able = ", ".join(name for name, entry in FAMILIES.items() if entry.matryoshka)
        raise UsageError(f"{spec.name} has one size; several in one are for {able}")
    if not family.sizes:
        if spec.dim is not None:
            raise UsageError(f"the embedding size of {spec.name} is not free: leave out {spec.dim}")
    elif spec.dim is None:
        raise UsageError(f"{spec.name} needs an embedding size, for example {spec.name}-256")
    for size in spec.dims or (spec.dim,) if spec.dim is not None else ():
        if size not in SIZES:
            raise UsageError(
                f"embedding size {size}: must be from {SIZES.start} to {SIZES.stop - 1}"
            )


def choose_size(sizes: Sequence[int], dim: int | None) -> int:
    """The size of the embedding that is asked for, or the largest.

    Args:
        sizes: sizes that the model was trained for, ascending.
        dim: one of them, or None.

    Returns:
        the size.

    Raises:
        UsageError: it is none of them.
    """
    if dim is None:
        return sizes[-1]
    if dim not in sizes:
        raise UsageError(
            f"the model has embeddings of {', '.join(map(str, sizes))}, not of {dim};"
            " `embedkit train --dims` makes one with several sizes"
        )
    return dim


@dataclass(frozen=True)
class Counts:
    """What a network of the table costs on the paper's segments, with AudioSet's classes.

    Attributes:
        parameters: number of parameters that training learns.
        macs: multiply-accumulates of a segment.
        embedding_size: D.
        inputs: inputs of the output layer; only that depends on the number of classes.
    """

    parameters: int
    macs: int
    embedding_size: int
    inputs: int

    def with_classes(self, classes: int) -> "Counts":
        """The same with another number of classes: each has a weight for each input, and a bias."""
        more = classes - AUDIOSET
        return replace(
            self,
            parameters=self.parameters + more * (self.inputs + 1),
            macs=self.macs + more * self.inputs,
        )


# Building a network to count it takes torch; a test counts them all again.
COUNTS: dict[str, Counts] = {
    "mlp": Counts(9_000_527, 8_991_000, 1000, 1000),
    "lstm": Counts(85_539_343, 8_526_526_464, 2048, 2048),
    "b-gru-att": Counts(107_854_351, 10_672_619_520, 4096, 4096),
    "alexnet": Counts(56_093_441, 640_594_454, 3982, 3982),
    "alexnet-bn": Counts(56_111_673, 640_594_454, 3982, 3982),
    "resnet-50": Counts(24_581_583, 2_148_386_816, 2048, 2048),
    "bneck-final-64": Counts(54_301_799, 638_784_516, 64, 64),
    "bneck-final-256": Counts(55_167_719, 639_650_244, 256, 256),
    "bneck-final-1024": Counts(58_631_399, 643_113_156, 1024, 1024),
    "bneck-mid-64": Counts(40_765_109, 625_247_826, 64, 3982),
    "bneck-mid-256": Counts(42_294_389, 626_776_914, 256, 3982),
    "bneck-mid-1024": Counts(48_411_509, 632_893_266, 1024, 3982),
    "fc-64": Counts(3_065_871, 587_572_160, 64, 64),
    "fc-256": Counts(4_949_967, 589_455_104, 256, 256),
    "fc-1024": Counts(13_223_631, 597_724_160, 1024, 1024),
    "gap": Counts(2_589_135, 587_095_808, 256, 256),
    "gap-lite": Counts(783_079, 18_297_664, 256, 256),
}
