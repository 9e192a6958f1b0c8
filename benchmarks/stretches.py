"""Calls in long recordings: how many are found, and how many detections an hour are false.

    python benchmarks/stretches.py DATA [--out runs/stretches]

DATA holds ESC-10 as meta.csv (path,fold,label) and the audio that it names. Two sets of three
recordings of 30 minutes are made of coloured noise whose colour and level drift, with excerpts of
up to 2 s of all ten kinds of sound, at 4 to 22 dB over the noise around them: those to learn from
of folds 1 to 3, those to search of folds 4 and 5, so that no clip is in both. The four calls of
ESC-10 are looked for, the other six kinds are in the way. The truth is used to answer for a person
who marks, and to count; no method sees more of it than it says. OUT gets it as learn.csv and
field.csv.

Every line is a mean over the four calls. `found` is the share of the events in the field that a
detection overlaps, where 5 detections an hour are false (the threshold is the lowest that has no
more); `10 dB` counts the events of at least that alone. The same at the method's own threshold:
0.5, or after the review that for a precision of 95 %. A search by one example has none: there it is
the share found by as many hits as there are events, each at least 1 s from another.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.detect import Criteria, detect, strongest
from embedkit.classifiers.evaluate import Predictions, predict
from embedkit.classifiers.events import EventFigures, outcomes, summarise
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.review import draw, review, write_sheet
from embedkit.classifiers.tracks import Span
from embedkit.config import DEFAULT_MODEL
from embedkit.datasets import read_dataset
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.extraction import Settings, extract
from embedkit.labels.join import Unit, join_labels
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

RATE = 16000
MINUTES = 30
SETS = {"learn": ("1", "2", "3"), "field": ("4", "5")}
RECORDINGS = 3  # of each set
EACH = 9  # events of each kind in each recording
CALLS = ("baby_cry", "dog_bark", "person_sneeze", "rooster")
HOP_S = 0.5
FALSE_AN_HOUR = 5.0
LOUD_DB = 10.0
REVIEWED = 100

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """What was put into a recording."""

    stretch: Stretch
    snr_db: float


def noise(seconds: float, rng: np.random.Generator) -> Samples:
    """Noise whose power falls with frequency by a power that is drawn, and whose level drifts."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum /= np.maximum(frequencies, 50) ** (rng.uniform(0, 2) / 2)
    sound = np.fft.irfft(spectrum, count)
    minutes = np.arange(0, seconds + 61, 60)
    level_db = np.interp(np.arange(count) / RATE, minutes, rng.uniform(-6, 6, len(minutes)))
    found: Samples = 0.01 * sound / sound.std() * 10 ** (level_db / 20)
    return found


