"""The network's own scores: by segment, by clip, and against labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics, scoring
from embedkit.audio.decode import decode
from embedkit.audio.segments import BATCH, cut, in_batches, stack
from embedkit.config import TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.datasets.manifest import targets
from embedkit.errors import AudioError, DatasetError
from embedkit.models.module import ExtractorModule
from embedkit.progress import Track, untracked


@dataclass(frozen=True, kw_only=True)
class ClipScores:
    """Scores of one clip.

    Attributes:
        path: the file.
        start_s, end_s: of each segment in seconds, float64 [segments].
        segments: float32 [segments, classes].
        mean_vector: scores of the clip's vector, float32 [classes].
        kind, message: what is wrong with the file; empty for a good one.
    """

    path: Path
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    segments: NDArray[np.float32]
    mean_vector: NDArray[np.float32]
    kind: str = ""
    message: str = ""

    @property
    def clip(self) -> NDArray[np.float64]:
        """The clip's scores [classes].

        The paper's segments (section 3.1) are all whole; a tail shorter than a segment counts less.
        """
        return scoring.clip_mean(self.segments, self.seconds)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Real duration of each segment [segments]."""
        return self.end_s - self.start_s


def held_out(manifest: Manifest, spec: TrainSpec) -> Manifest:
    """The clips that a training left to be scored: its held-out fold, else the split `test`.

    Args:
        manifest: all clips.
        spec: the recipe, which names the fold.

    Returns:
        the clips.

    Raises:
        DatasetError: nothing is held out, or a label is only in these clips.
    """
    if spec.hold_out_fold:
        held = manifest.fold(spec.hold_out_fold)
        rest = manifest.without_fold(spec.hold_out_fold)
    elif any(clip.split == "test" for clip in manifest.clips):
        held, rest = manifest.split("test"), manifest.split("train")
    else:
        raise DatasetError(
            "nothing to score on: name a fold to hold out, or bring a split column with `train` and"
            " `test`"
        )
    unknown = sorted(set(held.labels) - set(rest.labels))
    if unknown:
        raise DatasetError(f"the label {unknown[0]!r} stands in the held-out clips alone")
    return held


def score_file(extractor: ExtractorModule, path: Path) -> ClipScores:
    """Score a file by segment; a damaged file is scored up to the damage.

    Args:
        extractor: the model.
        path: the file.

    Returns:
        its scores, which say what is wrong with the file.
    """
    kind = message = ""
    places: list[tuple[float, float]] = []
    scores = [np.zeros((0, len(extractor.config.labels)), np.float32)]
    total = scoring.no_sums(1, extractor.embedding_size)
    spec, rate = extractor.config.segments, extractor.sample_rate
    try:
        for batch in in_batches(cut(decode(path, rate), spec, rate), BATCH):
            spans = [(segment.start_s, segment.end_s) for segment in batch]
            places += spans
            vectors = extractor.embed_segments(stack(batch))
            scores.append(extractor.score_vectors(vectors))
            scoring.add(total, vectors, np.diff(spans)[:, 0])
    except AudioError as error:
        kind, message = str(error.kind), str(error)
    start_s, end_s = np.array(places, np.float64).reshape(-1, 2).T
    vector = scoring.means(total).astype(np.float32)
    return ClipScores(
        path=path,
        start_s=start_s,
        end_s=end_s,
        segments=np.concatenate(scores),
        mean_vector=extractor.score_vectors(vector)[0],
        kind=kind,
        message=message,
    )


def score_clips(
    extractor: ExtractorModule, manifest: Manifest, track: Track = untracked
) -> tuple[list[tuple[Clip, ClipScores]], list[ClipScores]]:
    """Score labelled clips by segment.

    Args:
        extractor: the model.
        manifest: the clips.
        track: shows the progress.

    Returns:
        the clips that could be scored with their scores, and the scores of files that could not be
        decoded, or not to their end.

    Raises:
        DatasetError: the model does not know a label, or no clip can be decoded.
        UsageError: the model was distilled and has no classes.
    """
    known = extractor.require_labels()
    unknown = sorted(set(manifest.labels) - set(known))
    if unknown:
        raise DatasetError(
            f"the model does not know the label {unknown[0]!r} ({len(unknown)} unknown in all);"
            f" it knows: {', '.join(known)}"
        )
    done = [
        (clip, score_file(extractor, clip.path))
        for clip in track(manifest.clips, "Scoring", len(manifest.clips))
    ]
    failures = [scores for _, scores in done if scores.kind]
    scored = [(clip, scores) for clip, scores in done if len(scores.segments)]
    if not scored:
        raise DatasetError(f"none of {len(done)} clips can be decoded; {failures[0].message}")
    return scored, failures


@dataclass(frozen=True, kw_only=True)
class NetworkEvaluation:
    """Figures of a network on labelled clips.

    Attributes:
        clips, segments: how many were scored.
        figures: figures by clip, by name; and accuracy by segment.
        failures: clips that could not be scored, or not to their end.
        targets, scores: of the clips that were scored, [clips, classes].
    """

    clips: int
    segments: int
    figures: dict[str, float | int | tuple[float, float]]
    failures: list[ClipScores]
    targets: NDArray[np.float32]
    scores: NDArray[np.float64]


def evaluate(
    extractor: ExtractorModule, manifest: Manifest, track: Track = untracked
) -> NetworkEvaluation:
    """Score labelled clips with the network's own output.

    Args:
        extractor: the model.
        manifest: the clips.
        track: shows the progress.

    Returns:
        the figures.

    Raises:
        DatasetError: as for `score_clips`.
        UsageError: as for `score_clips`.
    """
    scored, failures = score_clips(extractor, manifest, track)
    wanted = targets([clip for clip, _ in scored], extractor.config.labels)
    by_clip = np.stack([scores.clip for _, scores in scored])
    figures: dict[str, float | int | tuple[float, float]] = {}
    if not manifest.several_labels:
        truth = wanted.argmax(axis=1)
        correct = (by_clip.argmax(axis=1) == truth).astype(np.float64)
        by_segment = np.concatenate(
            [
                scores.segments.argmax(axis=1) == label
                for (_, scores), label in zip(scored, truth, strict=True)
            ]
        )
        figures["correct"] = int(correct.sum())
        figures["accuracy"] = float(correct.mean())
        figures["accuracy_interval"] = metrics.share_interval(correct)
        figures["segment_accuracy"] = float(by_segment.mean())
    figures["weighted_auc"] = metrics.weighted_auc(wanted, by_clip)
    figures["macro_auc"] = metrics.macro_auc(wanted, by_clip)
    figures["d_prime"] = metrics.d_prime(wanted, by_clip)
    figures["map"] = metrics.mean_average_precision(wanted, by_clip)
    return NetworkEvaluation(
        clips=len(scored),
        segments=sum(len(scores.segments) for _, scores in scored),
        figures=figures,
        failures=failures,
        targets=wanted,
        scores=by_clip,
    )
