import csv
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.stats import chi2_contingency
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.config import SAMPLE_RATES
from embedkit.demo.synth import CLASSES, synthesise_clip, write_collection
from embedkit.errors import UsageError

T = TypeVar("T")
Audio = NDArray[np.float32]

FOLDS = 4
CLIPS_PER_CLASS = 6  # not a multiple of FOLDS
SEED = 3


class Tracker:
    def __init__(self) -> None:
        self.total: int | None = None
        self.seen = 0

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        assert description
        self.total = total
        for item in items:
            yield item
            self.seen += 1


class Clip(NamedTuple):
    path: str
    label: str
    fold: str
    audio: Audio  # [samples, channels] as decoded
    sample_rate: int

    @property
    def name(self) -> str:
        return Path(self.path).stem


class Collection(NamedTuple):
    root: Path
    csv: Path
    clips: list[Clip]
    tracker: Tracker


def read_clips(listing: Path) -> list[Clip]:
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(**row, audio=audio, sample_rate=rate)
        for row in rows
        for audio, rate in [
            soundfile.read(listing.parent / row["path"], dtype="float32", always_2d=True)
        ]
    ]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    root = tmp_path_factory.mktemp("collection")
    tracker = Tracker()
    listing = write_collection(
        root, clips_per_class=CLIPS_PER_CLASS, folds=FOLDS, seed=SEED, track=tracker
    )
    return Collection(root, listing, read_clips(listing), tracker)


def test_listing_joins_with_the_files(collection: Collection) -> None:
    assert collection.csv == collection.root / "clips.csv"
    assert collection.csv.read_text().splitlines()[0] == "path,label,fold"
    files = {path for path in collection.root.rglob("*") if path.is_file()} - {collection.csv}
    assert {path.relative_to(collection.root).as_posix() for path in files} == {
        clip.path for clip in collection.clips
    }
    numbered = [(label, k) for label in CLASSES for k in range(CLIPS_PER_CLASS)]
    assert [clip.label for clip in collection.clips] == [label for label, _ in numbered]
    assert [clip.path.rpartition(".")[0] for clip in collection.clips] == [
        f"{label}/{label}-{k:02d}" for label, k in numbered
    ]


def test_progress_covers_every_clip(collection: Collection) -> None:
    assert collection.tracker.seen == collection.tracker.total == len(collection.clips)


def test_decoded_clips_are_sound_of_2_to_8_seconds(collection: Collection) -> None:
    durations = []
    for clip in collection.clips:
        assert np.isfinite(clip.audio).all(), clip.path
        peaks = np.abs(clip.audio).max(axis=0)
        assert (peaks > 0.005).all(), clip.path  # every channel
        assert (peaks <= 1).all(), clip.path
        durations.append(len(clip.audio) / clip.sample_rate)
    assert min(durations) >= 2
    assert max(durations) <= 8
    assert 3 < np.mean(durations) < 4
    assert np.std(durations) > 0.7


def test_every_class_has_every_format_rate_and_channel_count(collection: Collection) -> None:
    formats, rates, channels = defaultdict(set), defaultdict(set), defaultdict(set)
    for clip in collection.clips:
        info = soundfile.info(collection.root / clip.path)
        assert clip.path.endswith(f".{info.format.lower()}")
        formats[clip.label].add((info.format, info.subtype))
        rates[clip.label].add(info.samplerate)
        channels[clip.label].add(info.channels)
    for label in CLASSES:
        assert formats[label] == {
            ("FLAC", "PCM_16"),
            ("MP3", "MPEG_LAYER_III"),
            ("OGG", "VORBIS"),
            ("WAV", "PCM_16"),
        }
        assert rates[label] == set(SAMPLE_RATES)
        assert channels[label] == {1, 2}


def test_stereo_channels_differ_in_level(collection: Collection) -> None:
    stereo = [clip.audio for clip in collection.clips if clip.audio.shape[1] == 2]
    left, right = np.array([np.sqrt(np.mean(audio**2, axis=0)) for audio in stereo]).T
    assert 0.2 < np.mean(left > right) < 0.8
    assert np.median(np.abs(np.log2(left / right))) > 0.2


