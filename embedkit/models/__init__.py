"""The table of models: name -> how to build it."""

import difflib
from dataclasses import dataclass, replace

from embedkit.config import ModelSpec
from embedkit.errors import UsageError
from embedkit.models import alexnet
from embedkit.models.network import Build, Network, count_macs, count_parameters

__all__ = ["FAMILIES", "MODELS", "Network", "build_model", "count_macs", "count_parameters"]

SIZES = range(64, 1025)
FRAMES, BANDS = 101, 64  # of the paper's segments
AUDIOSET = 527  # classes


@dataclass(frozen=True)
class Family:
    """Networks that differ in the size of their embedding at most.

    Attributes:
        build: makes the network; gets a spec with `dim` set where the size is free.
        sizes: the paper's sizes of the embedding; none where it is not free.
    """

    build: Build
    sizes: tuple[int, ...] = ()


FAMILIES: dict[str, Family] = {
    "alexnet": Family(alexnet.alexnet),
    "alexnet-bn": Family(alexnet.alexnet_bn),
    "bneck-final": Family(alexnet.bottleneck_final, sizes=(64, 256, 1024)),
    "bneck-mid": Family(alexnet.bottleneck_mid, sizes=(64, 256, 1024)),
    "fc": Family(alexnet.small_fc, sizes=(64, 256, 1024)),
    "gap": Family(alexnet.global_average_pooling, sizes=(256,)),
}


def _names() -> dict[str, ModelSpec]:
    names = {}
    for family, entry in FAMILIES.items():
        for dim in entry.sizes or (None,):
            name = f"{family}-{dim}" if len(entry.sizes) > 1 else family
            names[name] = ModelSpec(name=family, dim=dim, classes=AUDIOSET)
    return names


MODELS: dict[str, ModelSpec] = _names()
"""Every network that the paper names, with the 527 classes of AudioSet."""


def resolve(
    name: str, *, dim: int | None = None, dropout: float = 0.5, classes: int = AUDIOSET
) -> ModelSpec:
    """The spec of a model by its name, with another embedding size where that is free.

    `bneck-mid-256` and `bneck-mid` with `dim=256` are the same.

    Raises:
        UsageError: no such name, a size that is missing, not free, or out of range, or two sizes.
    """
    if name not in MODELS and name not in FAMILIES:
        near = difflib.get_close_matches(name, [*MODELS, *FAMILIES], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"no model {name!r}{hint} There are: {', '.join(MODELS)}")
    spec = MODELS.get(name, ModelSpec(name=name, classes=classes))
    if dim is not None:
        if name not in FAMILIES and dim != spec.dim:
            raise UsageError(f"{name} has a size of its own: name {spec.name} for size {dim}")
        spec = replace(spec, dim=dim)
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


def _check(spec: ModelSpec) -> None:
    """Refuse a family that there is not, or a size of the embedding that it cannot have."""
    if spec.name not in FAMILIES:
        raise UsageError(f"no model {spec.name!r}; there are: {', '.join(FAMILIES)}")
    if not FAMILIES[spec.name].sizes:
        if spec.dim is not None:
            raise UsageError(f"the embedding size of {spec.name} is not free: leave out {spec.dim}")
    elif spec.dim is None:
        raise UsageError(f"{spec.name} needs an embedding size, for example {spec.name}-256")
    elif spec.dim not in SIZES:
        raise UsageError(f"embedding size {spec.dim}: from {SIZES.start} to {SIZES.stop - 1}")