def excerpt(path: Path) -> Samples:
    """Up to 2 s around the loudest moment of a clip, without what is 25 dB below it at the ends."""
    sound, rate = soundfile.read(path, always_2d=True)
    sound = soxr.resample(sound.mean(axis=1), rate, RATE)
    frame = RATE // 50
    level = np.square(sound[: len(sound) // frame * frame]).reshape(-1, frame).mean(axis=1)
    peak = int(level.argmax())
    near = np.flatnonzero(level > level[peak] * 10**-2.5)
    near = near[(near > peak - 50) & (near < peak + 50)]
    return sound[near[0] * frame : (near[-1] + 1) * frame]


def make(data: Path, out: Path, folds: Sequence[str], seed: int) -> list[Event]:
    """Make the recordings of a set, and tell what is in them."""
    rng = np.random.default_rng(seed)
    clips = [clip for clip in read_dataset(data / "meta.csv").clips if clip.fold in folds]
    events = []
    out.mkdir(parents=True, exist_ok=True)
    for number in range(RECORDINGS):
        sound = noise(60 * MINUTES, rng)
        kinds = sorted({clip.labels[0] for clip in clips})
        wanted = [kind for kind in kinds for _ in range(EACH)]
        slots = rng.permutation(60 * MINUTES // 4 - 1)[: len(wanted)] * 4.0 + 1
        for kind, slot in zip(wanted, slots, strict=True):
            call = excerpt(rng.choice([clip.path for clip in clips if clip.labels[0] == kind]))
            start = slot + rng.uniform(0, 1)
            first = round(start * RATE)
            around = sound[first : first + len(call)]
            snr_db = rng.uniform(4, 22)
            call *= around.std() / np.sqrt(np.square(call).mean()) * 10 ** (snr_db / 20)
            around += call
            stretch = Stretch(
                clip=f"{number}.flac", start_s=start, end_s=start + len(call) / RATE, label=kind
            )
            events.append(Event(stretch, snr_db))
        soundfile.write(out / f"{number}.flac", np.clip(sound, -1, 1), RATE)
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start_s", "end_s", "label", "snr_db"])
        for event in events:
            mark = event.stretch
            path = f"{out.name}/{mark.clip}"
            writer.writerow([path, mark.start_s, mark.end_s, mark.label, event.snr_db])
    return events


@dataclass(frozen=True, kw_only=True)
class Field:
    """A set with its vectors."""

    table: EmbeddingTable
    events: list[Event]
    seconds: dict[str, float]

    def count(self, call: str, spans: Sequence[Span], least_db: float = 0.0) -> EventFigures:
        """What detections come to; events that are too soft count neither way."""
        stretches = [
            event.stretch
            if event.snr_db >= least_db
            else replace(event.stretch, sign=Sign.UNCERTAIN)
            for event in self.events
            if event.stretch.label == call
        ]
        return summarise(outcomes(stretches, spans, self.seconds, [call]))

    def best(self, call: str, batches: Sequence[Predictions]) -> float:
        """The lowest threshold above which no more detections are false than allowed."""
        scores = -np.sort(-np.concatenate([batch.scores[:, 0] for batch in batches]))
        best = np.inf
        for place in np.unique(np.geomspace(1, len(scores) / 4, 120).astype(int)) - 1:
            spans = found(call, batches, scores[place])
            if self.count(call, spans).false_an_hour.value > FALSE_AN_HOUR:
                break
            best = float(scores[place])
        return best


def found(call: str, batches: Sequence[Predictions], least: float) -> list[Span]:
    """Detections of a call."""
    return list(detect(batches, (call,), Criteria(thresholds={call: least})))


def scored(field: Field, classifier: Classifier) -> list[Predictions]:
    """A classifier's scores in a field."""
    return list(predict(field.table, classifier, Unit.SEGMENT))


def similar(field: Field, vector: NDArray[np.float32]) -> list[Predictions]:
    """Cosines with a vector in a field."""
    return [
        Predictions(
            clips=rows.clips.tolist(),
            start_s=rows.start_s,
            end_s=rows.end_s,
            scores=(unit(rows.embeddings) @ unit(vector[None])[0])[:, None].astype(np.float64),
        )
        for rows in field.table.batches()
    ]


def examples(learn: Field, mark: Stretch) -> dict[str, NDArray[np.float32]]:
    """A marked call as it is searched by: its span, or the segment with the most of it."""
    rows = learn.table.clip_rows(mark.clip)
    shared = np.minimum(rows.end_s, mark.end_s) - np.maximum(rows.start_s, mark.start_s)
    return {
        "search by one span": learn.table.clip_vector(mark.clip, mark.start_s, mark.end_s),
        "search by one segment": rows.embeddings[shared.argmax()],
    }


def first_hits(field: Field, call: str, batches: Sequence[Predictions]) -> list[Span]:
    """The most similar segments, 1 s apart, as many as there are events."""
    wanted = sum(event.stretch.label == call for event in field.events)
    ranked = sorted(found(call, [single(batches)], -1.0), key=lambda span: -span.score)
    return ranked[:wanted]


def single(batches: Sequence[Predictions]) -> Predictions:
    """Of all segments those that no more similar one lies within 1 s of."""
    clips = [clip for batch in batches for clip in batch.clips]
    start_s, end_s, scores = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("start_s", "end_s", "scores")
    )
    names, kept = np.array(clips), []
    taken: set[tuple[str, int]] = set()
    for row in np.argsort(-scores[:, 0], kind="stable"):
        places = [(clips[row], round(start_s[row] / HOP_S) + step) for step in (-1, 0, 1)]
        if not taken.intersection(places):
            kept.append(row)
            taken.add(places[1])
    rows = np.sort(kept)
    # A hit is one segment: those that touch are none the less two.
    return Predictions(
        clips=names[rows].tolist(),
        start_s=start_s[rows] + 1e-3,
        end_s=end_s[rows] - 1e-3,
        scores=scores[rows],
    )


def fit(learn: Field, marks: Sequence[Stretch], folder: Path) -> Classifier:
    """A classifier of what is marked, as `classify fit` makes it of a table."""
    path = folder / "marks.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start_s", "end_s", "label", "sign"])
        for mark in marks:
            writer.writerow([mark.clip, mark.start_s, mark.end_s, mark.label, mark.sign.value])
    data = join_labels(learn.table, str(path), Unit.SEGMENT)
    print_ = learn.table.provenance.fingerprint
    return Classifier.fit(data, np.arange(len(data.clips)), Logistic(), fingerprint=print_)


