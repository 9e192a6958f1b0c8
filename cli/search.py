"""embedkit search: the segments that a sound is near to, or words stand for; embedkit index."""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedkit.errors import AudioError, UsageError, choices

from ._app import app
from ._cuts import Padding, SaveClips
from ._extraction import model_at
from ._field import After, Before, InHours, Sites, field_filter
from ._labels import Cover, LabelColumn, Within, parse_rule
from ._output import Device, Json, message, print_json, print_table, report_failures, track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.cuts import Failure
    from embedkit.field.filters import FieldFilter
    from embedkit.labels.marked import Segments
    from embedkit.search.choice import Choice
    from embedkit.search.index import IndexKind
    from embedkit.search.segments import Hit
    from embedkit.store import EmbeddingTable

EmbDir = Annotated[Path, typer.Argument(help="The embedding folder.")]
IndexName = Annotated[
    str | None,
    typer.Option(
        "--index",
        help="The index of FAISS: flat, hnsw or ivf-pq.",
        show_default="flat up to 500,000 segments, hnsw up to 5,000,000, then ivf-pq",
    ),
]
MetricName = Annotated[str, typer.Option("--metric", help="The similarity: cosine or dot.")]
COLUMNS = "clip", "start_s", "end_s"


class Form(StrEnum):
    """The format of the results."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command()
def index(
    emb_dir: EmbDir, kind: IndexName = None, metric: MetricName = "cosine", json: Json = False
) -> None:
    """Make the index of an embedding folder, or bring it up to date.

    `embedkit search` does so by itself. The index is kept in the user's cache folder; what an
    extraction has added is added to it.

    Example: embedkit index embeddings --index hnsw
    """
    from embedkit.search.index import Metric
    from embedkit.search.segments import SearchIndex
    from embedkit.store import EmbeddingTable

    found = SearchIndex(
        EmbeddingTable.open(emb_dir),
        kind=_kind(kind),
        metric=_parse(Metric, "metric", metric),
        track=track,
    )
    if json:
        print_json({"index": found.kind, "metric": found.metric, "clips": len(found.clips)})
    else:
        print(f"{emb_dir}: {found.kind}, {found.metric}, {len(found.clips):,} clips")


@app.command()
def search(
    emb_dir: EmbDir,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            help="Audio files, folders of them, or clips of the collection; @ takes a span of"
            " seconds, as in long.wav@12.5-14.",
            metavar="QUERY...",
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            help="A sound, named as QUERY is; the query is the mean of all of them. Repeatable."
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            help="A sound, named as QUERY is; the mean of these is"
            " subtracted from that of --like. Repeatable."
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Words for a sound instead of a sound: 'dog barking', 'rain and thunder'."
            " Repeatable.",
        ),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="The classifier whose labels --text is looked up in.",
            show_default="the names of the model",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="The number of results.", min=1)] = 10,
    segments: Annotated[
        bool, typer.Option("--segments", help="List every segment, not the best one of each clip.")
    ] = False,
    per_clip: Annotated[
        int | None,
        typer.Option(help="The most segments of one clip to list.", min=1, show_default="1"),
    ] = None,
    per_folder: Annotated[
        int | None,
        typer.Option(help="The most clips of one folder to list.", min=1),
    ] = None,
    distinct: Annotated[
        bool,
        typer.Option(
            "--distinct",
            help="Leave out near-copies of better results, as `duplicates` tells them.",
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="The lowest similarity, or score of --text, to list; with --farthest the highest."
        ),
    ] = None,
    farthest: Annotated[
        bool,
        typer.Option("--farthest", help="List the least similar, or the lowest scores, first."),
    ] = False,
    longer: Annotated[
        float | None,
        typer.Option(help="Take only clips that last this many seconds or more.", min=0),
    ] = None,
    shorter: Annotated[
        float | None,
        typer.Option(help="Take only clips that last this many seconds or less.", min=0),
    ] = None,
    among: Annotated[
        str | None, typer.Option(help="Take only clips whose path fits a pattern, as in 'birds/*'.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels as `embedkit classify fit` takes them; see --where.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Take only clips with this label in --labels; where labels have times, only"
            " segments with it."
        ),
    ] = None,
    label_column: LabelColumn = "",
    cover: Cover = 0.5,
    within: Within = 0.5,
    after: After = None,
    before: Before = None,
    hours: InHours = None,
    site: Sites = None,
    kind: IndexName = None,
    metric: MetricName = "cosine",
    model: Annotated[
        Path | None,
        typer.Option(
            help="The model that embeds audio files and brings names.",
            callback=model_at,
            show_default="the one that made the folder",
        ),
    ] = None,
    device: Device = "cpu",
    save_clips: SaveClips = None,
    padding: Padding = 0.0,
    form: Annotated[Form, typer.Option("--format", help="The format of the results.")] = Form.TABLE,
    json: Json = False,
) -> None:
    """Find the clips that sound most alike, each with its most similar segment.

    The query's mean vector is compared with every segment. A query that is a clip of the collection
    is left out of the results.

    With --text it finds the clips in which the names that the words stand for are heard most
    surely. A score is a probability; for several sounds at once it is their geometric mean.

    Example: embedkit search embeddings dog.wav
    """
    import numpy as np

    from embedkit.classifiers.classifier import Classifier
    from embedkit.labels.reading import read_spans
    from embedkit.names.bundled import load_names
    from embedkit.search.choice import Choice, lasting
    from embedkit.search.index import Metric
    from embedkit.search.queries import Queries
    from embedkit.search.segments import SearchIndex
    from embedkit.store import EmbeddingTable

    if (unlike and not like) or bool(queries) + bool(like) + bool(text) != 1:
        raise UsageError(
            "name sounds to search for, or --like, with or without --unlike, or --text"
        )
    _check_pairs(
        text, classifier, labels, where, by_index=kind is not None or metric != Metric.COSINE
    )
    choice = Choice.of(
        segments=segments,
        per_clip=per_clip,
        per_folder=per_folder,
        distinct=distinct,
        threshold=threshold,
        farthest=farthest,
    )
    table = EmbeddingTable.open(emb_dir)
    sounds = Queries(table, model, device)
    recorded = field_filter(table, after, before, hours, site)

    def allow(every: "Segments") -> "NDArray[np.bool_] | None":
        rule = parse_rule("some", cover, within)
        allowed = sounds.allowed(every, among, labels, where, rule, label_column)
        return lasting(table, every, longer, shorter, _also(allowed, recorded, every))

    if text:
        namer = Classifier.load(classifier) if classifier else load_names(table, model)
        wishes = (among, where, recorded, longer, shorter)
        every = all(wish is None for wish in wishes)
        allowed = None if every else allow(read_spans(table, table.clip_names()))
        heard = _find_heard(table, namer, text, top, allowed, choice)
        _print(heard, Form.JSON if json else form, [*COLUMNS, "score", "name"])
        report_failures(
            _cut_out(heard, table, save_clips, padding),
            of=len({hit.clip for answer in heard for hit in answer["results"]}),
        )
        return
    collection = SearchIndex(
        table, kind=_kind(kind), metric=_parse(Metric, "metric", metric), track=track
    )
    if kind is None and not json:
        message(f"{collection.kind} index, {collection.metric}")
    failures: list[Failure] = []
    names, vectors = [], []
    if like:
        names, vectors = [" ".join(like)], [sounds.contrast(like, unlike or ())]
    for query in sounds.expand(queries or ()):
        try:
            vectors.append(sounds.vector(query))
        except AudioError as error:
            failures.append((query, str(error.kind), str(error)))
            continue
        names.append(query)
    allowed = allow(collection.segments)
    hits: list[list[Hit]] = []
    if vectors:
        hits = collection.search(
            np.array(vectors),
            top,
            without=[{sounds.clip(member) for member in like or [name]} for name in names],
            among=allowed,
            choice=choice,
        )
    answers = [{"query": name, "results": found} for name, found in zip(names, hits, strict=True)]
    failures += _cut_out(answers, table, save_clips, padding)
    _print(answers, Form.JSON if json else form, [*COLUMNS, "similarity"])
    report_failures(failures, of=len(names) + len(failures))


def _also(
    allowed: "NDArray[np.bool_] | None", recorded: "FieldFilter | None", segments: "Segments"
) -> "NDArray[np.bool_] | None":
    """Of the segments that are allowed those that were recorded when and where it is asked."""
    if recorded is None:
        return allowed
    fits = recorded.fits(segments.names, segments.owner, segments.start_s)
    found = fits if allowed is None else fits & allowed
    if not found.any():
        raise UsageError("nothing of the collection was recorded then and there")
    return found


def _check_pairs(
    text: Sequence[str] | None,
    classifier: Path | None,
    labels: Path | None,
    where: str | None,
    by_index: bool,
) -> None:
    """Refuse options that do not go together."""
    if (labels is None) != (where is None):
        raise UsageError("--labels and --where go together")
    if text and by_index:
        raise UsageError("--index and --metric are for sounds; --text scores every segment")
    if classifier is not None and not text:
        raise UsageError("--classifier is for --text: it has the names that words are looked up in")


def _find_heard(
    table: "EmbeddingTable",
    namer: "Classifier",
    texts: Sequence[str],
    top: int,
    among: "NDArray[np.bool_] | None",
    choice: "Choice",
) -> list[dict[str, Any]]:
    """Answers to words, by the labels of a classifier."""
    from embedkit.names.vocabulary import Vocabulary
    from embedkit.search.words import find_heard

    vocabulary = Vocabulary(namer.labels)
    meanings = [vocabulary.find(text) for text in texts]
    for meaning in meanings:
        message(f"searching for {meaning}")
    hits = find_heard(table, namer, meanings, top, among=among, choice=choice, track=track)
    return [
        {"query": text, "sounds": [asdict(match) for match in meaning.matches], "results": found}
        for text, meaning, found in zip(texts, meanings, hits, strict=True)
    ]


def _cut_out(
    answers: Sequence[dict[str, Any]],
    table: "EmbeddingTable",
    folder: Path | None,
    padding_s: float,
) -> "list[Failure]":
    """Cut out what was found, where it is asked for; which files could not be read."""
    from embedkit.classifiers.cuts import cut_out
    from embedkit.classifiers.tracks import Span

    if folder is None:
        return []
    spans = [
        Span(hit.clip, hit.start_s, hit.end_s, answer["query"], 0.0)
        for answer in answers
        for hit in answer["results"]
    ]
    failures: list[Failure] = []
    for _ in cut_out(sorted(spans), table, folder, padding_s, failures):
        pass
    message(f"{folder}: {len(spans)} sounds")
    return failures


def _print(answers: Sequence[dict[str, Any]], form: Form, columns: Sequence[str]) -> None:
    """Print queries with their hits: the clip, its span, how well it fits, and more."""
    if form is Form.JSON:
        print_json([{**each, "results": list(map(vars, each["results"]))} for each in answers])
        return
    if form is Form.CSV:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["query", "rank", *columns])
        for answer in answers:
            for rank, hit in enumerate(answer["results"], start=1):
                writer.writerow([answer["query"], rank, *(vars(hit)[name] for name in columns)])
        sys.stdout.write(text.getvalue())
        return
    clip, start_s, end_s, fit, *more = columns
    for number, answer in enumerate(answers):
        if len(answers) > 1:
            print(("\n" if number else "") + f"{answer['query']}:")
        rows = [
            [f"{hit[fit]:.4f}", f"{hit[start_s]:.2f}", f"{hit[end_s]:.2f}", hit[clip]]
            + [hit[name] for name in more]
            for hit in map(vars, answer["results"])
        ]
        print_table([fit, start_s, end_s, clip, *more], rows)


def _kind(name: str | None) -> "IndexKind | None":
    from embedkit.search.index import IndexKind

    found: IndexKind | None = None if name is None else _parse(IndexKind, "kind", name)
    return found


def _parse(names: Any, what: str, name: str) -> Any:
    try:
        return names(name)
    except ValueError as error:
        raise UsageError(f"no {what} {name!r}{choices(name, names)}") from error
