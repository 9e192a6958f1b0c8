"""What a network's vectors are worth to users: named, told apart, and found."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.bench.vectors import labelled_vectors
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import find_method
from embedkit.classifiers.splits import training_split
from embedkit.datasets import Clip
from embedkit.errors import DatasetError
from embedkit.models.module import ExtractorModule

log = logging.getLogger(__name__)

METHODS = ("logistic", "knn", "plda")


def judge_vectors(
    extractor: ExtractorModule,
    known: Sequence[Clip],
    held: Sequence[Clip],
    cache: Path,
    several_labels: bool,
) -> tuple[dict[str, float], NDArray[np.float64] | None]:
    """Fit each method on the vectors of known clips, and score the vectors of held-out clips.

    Args:
        extractor: a trained network.
        known: the clips that it was trained on, and those that chose its best epoch.
        held: clips that it has not heard.
        cache: folder of their features, as `train` takes it.
        several_labels: whether a clip may have more than one label; PLDA is left out then.

    Returns:
        by method the accuracy, or mAP where clips have several labels, NaN where it cannot be
            fitted, and as `retrieval` the mAP of the held-out clips among themselves; and PLDA's
            scores [held, classes], if any.
    """
    data = labelled_vectors(extractor, known, held, cache, several_labels)
    split = training_split(data)
    figures, plda = {}, None
    for name in METHODS:
        if name == "plda" and several_labels:
            continue
        settings = {"c": 0.1} if name == "logistic" else {}
        try:
            found = classify.evaluate(data, [split], find_method(name, **settings))
        except DatasetError as error:  # too few clips for it are no reason to have no table
            log.warning("%s is left out: %s", name, error)
            figures[name] = float("nan")
            continue
        if name == "plda":
            plda = found.scores
        figures[name] = float(found.figures()["map" if several_labels else "accuracy"])  # type: ignore[arg-type]
    rows = split[1]
    figures["retrieval"] = metrics.retrieval(data.vectors[rows], data.targets[rows])[0]
    return figures, plda