def mistakes(learn: Field, call: str, classifier: Classifier, count: int) -> list[Stretch]:
    """What the classifier hears most surely in the recordings to learn from, and is not there."""
    spans = found(call, scored(learn, classifier), 0.05)
    truth = [event.stretch for event in learn.events if event.stretch.label == call]
    wrong = [
        span
        for span in spans
        if not any(
            each.clip == span.clip and each.start_s < span.end_s and each.end_s > span.start_s
            for each in truth
        )
    ]
    return [
        Stretch(clip=s.clip, start_s=s.start_s, end_s=s.end_s, label=call, sign=Sign.NEGATIVE)
        for s in strongest(wrong, count)
    ]


def reviewed(field: Field, call: str, classifier: Classifier, folder: Path) -> tuple[float, str]:
    """The threshold for 95 % that a review of the field gives, answered by the truth."""
    sheet = folder / "sheet.csv"
    write_sheet(sheet, draw(field.table, classifier, call, REVIEWED))
    truth = [event.stretch for event in field.events if event.stretch.label == call]
    rows = list(csv.DictReader(sheet.open(newline="")))
    for row in rows:
        start_s, end_s = float(row["start_s"]), float(row["end_s"])
        shared = [
            min(end_s, each.end_s) - max(start_s, each.start_s)
            for each in truth
            if each.clip == row["path"]
        ]
        row["sign"] = "+" if max(shared, default=0) > 0.1 else "-"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = review(field.table, classifier, call, sheet)
    segments = np.array(
        [
            any(
                each.clip == clip and min(end, each.end_s) - max(start, each.start_s) > 0.1
                for each in truth
            )
            for rows_ in field.table.batches()
            for clip, start, end in zip(rows_.clips, rows_.start_s, rows_.end_s, strict=True)
        ]
    )
    value, low, high = done.density
    words = f"{call}: {segments.mean():.2%} of the segments, estimated {value:.2%}"
    return done.thresholds[0.95].value, f"{words} ({low:.2%} to {high:.2%})"


def main() -> None:
    """Make the recordings, ask every method, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/stretches"))
    arguments = parser.parse_args()
    fields = {}
    for number, (name, folds) in enumerate(SETS.items()):
        sounds, emb = arguments.out / name, arguments.out / f"{name}_embeddings"
        events = make(arguments.data, sounds, folds, number)
        extract(sounds, DEFAULT_MODEL, emb, Settings(hop_s=HOP_S))
        table = EmbeddingTable.open(emb)
        seconds = {record.clip: record.duration_s for record in table.journal}
        fields[name] = Field(table=table, events=events, seconds=seconds)
    learn, field = fields["learn"], fields["field"]
    lines: dict[str, list[list[float]]] = {}
    words = []

    def tell(name: str, call: str, batches: Sequence[Predictions], own: Sequence[Span]) -> None:
        spans = found(call, batches, field.best(call, batches))
        done = [field.count(call, each, least) for each in (spans, own) for least in (0.0, LOUD_DB)]
        values = [each.recall.value for each in done]
        lines.setdefault(name, []).append([*values, done[2].false_an_hour.value])

    for call in CALLS:
        rng = np.random.default_rng(0)
        marks = [event for event in learn.events if event.stretch.label == call]
        drawn = [marks[index].stretch for index in rng.permutation(len(marks))]
        for mark in drawn[:8]:
            for name, vector in examples(learn, mark).items():
                batches = similar(field, vector)
                tell(name, call, batches, first_hits(field, call, batches))
        for first in (0, 5, 10):
            batches = scored(field, fit(learn, drawn[first : first + 5], arguments.out))
            tell("5 marked calls", call, batches, found(call, batches, 0.5))
        fitted = fit(learn, drawn[:25], arguments.out)
        batches = scored(field, fitted)
        tell("25 marked calls", call, batches, found(call, batches, 0.5))
        negatives = mistakes(learn, call, fitted, 25)
        fitted = fit(learn, [*drawn[:25], *negatives], arguments.out)
        batches = scored(field, fitted)
        tell("25, and 25 negatives", call, batches, found(call, batches, 0.5))
        least, said = reviewed(field, call, fitted, arguments.out)
        words.append(said)
        tell("after a review of 100", call, batches, found(call, batches, least))
    print(f"{'':24}{'at 5 false an hour':>22}{'at its own threshold':>32}")
    print(f"{'':24}{'found':>11}{'10 dB':>11}{'found':>11}{'10 dB':>11}{'false/h':>10}")
    for name, values in lines.items():
        *shares, false = np.mean(values, axis=0)
        print(f"{name:24}" + "".join(f"{share:11.0%}" for share in shares) + f"{false:10.1f}")
    print(*words, sep="\n")


if __name__ == "__main__":
    main()
