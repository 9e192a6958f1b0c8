"""What strangers bring, made up by the hundred: read, or refused in words, and nothing else.

The tests take the same few examples each time. EMBEDKIT_FUZZ=1000 takes so many others of each;
`benchmarks/faults.py --only fuzz` does so for minutes.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import draw, namer, write_table_of

from embedkit.audio import flac, ogg
from embedkit.audio.ffmpeg import stated_frames
from embedkit.audio.formats import is_sound
from embedkit.audio.headers import LAYOUTS, extent, files, find_sound
from embedkit.audio.part import Part
from embedkit.audio.tags import id3_length, untagged
from embedkit.checkpoint import CONFIG, ModelConfig, load_config
from embedkit.classifiers.classifier import SETTINGS, Classifier
from embedkit.classifiers.review import read_sheet
from embedkit.classifiers.thresholds import read_thresholds
from embedkit.classifiers.verify import read_trials
from embedkit.config import Activation, FeatureSpec, ModelSpec, SegmentSpec, TrainSpec
from embedkit.datasets import read_dataset
from embedkit.errors import EmbeddingFolderError, EmbedkitError, ModelFolderError
from embedkit.field.headers import read_header
from embedkit.labels.answers import Answers
from embedkit.labels.marks import Marks
from embedkit.progress import untracked
from embedkit.runtime.description import read_description
from embedkit.search.index import IndexKind, Metric, open_index
from embedkit.store import MANIFEST, EmbeddingTable, read_manifest

MANY = os.environ.get("EMBEDKIT_FUZZ")
fuzzed = settings(
    max_examples=int(MANY or 60),
    derandomize=not MANY,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# Headers of sound: chunks that a format knows or not, whose lengths are right or lie.
LENGTHS = st.one_of(
    st.none(),  # the right one
    st.integers(0, 200),
    st.sampled_from([2**31 - 1, 2**31, 2**32 - 1, 2**32 - 45, 2**63 - 1, 2**64 - 1]),
)
NAMES = (b"fmt ", b"data", b"LIST", b"COMM", b"SSND", b"ds64", b"desc", b"BODY", b"VHDR", b"guan",
         b"JUNK", b"fact", b"INFO", b"ICMT")  # fmt: skip
SHORT = st.binary(max_size=60)
TEXTS = st.sampled_from(
    [b"Timestamp: 2023-01-01T20:00:00+25:00", b"Loc Position: nan inf", b"INFOICMT\x40\0\0\0" +
     b"Recorded at 20:00:00 31/02/2023 (UTC+99:99) by AudioMoth 24", b"movi" * 4,
     b"guan\xff\xff\xff\xff"]
)  # fmt: skip


@st.composite
def headers(draw: Callable[[Any], Any]) -> bytes:
    begins, at, form, chunks = draw(st.sampled_from(LAYOUTS))
    start = bytearray(begins.ljust(max(at, chunks.first), b"\0"))
    start[at : at + len(form)] = form
    content = bytes(start)
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from([*NAMES, chunks.sound])).ljust(chunks.name, b"\0")
        body = draw(SHORT | TEXTS)
        stated = draw(LENGTHS)
        length = (len(body) if stated is None else stated) % 256**chunks.size
        content += name[: chunks.name] + length.to_bytes(chunks.size, chunks.order) + body
        content += b"\0" * draw(st.integers(0, 1))
    return content + draw(SHORT)


OTHERS = st.builds(
    bytes.__add__,
    st.sampled_from(
        [
            b"", b".snd", b"dns.", b"fLaC\0\0\0\x22", b"OggS\0\2", b"ID3\4\0\0\0\0\1\0", b"TAG",
            b"\xff\xfb\x90\x64", b"Xing\0\0\0\1",
            b"NIST_1A\n   1024\nsample_count -i 9\nsample_n_bytes -i x\nchannel_count -i 2\n",
            b"NIST_1A\n   -9\nsample_count -i -9\nsample_n_bytes -i 2\nchannel_count -i 2\n",
            b"APETAGEX" + struct.pack("<IIII", 2000, 2**31, 2**31, 2**31),
        ]
    ),
    st.binary(max_size=400),
)  # fmt: skip


@fuzzed
@given(content=headers() | OTHERS)
def test_a_header_is_parsed_to_places_in_the_file_or_to_nothing(place: Path, content: bytes):
    path = place / "sound"
    path.write_bytes(content)
    is_sound(content[:8192], len(content))
    untagged(content)
    assert id3_length(content[:10]) >= 0
    read_header(path)
    with path.open("rb", buffering=0) as raw:
        file = Part.of(raw)
        parts = files(file)
        assert sum(part.size for part in parts) == len(content)
        stated_frames(file)
        flac.has_more(file, 1)
        if ogg.is_ogg(raw):
            assert sum(link.size for link in ogg.links(raw)) <= len(content)
        sound = find_sound(file)
        if sound is not None:
            found = extent(file, sound)
            assert found.missing >= 0
            assert found.missing or found.end <= max(len(content), sound.start + sound.stated)
            sound.field(len(content))


# JSON and TOML: a good file in which some values are others, or keys are gone or new.
ODD = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 1.5, 10**400, -(10**400), 2**63, 1e308, float("nan"), float("inf"), "",
         "x", "../x", "/etc/passwd", "\0", "\ud800", "a\nb", "1", "mix", "2000-1000"]
    )
    | st.integers()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in nested values."""
    items = values.items() if isinstance(values, dict) else ()
    items = enumerate(values) if isinstance(values, list) else items
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