def test_folds_are_even(collection: Collection) -> None:
    folds = [str(fold) for fold in range(FOLDS)]
    per_class = Counter((clip.label, clip.fold) for clip in collection.clips)
    counts = {per_class[label, fold] for label in CLASSES for fold in folds}
    assert counts == {CLIPS_PER_CLASS // FOLDS, CLIPS_PER_CLASS // FOLDS + 1}
    whole = Counter(clip.fold for clip in collection.clips)
    assert whole == dict.fromkeys(folds, len(collection.clips) // FOLDS)


def test_file_traits_tell_neither_fold_nor_class(collection: Collection) -> None:
    clips = collection.clips
    traits: dict[str, Sequence[object]] = {
        "format": [Path(clip.path).suffix for clip in clips],
        "rate": [clip.sample_rate for clip in clips],
        "channels": [clip.audio.shape[1] for clip in clips],
    }
    targets = {"fold": [clip.fold for clip in clips], "label": [clip.label for clip in clips]}
    for (trait, values), (target, groups) in itertools.product(traits.items(), targets.items()):
        pairs = Counter(zip(values, groups, strict=True))
        table = [[pairs[value, group] for group in set(groups)] for value in set(values)]
        assert chi2_contingency(table).pvalue > 0.01, f"{trait} depends on {target}"


def test_seed_decides_the_sound_and_growth_does_not(collection: Collection, tmp_path: Path) -> None:
    whole = {clip.name: clip for clip in collection.clips}
    same = read_clips(write_collection(tmp_path / "a", clips_per_class=1, folds=1, seed=SEED))
    other = read_clips(write_collection(tmp_path / "b", clips_per_class=1, folds=1, seed=SEED + 1))
    for clip in same:
        assert clip.path == whole[clip.name].path
        assert clip.sample_rate == whole[clip.name].sample_rate
        np.testing.assert_array_equal(clip.audio, whole[clip.name].audio)
    for clip in other:
        assert not np.array_equal(clip.audio, whole[clip.name].audio)


def test_clips_of_a_class_differ(collection: Collection) -> None:
    for label in CLASSES:
        clips = [clip.audio.mean(axis=1) for clip in collection.clips if clip.label == label]
        levels = 10 * np.log10([np.mean(clip**2) for clip in clips])
        assert np.ptp(levels) > 5
        lengths = {len(clip) for clip in clips}
        assert len(lengths) == len(clips)


def test_interrupted_write_leaves_no_listing_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = soundfile.write
    calls = itertools.count()

    def failing(file: object, data: Audio, *args: object, **kwargs: object) -> None:
        complete(file, data, *args, **kwargs)
        if next(calls) == 2:
            raise OSError("no space left")

    monkeypatch.setattr(soundfile, "write", failing)
    with pytest.raises(OSError, match="no space left"):
        write_collection(tmp_path, clips_per_class=4)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.stem for path in files) == [f"{CLASSES[0]}-{k:02d}" for k in range(2)]


@pytest.mark.parametrize(("clips_per_class", "folds"), [(3, 4), (4, 0), (0, 0)])
def test_folds_that_cannot_be_filled_are_refused(
    clips_per_class: int, folds: int, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="folds"):
        write_collection(tmp_path / "new", clips_per_class=clips_per_class, folds=folds)
    assert not (tmp_path / "new").exists()


def test_unknown_class_and_too_short_clip_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match=r"'owl'.*bell"):
        synthesise_clip("owl", rng, 2.0, 16000)
    with pytest.raises(UsageError, match="at least 1 s"):
        synthesise_clip("bell", rng, 0.9, 16000)


@pytest.mark.parametrize("label", CLASSES)
def test_shortest_clip_at_every_rate(label: str) -> None:
    for sample_rate in SAMPLE_RATES:
        clip = synthesise_clip(label, np.random.default_rng(sample_rate), 1.0, sample_rate)
        assert clip.dtype == np.float32
        assert clip.shape == (sample_rate,)
        assert np.isfinite(clip).all()
        assert 0.005 < np.abs(clip).max() <= 1


# --- what the clips give away about their class ---------------------------------------------


RATE = 16000  # one rate, so that none of the spread below comes from the band that a file holds
EDGES = 700 * np.expm1(np.linspace(0, np.log1p(RATE / 2 / 700), 34))
MEL = np.transpose(
    [np.interp(np.fft.rfftfreq(512, 1 / RATE), EDGES[k : k + 3], [0, 1, 0]) for k in range(32)]
)


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, Audio]]:
    return [
        (label, synthesise_clip(label, np.random.default_rng((number, k)), 2.0, RATE))
        for number, label in enumerate(CLASSES)
        for k in range(24)
    ]


def average_features(audio: Audio) -> list[float]:
    """Loudness in dB, spectral centroid and spectral peak in Hz."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequency = np.fft.rfftfreq(audio.size, 1 / RATE)
    loudness = 10 * np.log10(np.mean(audio**2))
    return [loudness, (power * frequency).sum() / power.sum(), frequency[power.argmax()]]


def pattern_features(audio: Audio) -> NDArray[np.float64]:
    """Mean and deviation, over the frames, of 32 log-mel bands and of their changes."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = np.log(power @ MEL + 1e-8)
    change = np.diff(bands, axis=0)
    return np.concatenate([bands.mean(0), bands.std(0), change.mean(0), change.std(0)])


def test_loudness_and_average_spectrum_do_not_tell_the_class(
    examples: list[tuple[str, Audio]],
) -> None:
    accuracy = cross_val_score(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        [average_features(audio) for _, audio in examples],
        [label for label, _ in examples],
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).mean()
    assert 1 / len(CLASSES) < accuracy < 0.4


def test_every_second_tells_the_class(examples: list[tuple[str, Audio]]) -> None:
    labels = np.repeat([label for label, _ in examples], 2)
    predicted = cross_val_predict(
        ExtraTreesClassifier(100, random_state=0),
        [pattern_features(second) for _, audio in examples for second in np.split(audio, 2)],
        labels,
        groups=np.repeat(np.arange(len(examples)), 2),  # a clip is on one side only
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
    )
    recall = {label: np.mean(predicted[labels == label] == label) for label in CLASSES}
    assert np.mean(predicted == labels) > 0.75
    assert min(recall.values()) > 0.55, recall  # of two alike, one would stay below
