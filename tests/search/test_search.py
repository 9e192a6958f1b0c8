"""Search by every kind of index against brute force; the index as a cache; what is asked for."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from numpy.typing import NDArray

from embedkit.errors import AudioError, DatasetError, EmbeddingFolderError, UsageError
from embedkit.labels.marked import Segments
from embedkit.search import index as index_module
from embedkit.search import segments as search_module
from embedkit.search.choice import EVERY, Choice, lasting
from embedkit.search.exact import ExactSearch
from embedkit.search.index import IndexKind, Metric
from embedkit.search.queries import Queries
from embedkit.search.segments import SearchIndex
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

Vectors = NDArray[np.float32]
SIZE = 16


def provenance(**changes: Any) -> Provenance:
    values = {
        "audio_root": "/audio", "model": "model", "fingerprint": "f" * 64, "embedding_size": SIZE,
        "features": {"sample_rate": 16000}, "segment_s": 1.0, "hop_s": 1.0, "channel": "mix",
        "runtime": "torch",
    }  # fmt: skip
    return Provenance(**{**values, **changes})


def add(folder: Path, clips: dict[str, Vectors], **changes: Any) -> EmbeddingTable:
    """One more part with these clips."""
    with EmbeddingWriter(folder, provenance(**changes)) as writer:
        for clip, vectors in clips.items():
            index = np.arange(len(vectors), dtype=np.int32)
            writer.add_rows(clip, index, index.astype(float), index + 1.0, vectors)
            facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
            seconds = float(len(vectors))
            writer.finish_file(
                FileRecord(clip=clip, rows=len(vectors), duration_s=seconds, **facts)
            )
    return EmbeddingTable.open(folder)


def draw(clips: int, seed: int, *, each: int = 4) -> dict[str, Vectors]:
    """Clips of segments around 20 centres, of all lengths."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, SIZE))
    return {
        f"{'ab'[n % 2]}/{seed}-{n:04d}.wav": (
            (centres[rng.integers(20, size=each)] + 0.6 * rng.standard_normal((each, SIZE)))
            * rng.uniform(0.5, 2, (each, 1))
        ).astype(np.float32)
        for n in range(clips)
    }


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "FEWEST", 1000)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    return add(tmp_path_factory.mktemp("search") / "emb", draw(500, 0))


def brute_force(
    table: EmbeddingTable, query: Vectors, metric: Metric, top: int, keep: Callable[[str], bool]
) -> list[tuple[str, float, float]]:
    rows = table.rows()
    scores = rows.embeddings.astype(float) @ query
    if metric is Metric.COSINE:
        scores /= np.linalg.norm(rows.embeddings, axis=1) * np.linalg.norm(query)
    found: dict[str, tuple[str, float, float]] = {}
    for row in np.argsort(-scores):
        if keep(rows.clips[row]):
            found.setdefault(rows.clips[row], (rows.clips[row], rows.start_s[row], scores[row]))
    return list(found.values())[:top]


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("kind", list(IndexKind))
def test_search_finds_what_brute_force_does(
    table: EmbeddingTable, kind: IndexKind, metric: Metric, tmp_path: Path
) -> None:
    index = SearchIndex(table, kind=kind, metric=metric, cache=tmp_path)
    queries = np.random.default_rng(5).standard_normal((20, SIZE)).astype(np.float32)
    among = np.array([clip.startswith("a/") for clip in index.clips])[index.segments.owner]
    right = 0
    for allowed, keep in ((None, lambda clip: True), (among, lambda clip: clip.startswith("a/"))):
        answers = index.search(queries, 10, among=allowed)
        for query, hits in zip(queries, answers, strict=True):
            expected = brute_force(table, query, metric, 10, keep)
            right += len({hit.clip for hit in hits} & {clip for clip, _, _ in expected})
            by_clip = {clip: (start, score) for clip, start, score in expected}
            for hit in hits:  # what is found has its exact similarity, in every kind
                if hit.clip in by_clip:
                    start, score = by_clip[hit.clip]
                    assert (hit.start_s, hit.end_s) == (start, start + 1)
                    assert hit.similarity == pytest.approx(score, abs=1e-4)
            assert [hit.similarity for hit in hits] == sorted(
                (hit.similarity for hit in hits), reverse=True
            )
    assert right / 400 >= {IndexKind.FLAT: 1.0, IndexKind.HNSW: 0.98, IndexKind.IVF_PQ: 0.9}[kind]


