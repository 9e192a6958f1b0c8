"""The paper's claims, as comparisons that any data can support, contradict, or leave undecided."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics

CNN = ("alexnet", "alexnet-bn", "resnet-50")
RNN = ("lstm", "b-gru-att")
NEAR = 0.01  # of AUC: systems closer than this count as equal

Scores = NDArray[np.float64]


class Verdict(StrEnum):
    """What a paired bootstrap over clips says of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Claim:
    """What the paper says of pairs of systems.

    Attributes:
        text: in the paper's sense.
        pairs: rows of the table; the first is better than the second, or equal to it.
        equal: whether they are said to be equal, to `NEAR`.
    """

    text: str
    pairs: tuple[tuple[str, str], ...]
    equal: bool = False


CLAIMS = (
    Claim("CNN > RNN", tuple(product(CNN, RNN))),
    Claim("RNN > MLP", tuple((rnn, "mlp") for rnn in RNN)),
    Claim("batch normalisation helps AlexNet", (("alexnet-bn", "alexnet"),)),
    Claim("AlexNet(BN) > ResNet-50", (("alexnet-bn", "resnet-50"),)),
    Claim(
        "a bottleneck in the middle > a final one of its size",
        tuple((f"bneck-mid-{size}", f"bneck-final-{size}") for size in (64, 256, 1024)),
    ),
    Claim(
        "a larger bottleneck > a smaller one",
        tuple(
            (f"{family}-{large}", f"{family}-{small}")
            for family in ("bneck-final", "bneck-mid")
            for small, large in ((64, 256), (256, 1024))
        ),
    ),
    Claim(
        "Bneck-Mid-1024 = AlexNet(BN), with 14 % fewer parameters",
        (("bneck-mid-1024", "alexnet-bn"),),
        equal=True,
    ),
    Claim("FC-64 is clearly worse than AlexNet(BN)", (("alexnet-bn", "fc-64"),)),
    Claim(
        "Global-avg-pool is near ResNet-50, at 1/9 of its parameters",
        (("gap", "resnet-50"),),
        equal=True,
    ),
    Claim("log-mel > MFCC", (("gap", "gap, mfcc"),)),
    Claim("log-mel > CQT", (("gap", "gap, cqt"),)),
    Claim("PLDA on embeddings helps", (("gap, plda", "gap"),)),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two systems on the same clips.

    Attributes:
        pair: rows of the table.
        difference: of their weighted AUC, first minus second.
        low, high: its 95 % interval by a paired bootstrap over clips.
        verdict: on this pair.
    """

    pair: tuple[str, str]
    difference: float
    low: float
    high: float
    verdict: Verdict


def examine(
    claim: Claim, targets: NDArray[np.float32], scores: Mapping[str, Scores]
) -> tuple[Verdict, list[Comparison]]:
    """Hold a claim against clip scores.

    A claim is supported if every one of its pairs is, contradicted if any is, and else undecided.

    Args:
        claim: the claim.
        targets: of the clips, [clips, classes].
        scores: by row of the table, [clips, classes] each.

    Returns:
        the verdict, and what it rests on: those pairs whose systems both have scores.
    """
    compared = [
        _compare(pair, claim.equal, targets, scores)
        for pair in claim.pairs
        if scores.keys() >= set(pair)
    ]
    verdicts = {comparison.verdict for comparison in compared}
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED, compared
    if len(compared) < len(claim.pairs):
        return Verdict.NOT_RUN, compared
    return verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED, compared


def _compare(
    pair: tuple[str, str],
    equal: bool,
    targets: NDArray[np.float32],
    scores: Mapping[str, Scores],
) -> Comparison:
    first, second = (scores[name] for name in pair)
    difference, low, high = metrics.paired_difference(metrics.weighted_auc, targets, first, second)
    return Comparison(
        pair=pair,
        difference=difference,
        low=low,
        high=high,
        verdict=_equality(low, high) if equal else _superiority(low, high),
    )


def _superiority(low: float, high: float) -> Verdict:
    if low > 0:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if high < 0 else Verdict.UNDECIDED


def _equality(low: float, high: float) -> Verdict:
    if low > -NEAR and high < NEAR:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if low > NEAR or high < -NEAR else Verdict.UNDECIDED
