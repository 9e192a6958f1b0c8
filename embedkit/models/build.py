"""From a spec to a torch network with random weights."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from embedkit.config import ModelSpec
from embedkit.errors import UsageError
from embedkit.models import alexnet, compact, mlp, recurrent, resnet
from embedkit.models.network import Build, Network
from embedkit.models.table import BANDS, FRAMES, check_spec

BUILDERS: dict[str, Build] = {
    "mlp": mlp.mlp,
    "lstm": recurrent.lstm,
    "b-gru-att": recurrent.bidirectional_gru_attention,
    "alexnet": alexnet.alexnet,
    "alexnet-bn": alexnet.alexnet_bn,
    "resnet-50": resnet.resnet_50,
    "bneck-final": alexnet.bottleneck_final,
    "bneck-mid": alexnet.bottleneck_mid,
    "fc": alexnet.small_fc,
    "gap": alexnet.global_average_pooling,
    "gap-lite": compact.gap_lite,
}


def build_model(spec: ModelSpec, shape: tuple[int, int] = (FRAMES, BANDS)) -> Network:
    """Build a network with random weights.

    Args:
        spec: as `resolve` gives it.
        shape: frames and bands of a segment's features.

    Returns:
        the network.

    Raises:
        UsageError: there is no such family, or it cannot have this size of the embedding.
    """
    check_spec(spec)
    try:
        return BUILDERS[spec.name](spec, shape)
    except RuntimeError as error:
        raise UsageError(
            f"{spec.name} cannot be built for features of {shape[0]} frames x {shape[1]} bands:"
            f" {error}"
        ) from error


def embedding_sizes(spec: ModelSpec, shape: tuple[int, int]) -> tuple[int, ...]:
    """The sizes that the embedding of a network can have, found from shapes alone.

    Args:
        spec: as `resolve` gives it.
        shape: frames and bands of a segment's features.

    Returns:
        the sizes, ascending.
    """
    with torch.device("meta"):
        return build_model(spec, shape).sizes


def count_macs(
    spec: ModelSpec, shape: tuple[int, int] = (FRAMES, BANDS), *, heads: bool = True
) -> int:
    """Multiply-accumulates of one segment, counted on shapes alone.

    A CPU runs some operations as one fused operation, which would not be counted at all.

    Args:
        spec: as `resolve` gives it.
        shape: frames and bands of a segment's features.
        heads: count all heads, or none where a model has none.

    Returns:
        their number.
    """
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.inference_mode():
        network = build_model(spec, shape).eval()
        with counter:
            (network if heads else network.embedding)(torch.zeros(1, 1, *shape))
    return counter.get_total_flops() // 2
