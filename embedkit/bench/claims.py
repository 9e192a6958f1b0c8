"""The paper's claims, as comparisons that any data can support, contradict, or leave undecided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.progress import Track, untracked

CNN = ("alexnet", "alexnet-bn", "resnet-50")
RNN = ("lstm", "b-gru-att")
RESAMPLES = 1000
LEVEL = 0.95  # of all intervals together
NEAR = 0.01  # of AUC: a system that is no more than this below another comes near it

Scores = NDArray[np.float64]


class Verdict(StrEnum):
    """What simultaneous intervals over clips say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Claim:
    """What the paper says about pairs of systems.

    Attributes:
        text: the claim in words.
        pairs: rows of the table; the first is better than the second.
        near: the first is only claimed to be no worse than the second, by `NEAR`.
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
        "a bottleneck > FC layers of its size",
        tuple((f"bneck-mid-{size}", f"fc-{size}") for size in (64, 256, 1024)),
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
        clips: number of clips that both were scored on.
        difference: of their weighted AUC, first minus second; a mean over folds and seeds.
        low, high: its simultaneous 95 % interval.
        verdict: the verdict on this pair.
    """

    pair: tuple[str, str]
    clips: int
    difference: float
    low: float
    high: float
    verdict: Verdict


class Scored(NamedTuple):
    """The held-out targets of a trial, and its scores; both [clips, classes]."""

    targets: NDArray[np.float32]
    scores: Scores


Trials = Mapping[tuple[str, int], Scored]  # of a system, by fold and seed


def examine(
    claims: Sequence[Claim], systems: Mapping[str, Trials], track: Track = untracked
) -> list[tuple[Claim, Verdict, list[Comparison]]]:
    """Compare claims with the systems' scores.

    All pairs of all claims are compared at once. Clips are drawn with replacement a thousand times
    from each fold, the same for all systems: a paired bootstrap. The intervals are simultaneous:
    each is the difference plus and minus its standard error times a factor, which the largest of
    all studentised differences exceeds in one resample of twenty (Westfall and Young, 1993; Romano
    and Wolf, 2005). The chance that any verdict is wrong is thus 5 %, however many claims there
    are. What another training, from another seed, would give is not in the intervals.

    A claim is contradicted if one of its pairs is; else not run if a pair lacks a system; supported
    if all pairs are; and else undecided.

    Args:
        claims: the claims to examine.
        systems: trials by row of the table.
        track: shows the progress over systems.

    Returns:
        for each claim the verdict, and the comparisons of those pairs that have both systems.
    """
    compared = _compare(claims, systems, track)
    found = []
    for claim in claims:
        comparisons = [
            compared[pair, claim.near] for pair in claim.pairs if (pair, claim.near) in compared
        ]
        verdicts = {comparison.verdict for comparison in comparisons}
        if Verdict.CONTRADICTED in verdicts:
            verdict = Verdict.CONTRADICTED
        elif len(comparisons) < len(claim.pairs):
            verdict = Verdict.NOT_RUN
        else:
            verdict = verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED
        found.append((claim, verdict, comparisons))
    return found


def _compare(
    claims: Sequence[Claim], systems: Mapping[str, Trials], track: Track
) -> dict[tuple[tuple[str, str], bool], Comparison]:
    asked = dict.fromkeys((pair, claim.near) for claim in claims for pair in claim.pairs)
    common = {
        pair: sorted(systems[pair[0]].keys() & systems[pair[1]].keys())
        for pair, _ in asked
        if systems.keys() >= set(pair)
    }
    pairs = [pair for pair, keys in common.items() if keys]
    if not pairs:
        return {}
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    folds = sorted({fold for name in names for fold, _ in systems[name]})
    aucs: dict[tuple[str, tuple[str, int]], float] = {}
    samples: dict[tuple[str, tuple[str, int]], NDArray[np.float64]] = {}
    for name in track(names, "Resampling", len(names)):
        for key, (targets, scores) in systems[name].items():
            draw = folds.index(key[0])  # the same clips for every system and seed
            aucs[name, key] = metrics.weighted_auc(targets, scores)
            samples[name, key] = metrics.resampled_weighted_auc(targets, scores, RESAMPLES, draw)
    differences = np.array(
        [np.mean([aucs[a, key] - aucs[b, key] for key in common[a, b]]) for a, b in pairs]
    )
    drawn = np.array(
        [np.mean([samples[a, k] - samples[b, k] for k in common[a, b]], axis=0) for a, b in pairs]
    )
    errors = np.nanstd(drawn, axis=1, ddof=1)
    varies = errors > 0  # two systems may score alike
    studentised = np.abs(drawn - differences[:, None])[varies] / errors[varies, None]
    width = np.nanquantile(np.nanmax(studentised, axis=0), LEVEL) if varies.any() else 0.0
    found = {}
    for pair, difference, error in zip(pairs, differences, errors, strict=True):
        first = systems[pair[0]]
        clips = {key[0]: len(first[key].scores) for key in common[pair]}
        low, high = difference - width * error, difference + width * error
        for near in (False, True):
            if (pair, near) in asked:
                found[pair, near] = Comparison(
                    pair=pair,
                    clips=sum(clips.values()),
                    difference=float(difference),
                    low=float(low),
                    high=float(high),
                    verdict=_verdict(low, high, -NEAR if near else 0.0),
                )
    return found


def _verdict(low: float, high: float, bar: float) -> Verdict:
    if low > bar:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if high < bar else Verdict.UNDECIDED