@st.composite
def changed(draw: Callable[[Any], Any], good: Any) -> Any:
    values = deepcopy(good)
    for way in draw(st.lists(st.sampled_from(list(places(good))), min_size=1, max_size=2)):
        with suppress(LookupError, TypeError):  # what it leads to is another thing by now
            owner = values
            for key in way[:-1]:
                owner = owner[key]
            if draw(st.integers(0, 9)):
                owner[way[-1]] = draw(ODD)
            else:
                del owner[way[-1]]
    return values


def written_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, ensure_ascii=True), encoding="utf-8")


# What is no JSON of ours, or none at all.
RAW = [b"", b"{", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
RAW += [b'{"format": 1}', b'{"format": 1, "model": []}', b"1" * 5000, b"\0", b"NaN"]


@pytest.fixture(scope="module")
def table(place: Path) -> EmbeddingTable:
    return write_table_of(place / "emb", {"a.wav": draw(5), "b.wav": draw(4, seed=1)})


MANIFEST_OF = {"format": 1, "embedkit_version": "0", "audio_root": "/a", "model": "m",
               "fingerprint": "f" * 64, "embedding_size": 4, "features": {"sample_rate": 16000},
               "segment_s": 1.0, "hop_s": 1.0, "channel": "mix", "runtime": "onnx", "track": 1,
               "speed": 1.0, "band": "100-2000", "extractor": {"name": "x"}}  # fmt: skip


def check_manifest(folder: Path) -> None:
    with suppress(EmbeddingFolderError):
        found = read_manifest(folder)
        found.check_same(found, folder)
        assert found.sample_rate > 0
        assert isinstance(found.model_name, str)
        assert found.hearing.speed > 0


@fuzzed
@given(values=changed(MANIFEST_OF))
def test_a_manifest_is_read_or_refused(place: Path, values: Any):
    written_json(place / MANIFEST, values)
    check_manifest(place)


CONFIG_OF = ModelConfig(
    model=ModelSpec(name="gap", classes=3, dim=64, dims=(32, 64)),
    features=FeatureSpec(),
    segments=SegmentSpec(),
    training=TrainSpec(),
    activation=Activation.SOFTMAX,
    labels=("a", "b", "c"),
).to_dict()


def check_config(folder: Path) -> None:
    with suppress(ModelFolderError):
        found = load_config(folder)
        assert min(found.feature_shape) > 0
        assert ModelConfig.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@fuzzed
@given(values=changed(CONFIG_OF))
def test_a_model_s_settings_are_read_or_refused(place: Path, values: Any):
    written_json(place / CONFIG, values)
    check_config(place)


@pytest.fixture(scope="module")
def classifier(place: Path) -> Path:
    namer("a", "b", "c").save(place / "classifier")
    return place / "classifier"


def check_classifier(folder: Path) -> None:
    with suppress(EmbedkitError):
        found = Classifier.load(folder)
        assert np.isfinite(found.scores(draw(2, found.size))).all()


@fuzzed
@given(data=st.data())
def test_a_classifier_s_settings_are_read_or_refused(classifier: Path, data: st.DataObject):
    namer("a", "b", "c").save(classifier)
    good = json.loads((classifier / SETTINGS).read_bytes())
    written_json(classifier / SETTINGS, data.draw(changed(good)))
    check_classifier(classifier)


@pytest.fixture(scope="module")
def kept(table: EmbeddingTable, place: Path) -> Path:
    open_index(table, IndexKind.HNSW, Metric.DOT, place / "cache", untracked)
    [folder] = (place / "cache").iterdir()
    return folder


def check_index(table: EmbeddingTable, folder: Path) -> None:
    """Whatever is kept there, the answers are those of the rows."""
    index, parts, _ = open_index(table, IndexKind.HNSW, Metric.DOT, folder.parent, untracked)
    vectors = table.rows().embeddings
    assert parts == [part.name for part in table.parts]
    assert index.ntotal == len(vectors)
    assert index.search(vectors, 1)[0][:, 0] == pytest.approx((vectors @ vectors.T).max(axis=1))


@fuzzed
@given(data=st.data())
def test_a_kept_index_is_used_or_made_anew(table: EmbeddingTable, kept: Path, data: st.DataObject):
    good = json.loads((kept / "index.json").read_bytes())
    written_json(kept / "index.json", data.draw(changed(good)))
    check_index(table, kept)


@pytest.mark.parametrize("content", RAW, ids=lambda content: repr(content[:12]))
def test_what_is_no_json_of_ours_is_refused_wherever_it_stands(
    place: Path, table: EmbeddingTable, classifier: Path, kept: Path, content: bytes
):
    for path, check in (
        (place / MANIFEST, check_manifest),
        (place / CONFIG, check_config),
        (classifier / SETTINGS, check_classifier),
        (kept / "index.json", lambda folder: check_index(table, folder)),
    ):
        path.write_bytes(content)
        check(path.parent)
    (place / "extractor.toml").write_bytes(content)
    with pytest.raises(ModelFolderError):
        read_description(place / "extractor.toml")


# An extractor's description.
DESCRIBED = {
    "name": "toy",
    "licence": "MIT",
    "network": {"file": "toy.onnx", "sha256": "0" * 64},
    "input": {"name": "x", "sample_rate": 8000, "window_s": 1.0, "hop_s": 0.5,
              "layout": "batch samples", "scale": 1.0, "normalise": "peak"},
    "output": {"embedding": "e", "pool": "mean", "axis": [1], "logits": "l",
               "labels": "labels.csv", "label_column": "name", "activation": "softmax"},
}  # fmt: skip


def toml(value: Any) -> str:
    """A value in TOML, which has no null: that becomes a word that it does not know."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return {"Infinity": "inf", "NaN": "nan"}.get(json.dumps(value), repr(value))
    return json.dumps(value)


@fuzzed
@given(values=changed(DESCRIBED), labels=st.binary(max_size=40) | st.just(b"name\na\nb\n"))
def test_a_description_is_read_or_refused(place: Path, values: Any, labels: bytes):
    folder = place / "described"
    folder.mkdir(exist_ok=True)
    (folder / "toy.onnx").write_bytes(b"")
    (folder / "labels.csv").write_bytes(labels)
    text = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in values.items())
    (folder / "extractor.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(ModelFolderError):
        found = read_description(folder)
        json.dumps(found.facts())
        assert found.network.resolve().is_relative_to(folder.resolve())
        assert min(found.segments.samples(found.sample_rate)) > 0


# Tables and tracks of labels.
HEADINGS = st.sampled_from(
    ["path", "label", "labels", "start_s", "end_s", "sign", "fold", "split", "group", "filename",
     "Begin Time (s)", "End Time (s)", "Begin File", "Species", "species", "threshold", "first",
     "second", "same", "score", "", " ", "x"]
)  # fmt: skip
CELLS = st.sampled_from(
    ["a.wav", "b.wav", "sub/a.wav", "../a.wav", "/a.wav", "crow", "a;b", "skip", "+", "-", "?", "0",
     "1", "1.5", "1,5", "-1", "1e400", "nan", "inf", "00:01:02", "99:99:99", "", " ", '"', '"a',
     "a\0", "a\nb", "\\", "=1+1", "\ufeff", "é", "\udcff", "٣", "²", "1_0", "9" * 400]
) | st.text(max_size=5)  # fmt: skip
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32"])


@st.composite
def sheets(draw: Callable[[Any], Any]) -> bytes:
    """A table with a delimiter, an encoding and ends of lines, or something like it."""
    width = draw(st.integers(1, 6))
    rows = [draw(st.lists(HEADINGS, min_size=width, max_size=width))]
    rows += draw(st.lists(st.lists(CELLS, max_size=width + 1), max_size=6))
    delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoted = draw(st.booleans())
    lines = [
        delimiter.join('"' + cell.replace('"', '""') + '"' if quoted else cell for cell in row)
        for row in rows
    ]
    text = draw(st.sampled_from(["", "sep=;\n", "# x\n", "\n"])) + end.join(lines)
    return text.encode(draw(ENCODINGS), "replace") + draw(st.binary(max_size=3))


@st.composite
def tracks(draw: Callable[[Any], Any]) -> bytes:
    line = st.builds("{}\t{}\t{}".format, CELLS, CELLS, CELLS)
    return "\n".join(draw(st.lists(line, max_size=5))).encode("utf-8", "surrogateescape")


@fuzzed
@given(content=sheets() | tracks(), suffix=st.sampled_from([".csv", ".txt", ".tsv"]))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_labels_are_read_or_refused(place: Path, content: bytes, suffix: str):
    folder = place / "labels"
    folder.mkdir(exist_ok=True)
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    for read in (
        read_dataset,
        lambda path: read_dataset(path, "Species"),
        read_trials,
        lambda path: read_thresholds(path, {"crow", "a"}),
        lambda path: read_sheet(path, "crow"),
        lambda path: Answers(path, {"a.wav"}).labels,
        lambda path: Marks(path, {"a.wav"}).stretches(),
    ):
        with suppress(EmbedkitError):
            read(path)
    with suppress(EmbedkitError):
        read_dataset(folder)
    assert path.read_bytes() == content
    path.unlink()


@fuzzed
@given(content=sheets(), label=st.text(max_size=6), clip=st.sampled_from(["a.wav", "new.wav"]))
def test_a_label_that_is_given_stands_there_and_the_others_stay(
    place: Path, content: bytes, label: str, clip: str
):
    path = place / "answers.csv"
    path.write_bytes(content)
    try:
        answers = Answers(path)
        before = dict(answers.labels)
        answers.set(clip, label)
    except EmbedkitError:
        assert path.read_bytes() == content
        return
    after = Answers(path).labels
    wanted = label.strip()
    assert after.get(clip, "") == ("" if wanted == "skip" else wanted)
    assert {**after, clip: ""} == {**before, clip: ""}