@pytest.mark.parametrize("few", [0, search_module.FEW], ids=["by effort", "one by one"])
@pytest.mark.parametrize("kind", list(IndexKind))
def test_the_few_that_a_filter_leaves_are_all_found(
    table: EmbeddingTable,
    kind: IndexKind,
    few: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_module, "FEW", few)
    monkeypatch.setattr(search_module, "PROBES", 1)
    monkeypatch.setattr(search_module, "EFFORT", 16)
    index = SearchIndex(table, kind=kind, cache=tmp_path)
    queries = np.random.default_rng(5).standard_normal((20, SIZE)).astype(np.float32)
    among = np.arange(len(index.clips)) % 100 == 7
    names = {clip for clip, kept in zip(index.clips, among, strict=True) if kept}
    inside = among[index.segments.owner]
    for query, hits in zip(queries, index.search(queries, 10, among=inside), strict=True):
        expected = brute_force(table, query, Metric.COSINE, 10, names.__contains__)
        assert [hit.clip for hit in hits] == [clip for clip, _, _ in expected]


def test_many_queries_are_answered_as_one_by_one(table: EmbeddingTable) -> None:
    index = SearchIndex(table)
    queries = np.random.default_rng(6).standard_normal((7, SIZE)).astype(np.float32)
    together = index.search(queries, 5)
    alone = [index.search(query[None], 5)[0] for query in queries]
    assert [[hit.clip for hit in hits] for hits in together] == [
        [hit.clip for hit in hits] for hits in alone
    ]


def test_slivers_at_the_ends_of_clips_are_not_searched(tmp_path: Path) -> None:
    query = np.ones(SIZE, np.float32)
    with EmbeddingWriter(tmp_path / "emb", provenance()) as writer:
        for clip, ends in (
            ("long.wav", [1.0, 1.4]),
            ("short.wav", [0.1]),
            ("half.wav", [1.0, 1.5]),
        ):
            index = np.arange(len(ends), dtype=np.int32)
            vectors = np.tile(query, (len(ends), 1))
            writer.add_rows(clip, index, index.astype(float), np.array(ends), vectors)
            facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
            record = FileRecord(clip=clip, rows=len(ends), duration_s=ends[-1], **facts)
            writer.finish_file(record)
    table = EmbeddingTable.open(tmp_path / "emb")
    for kind in (IndexKind.FLAT, IndexKind.HNSW):
        index = SearchIndex(table, kind=kind, cache=tmp_path / "cache")
        [hits] = index.search(query[None], 9, choice=EVERY)
        found = sorted((hit.clip, hit.start_s, hit.end_s) for hit in hits)
        assert found == [
            ("half.wav", 0.0, 1.0), ("half.wav", 1.0, 1.5), ("long.wav", 0.0, 1.0),
            ("short.wav", 0.0, 0.1),
        ]  # fmt: skip


def test_segments_are_found_one_by_one(table: EmbeddingTable) -> None:
    index, rows = SearchIndex(table), table.rows()
    query = rows.embeddings[3]
    [hits] = index.search(query[None], 2000, choice=EVERY)
    cosine = rows.embeddings @ query / np.linalg.norm(rows.embeddings, axis=1)
    order = np.argsort(-cosine)
    assert len(hits) == 2000
    assert [(hit.clip, hit.start_s) for hit in hits[:50]] == [
        (rows.clips[row], rows.start_s[row]) for row in order[:50]
    ]


