"""Names long clips by a trained network, decided from their segments in the same three ways."""

import numpy as np

from embedkit.classifiers.evaluate import Evaluation
from embedkit.classifiers.scene import Decision, decide
from embedkit.datasets import Manifest
from embedkit.datasets.manifest import targets
from embedkit.models.module import ExtractorModule
from embedkit.progress import Track, untracked
from embedkit.training.evaluation import ClipScores, score_clips


def network_decisions(
    extractor: ExtractorModule, manifest: Manifest, track: Track = untracked
) -> tuple[dict[Decision, Evaluation], list[ClipScores]]:
    """Score clips with the network's own output, in all three ways.

    Args:
        extractor: a model with classes of its own.
        manifest: clips with one label each, which it was not trained with.
        track: shows the progress.

    Returns:
        the scores of each way of deciding, and the clips that could not be scored, or not to their
        end.

    Raises:
        DatasetError: the model does not know a label, or no clip can be decoded.
        UsageError: the model was distilled and has no classes.
    """
    scored, failures = score_clips(extractor, manifest, track)
    segments = np.concatenate([scores.segments for _, scores in scored]).astype(np.float64)
    seconds = np.concatenate([scores.seconds for _, scores in scored])
    owners = np.repeat(np.arange(len(scored)), [len(scores.segments) for _, scores in scored])
    found = {
        way: decide(segments, seconds, owners, way, len(scored))
        for way in (Decision.MEAN_SCORE, Decision.MAJORITY)
    }
    found[Decision.MEAN_VECTOR] = np.stack(
        [scores.mean_vector.astype(np.float64) for _, scores in scored]
    )
    labels = extractor.config.labels
    evaluations = {
        way: Evaluation(
            clips=[str(clip.path) for clip, _ in scored],
            labels=labels,
            several_labels=False,
            targets=targets([clip for clip, _ in scored], labels),
            scores=scores,
        )
        for way, scores in found.items()
    }
    return evaluations, failures
