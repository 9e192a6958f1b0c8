"""The whole way on sounds that embedkit makes itself: extract, classify, search, report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.atomic import atomic_write
from embedkit.audio.decode import decode
from embedkit.audio.features import front_end
from embedkit.checkpoint import count_parameters, load_config
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import hold_out_fold
from embedkit.config import DEFAULT_MODEL, FeatureSpec
from embedkit.demo.synth import write_collection
from embedkit.errors import UsageError
from embedkit.extraction import Extraction, extract
from embedkit.labels.join import Labelled, join_labels
from embedkit.names.bundled import load_names
from embedkit.names.summary import summarise
from embedkit.names.tagging import tag_clips
from embedkit.pages.plots import confusion_matrix, embedding_map, spectrogram
from embedkit.pages.projection import project
from embedkit.pages.report import ReportCard, write_report
from embedkit.progress import Track, untracked
from embedkit.search.segments import Hit, SearchIndex
from embedkit.store import EmbeddingTable

FOLD = "0"  # held out: nothing is fitted on it
METHOD = Logistic(c=0.1)
NEIGHBOURS = 6


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demonstration found.

    Attributes:
        clips, labels: number of clips and of labels of the collection.
        evaluation: scores of a classifier on the embeddings of the held-out clips.
        retrieval_map, precision_at_5: of the held-out clips among themselves.
        query, hits: a held-out clip and what the search found for it.
        seconds: seconds by step.
        report: the page.
        commands: the same steps for a folder of the user's.
    """

    clips: int
    labels: int
    evaluation: classify.Evaluation
    retrieval_map: float
    precision_at_5: float
    query: str
    hits: list[Hit]
    seconds: dict[str, float]
    report: Path
    commands: str


def run_demo(
    out: Path, track: Track = untracked, report: Callable[[Extraction], None] = lambda run: None
) -> Demo:
    """Make `out/audio`, `out/embeddings`, `out/classifier` and `out/report.html`.

    What an earlier run finished is kept.

    Args:
        out: the folder to write.
        track: shows the progress.
        report: is called with the state of the extraction.

    Returns:
        what was found.

    Raises:
        UsageError: `out` holds something else.
    """
    mark = out / ".embedkit-demo"
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise UsageError(f"{out}: not empty, and not from an earlier demo; name another folder")
    with atomic_write(mark):
        pass
    seconds: dict[str, float] = {}

    def step(name: str, started: float) -> float:
        seconds[name] = time.monotonic() - started
        return time.monotonic()

    now = time.monotonic()
    manifest_path = out / "audio" / "clips.csv"
    if not manifest_path.exists():
        write_collection(out / "audio", track=track)
    now = step("synthesise", now)

    extract(out / "audio", DEFAULT_MODEL, out / "embeddings", report=report)
    now = step("extract", now)

    table = EmbeddingTable.open(out / "embeddings")
    data = join_labels(table, str(manifest_path))
    split = hold_out_fold(data, FOLD)
    evaluation = classify.evaluate(data, [split], METHOD)
    fingerprint = table.provenance.fingerprint
    fitted = Classifier.fit(data, split[0], METHOD, fingerprint=fingerprint)
    fitted.save(out / "classifier")
    retrieval = metrics.retrieval(data.vectors[split[1]], data.targets[split[1]])
    now = step("classify", now)

    query = evaluation.clips[0]
    index = SearchIndex(table)
    [hits] = index.search(table.clip_vector(query)[None], NEIGHBOURS, without=[{query}])
    now = step("search", now)

    demo = Demo(
        clips=len(data.clips),
        labels=len(data.labels),
        evaluation=evaluation,
        retrieval_map=retrieval[0],
        precision_at_5=retrieval[1],
        query=query,
        hits=hits,
        seconds=seconds,
        report=out / "report.html",
        commands=_commands(),
    )
    _write_report(demo, out, table, data)
    step("report", now)
    return demo


def _write_report(demo: Demo, out: Path, table: EmbeddingTable, data: Labelled) -> None:
    parameters = count_parameters(DEFAULT_MODEL)
    features = load_config(DEFAULT_MODEL).features
    rows = table.rows()
    label = dict(zip(data.clips, (data.labels[index] for index in data.classes), strict=True))
    held = [index for index, clip in enumerate(rows.clips) if clip in set(demo.evaluation.clips)]
    figures = demo.evaluation.figures()
    low, high = metrics.share_interval(demo.evaluation.correct)
    names = load_names(table)
    heard = {clip.clip: str(clip) for clip in tag_clips(table, names)}
    hours = sum(record.duration_s for record in table.journal) / 3600

    def card(clip: str, start_s: float, end_s: float, similarity: float | None) -> ReportCard:
        picture = _picture(features, out / "audio" / clip, start_s, end_s)
        return ReportCard(
            clip=clip,
            label=label[clip],
            start_s=start_s,
            end_s=end_s,
            similarity=similarity,
            audio_href=f"audio/{clip}",
            picture=spectrogram(*picture),
            heard=heard[clip],
        )

    duration = max(rows.end_s[rows.clips == demo.query])
    write_report(
        demo.report,
        title="A collection, embedded",
        facts=[
            ("clips", f"{demo.clips} of {demo.labels} kinds"),
            ("audio", f"{hours * 60:.1f} minutes, {len(rows.clips)} segments of 1 s"),
            ("network", f"embedkit's own, {parameters:,} parameters"),
            ("embedding", f"{table.embedding_size} numbers a second of audio"),
            (
                "held-out clips",
                f"{figures['correct']} of {figures['clips']} named right"
                f" ({low:.0%} to {high:.0%} with 95 % confidence)",
            ),
            ("heard, without any training", str(summarise(table, names))),
            ("retrieval", f"mAP {demo.retrieval_map:.3f} among the held-out clips"),
        ],
        figures=[
            (
                "Held-out clips, classified",
                "Logistic regression on the mean vector of each clip, fitted on the other folds.",
                confusion_matrix(demo.evaluation.confusion(), data.labels),
            ),
            (
                "Held-out segments, mapped",
                "The vectors of those clips, placed on a plane (t-SNE).",
                embedding_map(
                    project(rows.embeddings[held]), [label[rows.clips[index]] for index in held]
                ),
            ),
        ],
        query=card(demo.query, 0.0, float(duration), None),
        neighbours=[card(hit.clip, hit.start_s, hit.end_s, hit.similarity) for hit in demo.hits],
        commands=demo.commands,
    )


def _picture(
    spec: FeatureSpec, path: Path, start_s: float, end_s: float
) -> tuple[NDArray[np.float32], float]:
    """Log-mel features [frames, bands] of a span of a file, and its duration."""
    rate = spec.sample_rate
    samples = np.concatenate(list(decode(path, rate)))[round(start_s * rate) : round(end_s * rate)]
    return front_end(spec)(samples[None])[0, 0], end_s - start_s


def _commands() -> str:
    mine = "my_sounds"
    return "\n".join(
        [
            f"embedkit extract {mine} --out my_embeddings",
            f"embedkit search my_embeddings {mine}/one_of_them.wav",
            "embedkit classify fit my_embeddings --labels folders --out my_classifier",
            "embedkit classify predict my_embeddings --classifier my_classifier",
            f"embedkit train {mine} --init default --out my_model   # {mine}/<label>/<clip>",
        ]
    )