@pytest.mark.parametrize("kind", [IndexKind.HNSW, IndexKind.IVF_PQ])
def test_the_kept_index_is_used_extended_and_never_trusted(
    kind: IndexKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "emb", tmp_path / "cache"
    first = draw(400, 1)
    query = np.random.default_rng(7).standard_normal((1, SIZE)).astype(np.float32)
    read: list[list[str]] = []
    batches = EmbeddingTable.batches

    def watch(self: EmbeddingTable, parts: Any = None) -> Any:
        read.append(list(parts or []))
        return batches(self, parts)

    monkeypatch.setattr(EmbeddingTable, "batches", watch)

    def search() -> list[str]:
        read.clear()
        index = SearchIndex(EmbeddingTable.open(folder), kind=kind, cache=cache)
        return [hit.clip for hit in index.search(query, 10)[0]]

    add(folder, first)
    built = search()
    assert read
    assert search() == built
    assert read == []  # no vector was read again
    (kept,) = [path for path in cache.iterdir() if path.is_dir()]
    settings = json.loads((kept / "index.json").read_text())

    table = add(folder, draw(100, 2))  # a later run of the extraction
    grown = search()
    [new] = {part.name for part in table.parts} - set(settings["parts"])
    assert read == [[new]]  # the new part alone
    expected = brute_force(table, query[0], Metric.COSINE, 10, lambda clip: True)
    assert len(set(grown) & {clip for clip, _, _ in expected}) >= 9

    whole = (kept / "index.faiss").read_bytes()
    for damage in (whole[:-10], b"", b"garbage", whole[:100] + b"\0" + whole[101:]):
        (kept / "index.faiss").write_bytes(damage)
        assert len(set(search()) & set(grown)) >= 9
        assert read  # made anew
    other = json.loads((kept / "index.json").read_bytes()) | {"parts": {}}  # all would be twice
    for content in (b"{", b"[]", b"[" * 100_000, json.dumps(other).encode()):
        (kept / "index.json").write_bytes(content)
        assert len(set(search()) & set(grown)) >= 9
        assert read
    part = next((folder / "rows").glob("*.parquet"))
    os.utime(part, ns=(1, 1))  # rewritten since
    assert len(set(search()) & set(grown)) >= 9
    assert read


def test_vectors_of_an_interrupted_addition_are_cut_off(tmp_path: Path) -> None:
    table = add(tmp_path / "emb", draw(400, 1))
    query = np.random.default_rng(7).standard_normal((1, SIZE)).astype(np.float32)
    before = SearchIndex(table, kind=IndexKind.IVF_PQ, cache=tmp_path / "c").search(query, 10)
    (vectors,) = (tmp_path / "c").rglob("vectors.f32")
    with vectors.open("ab") as file:
        file.write(b"\1" * 1000)
    table = add(tmp_path / "emb", draw(50, 2))
    index = SearchIndex(table, kind=IndexKind.IVF_PQ, cache=tmp_path / "c")
    expected = brute_force(table, query[0], Metric.COSINE, 10, lambda clip: True)
    found = {hit.clip for hit in index.search(query, 10)[0]}
    assert len(found & {clip for clip, _, _ in expected}) >= 8
    assert before


def test_too_few_segments_cannot_be_compressed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ivf-pq needs 1,000 segments, there are 40: take flat"):
        SearchIndex(add(tmp_path / "emb", draw(10, 0)), kind=IndexKind.IVF_PQ, cache=tmp_path)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (1, IndexKind.FLAT),
        (500_000, IndexKind.FLAT),
        (500_001, IndexKind.HNSW),
        (5_000_001, IndexKind.IVF_PQ),
    ],
)
def test_the_kind_goes_by_size(rows: int, kind: IndexKind) -> None:
    assert index_module.choose_kind(rows) is kind


# What is asked for


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Path:
    root = tmp_path_factory.mktemp("asked")
    for number in range(6):
        write_audio(
            root / "audio" / "ab"[number % 2] / f"{number}.wav", make_sound(4.0, seed=number)
        )
    write_audio(root / "more" / "new.wav", make_sound(3.0, seed=50))
    write_audio(root / "more" / "1.wav", make_sound(4.0, seed=1))
    (root / "more" / "broken.wav").write_bytes(b"RIFF")
    succeed("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    return root


@pytest.fixture(scope="module")
def sounds(work: Path) -> Queries:
    table = EmbeddingTable.open(work / "emb")
    return Queries(table)


def test_a_span_of_a_file_is_that_span_of_the_clip(work: Path, sounds: Queries) -> None:
    whole = sounds.vector("b/1.wav")
    np.testing.assert_allclose(sounds.vector(str(work / "more/1.wav")), whole, atol=1e-4)
    part = sounds.vector("b/1.wav@1-3")
    np.testing.assert_allclose(sounds.vector(f"{work}/more/1.wav@1-3"), part, atol=1e-4)
    rows = EmbeddingTable.open(work / "emb").clip_rows("b/1.wav")
    np.testing.assert_allclose(part, rows.embeddings[1:3].mean(axis=0), rtol=1e-5)
    assert np.abs(part - whole).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("b/1.wav@9-10", EmbeddingFolderError, r"b/1.wav has no segment from 9 to 10 s"),
        ("more/new.wav@9-10", AudioError, r"ends before 9 s"),
        ("more/new.wav@2-2", UsageError, r"a span from 2 to 2 s is empty"),
        ("nothing.wav", UsageError, r"neither a clip of the collection nor a file"),
        ("nothing.wav@1-2", UsageError, r"nothing.wav: neither a clip"),
    ],
)
def test_a_span_that_is_not_there_is_refused(
    work: Path, sounds: Queries, name: str, kind: type[Exception], message: str
) -> None:
    path = str(work / name) if name.startswith("more") else name
    with pytest.raises(kind, match=message):
        sounds.vector(path)


