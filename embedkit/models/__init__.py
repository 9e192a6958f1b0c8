"""The table of models: name -> how to build it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from embedkit.config import ModelSpec
from embedkit.errors import UsageError, choices
from embedkit.models import alexnet, compact, mlp, recurrent, resnet
from embedkit.models.network import Build, Network, count_parameters

__all__ = ["FAMILIES", "MODELS", "Network", "build_model", "count_macs", "count_parameters"]

SIZES = range(64, 1025)
FRAMES, BANDS = 101, 64  # of the paper's segments
AUDIOSET = 527  # classes


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that differ in the size of their embedding at most.

    Attributes:
        build: makes the network; gets a spec with `dim` set where the size is free.
        structure: in a few words, as the paper's tables have it.
        sizes: of the embedding, those that have a name; none where it is not free.
        matryoshka: whether prefixes of the embedding may be embeddings of their own.
        dropout, weight_decay: the paper's (section 3.2): for MLP and CNN only.
    """

    build: Build
    structure: str
    sizes: tuple[int, ...] = ()
    matryoshka: bool = False
    dropout: float = 0.5
    weight_decay: float = 0.0015


FAMILIES: dict[str, Family] = {
    "mlp": Family(build=mlp.mlp, structure="3 x 1000, BN"),
    "lstm": Family(
        build=recurrent.lstm, structure="3 x 2048, last step", dropout=0, weight_decay=0
    ),
    "b-gru-att": Family(
        build=recurrent.bidirectional_gru_attention,
        structure="2 x 2048 in both directions, attention",
        dropout=0,
        weight_decay=0,
    ),
    "alexnet": Family(build=alexnet.alexnet, structure="5 convolutions, 2 x FC 3982"),
    "alexnet-bn": Family(build=alexnet.alexnet_bn, structure="the same, BN"),
    "resnet-50": Family(build=resnet.resnet_50, structure="49 convolutions, BN, average pooling"),
    "bneck-final": Family(
        build=alexnet.bottleneck_final,
        structure="AlexNet(BN), bottleneck after the last FC",
        sizes=(64, 256, 1024),
    ),
    "bneck-mid": Family(
        build=alexnet.bottleneck_mid,
        structure="AlexNet(BN), bottleneck between the FC",
        sizes=(64, 256, 1024),
        matryoshka=True,
    ),
    "fc": Family(
        build=alexnet.small_fc, structure="AlexNet(BN), both FC small", sizes=(64, 256, 1024)
    ),
    "gap": Family(
        build=alexnet.global_average_pooling,
        structure="AlexNet(BN), average pooling for both FC",
        sizes=(256,),
        matryoshka=True,
    ),
    "gap-lite": Family(
        build=compact.gap_lite,
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
        name: of the table, or of a family.
        dim: size of the embedding.
        dims: sizes of the prefixes that are embeddings of their own; the largest is `dim`.
        dropout: the paper's by default: 0.5, none in recurrent networks.
        classes: outputs.

    Raises:
        UsageError: no such name, a size that is missing, not free, or out of range, or two sizes.
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
    _check(spec)
    return spec


def build_model(spec: ModelSpec, shape: tuple[int, int] = (FRAMES, BANDS)) -> Network:
    """Build a network with random weights.

    Args:
        spec: as `resolve` gives it.
        shape: of a segment's features (frames, bands).

    Raises:
        UsageError: no such family, or a size of the embedding that it cannot have.
    """
    _check(spec)
    try:
        return FAMILIES[spec.name].build(spec, shape)
    except RuntimeError as error:
        raise UsageError(
            f"{spec.name} cannot be built for features of {shape[0]} frames x {shape[1]} bands:"
            f" {error}"
        ) from error


def count_macs(spec: ModelSpec, shape: tuple[int, int] = (FRAMES, BANDS)) -> int:
    """Multiply-accumulates of one segment with features of `shape` (frames, bands).

    Counted on shapes alone: what a CPU runs as one fused operation is not counted at all.
    """
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.inference_mode():
        network = build_model(spec, shape).eval()
        with counter:
            network(torch.zeros(1, 1, *shape))
    return counter.get_total_flops() // 2


def _check(spec: ModelSpec) -> None:
    """Refuse a family that there is not, or a size of the embedding that it cannot have."""
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
            raise UsageError(f"embedding size {size}: from {SIZES.start} to {SIZES.stop - 1}")
