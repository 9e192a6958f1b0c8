"""The paper's claims, as comparisons that any data can support, contradict, or leave undecided."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.progress import Track, untracked

CNN = ("alexnet", "alexnet-bn", "resnet-50")
RNN = ("lstm", "b-gru-att")
NEAR = 0.01  # of AUC: a system that is no more than this below another comes near it

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
        pairs: rows of the table; the first is better than the second.
        near: or no worse than it, to `NEAR`.
    """

    text: str
    pairs: tuple[tuple[str, str], ...]
    near: bool = False


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
        "Bneck-Mid-1024 is as good as AlexNet(BN)",
        (("bneck-mid-1024", "alexnet-bn"),),
        near=True,
    ),
    Claim("FC-64 is clearly worse than AlexNet(BN)", (("alexnet-bn", "fc-64"),)),
    Claim(
        "Global-avg-pool comes near ResNet-50",
        (("gap", "resnet-50"),),
        near=True,
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


def resampled_aucs(
    targets: NDArray[np.float32], scores: Mapping[str, Scores], track: Track = untracked
) -> dict[str, NDArray[np.float64]]:
    """Each system's weighted AUC on the same resamples of the clips.

    Args:
        targets: [clips, classes].
        scores: by row of the table, [clips, classes] each.
        track: shows the progress over systems.
    """
    return {
        name: metrics.resampled(metrics.weighted_auc, targets, scores[name])
        for name in track(list(scores), "Resampling", len(scores))
    }


def examine(
    claim: Claim, aucs: Mapping[str, float], samples: Mapping[str, NDArray[np.float64]]
) -> tuple[Verdict, list[Comparison]]:
    """Hold a claim against the systems' scores.

    A claim is contradicted if one of its pairs is; else not run if a pair lacks a system;
    supported if all pairs are; and else undecided.

    Args:
        claim: the claim.
        aucs: weighted AUC by row of the table.
        samples: as `resampled_aucs` gives them.

    Returns:
        the verdict, and what it rests on: those pairs whose systems there both are.
    """
    compared = [
        _compare(pair, claim.near, aucs, samples)
        for pair in claim.pairs
        if samples.keys() >= set(pair)
    ]
    verdicts = {comparison.verdict for comparison in compared}
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED, compared
    if len(compared) < len(claim.pairs):
        return Verdict.NOT_RUN, compared
    return verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED, compared


def _compare(
    pair: tuple[str, str],
    near: bool,
    aucs: Mapping[str, float],
    samples: Mapping[str, NDArray[np.float64]],
) -> Comparison:
    first, second = pair
    low, high = np.nanquantile(samples[first] - samples[second], (0.025, 0.975))
    bar = -NEAR if near else 0.0
    verdict = Verdict.UNDECIDED
    if low > bar:
        verdict = Verdict.SUPPORTED
    elif high < bar:
        verdict = Verdict.CONTRADICTED
    return Comparison(
        pair=pair,
        difference=aucs[first] - aucs[second],
        low=float(low),
        high=float(high),
        verdict=verdict,
    )