def test_a_contrast_is_the_mean_of_the_ones_minus_that_of_the_others(sounds: Queries) -> None:
    def direction(name: str) -> Vectors:
        vector = sounds.vector(name)
        return vector / np.linalg.norm(vector)

    expected = (direction("a/0.wav") + direction("b/1.wav")) / 2 - direction("a/2.wav")
    found = sounds.contrast(["a/0.wav", "b/1.wav"], ["a/2.wav"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_filters_go_by_path_and_by_label(sounds: Queries, tmp_path: Path) -> None:
    names = ["a/0.wav", "a/2.wav", "a/4.wav", "b/1.wav", "b/3.wav", "b/5.wav"]
    start = np.tile([0.0, 1.0], 6)
    segments = Segments(
        names=names, owner=np.repeat(np.arange(6), 2), start_s=start, end_s=start + 1
    )
    assert sounds.allowed(segments, None, None, None) is None
    fits = sounds.allowed(segments, "a/*", None, None)
    assert fits is not None
    assert fits.tolist() == [True] * 6 + [False] * 6
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\na/0.wav,dog\nb/1.wav,dog\na/2.wav,cat\n")
    both = sounds.allowed(segments, "a/*", labels, "dog")
    assert both is not None
    assert both.tolist() == [True] * 2 + [False] * 10
    with pytest.raises(DatasetError, match="no clip of the collection fits b/"):
        sounds.allowed(segments, "b/*", labels, "cat")
    # Where labels have times, the segments have them.
    labels.write_text("path,start_s,end_s,label\na/0.wav,1.2,1.4,dog\nb/1.wav,0,1.5,dog\n")
    part = sounds.allowed(segments, None, labels, "dog")
    assert part is not None
    assert np.flatnonzero(part).tolist() == [1, 6, 7]


def test_the_command_searches_for_many_things_at_once(work: Path) -> None:
    done = run("search", work / "emb", "a/0.wav", work / "more", "--top", 2, "--json")
    assert done.returncode == 3  # one file of the folder is broken
    assert "broken.wav" in done.stderr
    answers = json.loads(done.stdout)
    assert [Path(answer["query"]).name for answer in answers] == ["0.wav", "1.wav", "new.wav"]
    assert answers[0]["results"][0]["clip"] != "a/0.wav"
    assert answers[1]["results"][0]["clip"] == "b/1.wav"
    assert answers[1]["results"][0]["similarity"] == pytest.approx(1, abs=0.2)


def test_like_and_unlike_make_one_query_and_leave_its_sounds_out(work: Path) -> None:
    text = succeed(
        *("search", work / "emb", "--like", "a/0.wav", "--like", "b/1.wav"),
        *("--unlike", "a/2.wav", "--format", "csv"),
    )
    lines = text.splitlines()
    assert lines[0] == "query,rank,clip,start_s,end_s,similarity"
    found = [line.split(",")[2] for line in lines[1:]]
    assert len(found) == 4
    assert not {"a/0.wav", "b/1.wav"} & set(found)


def test_a_filter_and_segments(work: Path) -> None:
    answers = json.loads(
        succeed(
            *("search", work / "emb", "a/0.wav", "--among", "b/*", "--segments", "--json"),
            *("--top", 99),
        )
    )
    found = [(hit["clip"], hit["start_s"]) for hit in answers[0]["results"]]
    assert sorted(found) == [(f"b/{n}.wav", float(s)) for n in (1, 3, 5) for s in range(4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name sounds to search for, or --like"),
        (("a/0.wav", "--like", "b/1.wav"), "name sounds to search for, or --like"),
        (("a/0.wav", "--unlike", "b/1.wav"), "name sounds to search for, or --like"),
        (("a/0.wav", "--where", "dog"), "--labels and --where go together"),
        (("a/0.wav", "--index", "tree"), "no kind 'tree'; there are: flat, hnsw, ivf-pq"),
        (("a/0.wav", "--metric", "l1"), "no metric 'l1'; there are: cosine, dot"),
    ],
)
def test_usage_errors(work: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("search", work / "emb", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_index_prepares_what_search_uses(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    text = succeed("index", work / "emb", "--index", "hnsw")
    assert text.strip().endswith("emb: hnsw, cosine, 6 clips")
    assert list((work / "cache").rglob("index.faiss"))
    answers = json.loads(succeed("search", work / "emb", "a/0.wav", "--index", "hnsw", "--json"))
    assert len(answers[0]["results"]) == 5


# What the index reads


def test_rows_of_a_clip_and_spans_of_parts_are_those_of_all_rows(tmp_path: Path) -> None:
    for seed in range(3):
        table = add(tmp_path / "emb", draw(20, seed))
    rows = table.rows()
    for clip in (rows.clips[0], rows.clips[-1], rows.clips[100]):
        found = table.clip_rows(clip)
        mine = rows.clips == clip
        np.testing.assert_array_equal(found.embeddings, rows.embeddings[mine])
        np.testing.assert_array_equal(found.start_s, rows.start_s[mine])
    assert len(table.clip_rows("nothing").clips) == 0
    parts = [part.name for part in table.parts]
    assert sum(part.rows for part in table.parts) == len(rows.clips)
    spans = table.spans(parts[::-1])
    batches = list(table.batches(parts[::-1]))
    np.testing.assert_array_equal(spans.clips, np.concatenate([each.clips for each in batches]))
    np.testing.assert_array_equal(spans.end_s, np.concatenate([each.end_s for each in batches]))


def test_clips_come_whole_however_their_rows_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = add(tmp_path / "emb", draw(20, 0))
    names, vectors = table.clip_vectors()
    whole = list(table.batches())

    def cut(self: EmbeddingTable, parts: Any = None) -> Any:
        for rows in whole:
            for start in range(0, len(rows.clips), 7):  # clips of 4 rows
                part = slice(start, start + 7)
                yield type(rows)(*(getattr(rows, name)[part] for name in vars(rows)))

    monkeypatch.setattr(EmbeddingTable, "batches", cut)
    found = [
        (name, vector)
        for some, means in table.clip_batches()
        for name, vector in zip(some, means, strict=True)
    ]
    assert sorted(name for name, _ in found) == names
    for name, vector in found:
        np.testing.assert_allclose(vector, vectors[names.index(name)], rtol=1e-6)


@pytest.mark.parametrize("size", [None, 4])
def test_exact_search_in_memory_is_brute_force(size: int | None) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    query = rng.standard_normal(8).astype(np.float32)
    part = vectors[:, :size].astype(float)
    cosine = part @ query[:size] / np.linalg.norm(part, axis=1) / np.linalg.norm(query[:size])
    np.testing.assert_allclose(ExactSearch(vectors).scores(query, size), cosine, atol=1e-6)


# What is kept


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Clips in folders of clips; every third one is nearly the one before, at half the gain."""
    rng = np.random.default_rng(3)
    clips: dict[str, Vectors] = {}
    for n in range(150):
        vectors = rng.standard_normal((int(rng.integers(1, 9)), SIZE)).astype(np.float32)
        if n % 3 == 2:
            vectors = clips[f"f{(n - 1) % 4}/{n - 1:03d}.wav"] / 2
            vectors = vectors + rng.normal(0, 0.01, vectors.shape).astype(np.float32)
        clips[f"f{n % 4}/{n:03d}.wav"] = vectors
    return add(tmp_path_factory.mktemp("copies") / "emb", clips)


def chosen(
    table: EmbeddingTable, query: Vectors, top: int, choice: Choice
) -> list[tuple[str, float]]:
    """What is kept of all segments, by one look at each in the order of their cosines."""
    rows = table.rows()
    units = rows.embeddings / np.linalg.norm(rows.embeddings, axis=1, keepdims=True)
    cosines = units @ (query / np.linalg.norm(query))
    away = units - units.sum(axis=0) / (len(units) + 1)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    kept: list[int] = []
    for row in np.argsort(cosines if choice.farthest else -cosines, kind="stable"):
        clip, folder = rows.clips[row], rows.clips[row].split("/")[0]
        clips = [rows.clips[other] for other in kept]
        if choice.threshold is not None and (
            cosines[row] > choice.threshold if choice.farthest else cosines[row] < choice.threshold
        ):
            break
        if choice.per_clip is not None and clips.count(clip) >= choice.per_clip:
            continue
        folders = [other.split("/")[0] for other in clips]
        if choice.per_folder is not None and folders.count(folder) >= choice.per_folder:
            continue
        if choice.distinct and any(away[row] @ away[other] >= 0.98 for other in kept):
            continue
        kept.append(row)
    return [(rows.clips[row], rows.start_s[row]) for row in kept[:top]]


CHOICES = [
    Choice(),
    Choice(per_clip=2),
    Choice(per_folder=3),
    Choice(per_clip=None, per_folder=5),
    Choice(distinct=True),
    Choice(per_clip=None, distinct=True),
    Choice(threshold=0.2),
    Choice(farthest=True),
    Choice(farthest=True, threshold=-0.3, distinct=True),
    Choice(per_clip=2, per_folder=4, distinct=True, threshold=0.0),
]


@pytest.mark.parametrize("top", [7, 400])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_is_kept_is_what_a_look_at_every_segment_keeps(
    copies: EmbeddingTable, choice: Choice, top: int
) -> None:
    index = SearchIndex(copies)
    for query in np.random.default_rng(8).standard_normal((3, SIZE)).astype(np.float32):
        [hits] = index.search(query[None], top, choice=choice)
        expected = chosen(copies, query, top, choice)
        assert [(hit.clip, hit.start_s) for hit in hits] == expected


@pytest.mark.parametrize("kind", list(IndexKind))
def test_every_index_is_asked_for_more_until_enough_are_left(
    tmp_path: Path, kind: IndexKind
) -> None:
    """One clip of 1,200 near-copies is nearest; 40 clips farther away are all found."""
    rng = np.random.default_rng(4)
    axis = np.eye(SIZE, dtype=np.float32)[0]
    near = axis + 0.001 * rng.standard_normal((1200, SIZE)).astype(np.float32)
    far = {
        f"far/{n:02d}.wav": (0.2 * axis + rng.standard_normal((1, SIZE))).astype(np.float32)
        for n in range(40)
    }
    table = add(tmp_path / "emb", {"near/a.wav": near, "near/b.wav": near[:3], **far})
    index = SearchIndex(table, kind=kind, cache=tmp_path / "cache")
    [hits] = index.search(axis[None], 41, choice=Choice(distinct=True))
    assert hits[0].clip.startswith("near/")
    assert {hit.clip for hit in hits[1:]} == set(far)
    [hits] = index.search(axis[None], 41, choice=Choice(per_folder=2))
    assert [hit.clip.split("/")[0] for hit in hits] == ["near", "near", "far", "far"]
    [hits] = index.search(axis[None], 5, choice=Choice(farthest=True))
    assert hits[0].similarity == min(hit.similarity for hit in hits)
    assert len(hits) == 5


def test_clips_are_chosen_by_how_long_they_last(copies: EmbeddingTable) -> None:
    index = SearchIndex(copies)
    found = lasting(copies, index.segments, 3, 5)
    [hits] = index.search(np.ones((1, SIZE), np.float32), 200, among=found)
    seconds = {record.clip: record.duration_s for record in copies.journal}
    assert {hit.clip for hit in hits} == {clip for clip, s in seconds.items() if 3 <= s <= 5}
    with pytest.raises(UsageError, match="no clip that is asked about is 9 s or longer"):
        lasting(copies, index.segments, 9, None)
    assert lasting(copies, index.segments, None, None) is None


def test_the_command_and_python_keep_the_same(copies: EmbeddingTable) -> None:
    import embedkit

    answer = json.loads(
        succeed(
            "search", copies.folder, "f0/000.wav", "--json", "--per-folder", 2, "--per-clip", 2,
            "--distinct", "--threshold", 0.05, "--longer", 2, "--shorter", 6,
        )
    )  # fmt: skip
    hits = embedkit.open(copies.folder).search(
        "f0/000.wav", per_folder=2, per_clip=2, distinct=True, threshold=0.05, longer=2, shorter=6
    )
    assert answer[0]["results"] == [vars(hit) for hit in hits]
    assert 0 < len(hits) <= 8
    with pytest.raises(UsageError, match="no setting 'per_folders'; did you mean per_folder"):
        embedkit.open(copies.folder).search("f0/000.wav", per_folders=2)
    with pytest.raises(UsageError, match="per clip 0: must be at least 1"):
        Choice(per_clip=0)
