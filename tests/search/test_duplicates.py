"""Near-duplicates against brute force, and their bounds."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from made import log_odds, namer
from numpy.typing import NDArray

from embedkit.search import duplicates
from embedkit.search.duplicates import find_duplicates, join, name_groups
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

Vectors = NDArray[np.float32]


def write(folder: Path, clips: dict[str, Vectors]) -> EmbeddingTable:
    size = next(iter(clips.values())).shape[-1]
    provenance = Provenance(
        audio_root="/audio", model="model", fingerprint="f" * 64, embedding_size=size,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="torch",
    )  # fmt: skip
    with EmbeddingWriter(folder, provenance) as writer:
        for clip, vector in clips.items():
            index = np.zeros(1, np.int32)
            writer.add_rows(clip, index, index.astype(float), index + 1.0, vector[None])
            facts = {"size": 1, "mtime_ns": 1, "duration_s": 1.0, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=1, **facts))
    return EmbeddingTable.open(folder)


def all_pairs(table: EmbeddingTable, least: float) -> list[tuple[float, str, str]]:
    """Every pair, the most similar first."""
    clips, vectors = table.clip_vectors()
    centred = vectors - vectors.sum(axis=0) / (len(vectors) + 1)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = centred @ centred.T
    found = [
        (float(cosine[a, b]), clips[a], clips[b])
        for a in range(len(clips))
        for b in range(a + 1, len(clips))
        if cosine[a, b] >= least
    ]
    return sorted(found, reverse=True)


def kruskal(pairs: list[tuple[float, str, str]]) -> tuple[list[float], list[set[str]]]:
    """Similarities of the pairs that join what is not joined yet, strongest first; the groups."""
    groups: list[set[str]] = []
    taken = []
    for similarity, one, other in pairs:
        mine = [group for group in groups if one in group or other in group]
        if len(mine) == 1 and {one, other} <= mine[0]:
            continue
        groups = [group for group in groups if group not in mine] + [{one, other}.union(*mine)]
        taken.append(similarity)
    return taken, groups


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """40 clips, copies of ten, and a chain whose ends are unlike."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal((40, 8)) + 5  # what all share makes none alike
    copies = base[:10] + 0.02 * rng.standard_normal((10, 8))
    chain = base[20] + np.linspace(0, 1, 12)[:, None] * (base[21] - base[20])
    named = {"{:02d}.wav": base, "copy-{:02d}.mp3": copies, "chain-{:02d}.ogg": chain}
    return write(
        tmp_path_factory.mktemp("duplicates") / "emb",
        {
            name.format(number): vector.astype(np.float32)
            for name, vectors in named.items()
            for number, vector in enumerate(vectors)
        },
    )


@pytest.mark.parametrize("least", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("bounds", [(256, 4096, 1_000_000), (7, 10, 1), (16, 5, 40)])
def test_duplicates_are_the_strongest_pairs_that_join_the_groups_of_brute_force(
    table: EmbeddingTable,
    least: float,
    bounds: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in zip(("ROWS", "COLUMNS", "WAITING"), bounds, strict=True):
        monkeypatch.setattr(duplicates, name, value)
    pairs = find_duplicates(table, least)
    every = all_pairs(table, least)
    similarities, groups = kruskal(every)
    assert len(every) > len(pairs) > 10
    # The strongest forest is not one alone where similarities are equal; what it weighs is.
    np.testing.assert_allclose([pair.similarity for pair in pairs], similarities, atol=1e-5)
    known = {(one, other): similarity for similarity, one, other in every}
    for pair in pairs:
        assert pair.similarity == pytest.approx(known[pair.clip, pair.other], abs=1e-5)
    found: dict[int, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair.group, set()).update((pair.clip, pair.other))
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, groups))
    assert list(found) == list(range(1, len(groups) + 1))
    copies = {(f"{n:02d}.wav", f"copy-{n:02d}.mp3") for n in range(10)}
    assert copies <= {(pair.clip, pair.other) for pair in pairs}


@pytest.mark.parametrize("count", [2, 3, 40])
def test_copies_alone_are_one_group_and_two_unlike_clips_are_none(
    tmp_path: Path, count: int
) -> None:
    vector = np.random.default_rng(0).standard_normal(8).astype(np.float32)
    copies = write(tmp_path / "copies", {f"{n}.wav": vector for n in range(count)})
    pairs = find_duplicates(copies, 0.999)
    assert [(pair.similarity, pair.group) for pair in pairs] == [(pytest.approx(1), 1)] * (
        count - 1
    )
    assert len({name for pair in pairs for name in (pair.clip, pair.other)}) == count
    other = np.roll(vector, 1)
    assert find_duplicates(write(tmp_path / "two", {"a": vector, "b": other}), 0.9) == []


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_twenty_thousand_like_clips_are_joined_in_bounded_memory(spread: float) -> None:
    # All pairs would be 200 million: 51 GB as they were held before.
    count = 20_000
    rng = np.random.default_rng(0)
    vectors = np.ones((count, 4)) + spread * rng.standard_normal((count, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors = vectors[: count if not spread else 5000]  # links are sorted many times
    tracemalloc.start()
    links = join(vectors, 0.98)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(links.similarity), set(links.group)) == (len(vectors) - 1, {0})
    assert peak < 400e6


def test_the_command_lists_the_pairs_and_counts_the_groups(table: EmbeddingTable) -> None:
    answers: list[dict[str, Any]] = json.loads(
        succeed("duplicates", table.folder, "--least", 0.9, "--json")
    )
    pairs = find_duplicates(table, 0.9)
    assert [tuple(answer.values()) for answer in answers] == [
        (pair.similarity, pair.clip, pair.other, pair.group, None) for pair in pairs
    ]
    done = run("duplicates", table.folder, "--least", 0.9)
    groups = {pair.group for pair in pairs}
    clips = {name for pair in pairs for name in (pair.clip, pair.other)}
    assert f"{len(pairs)} pairs join {len(clips)} clips to {len(groups)} groups" in done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(pairs)
    done = run("duplicates", table.folder, "--least", 2)
    assert done.returncode == 2


def test_groups_have_the_most_likely_name_of_their_clips(tmp_path: Path) -> None:
    names = namer("dog", "rain", "wind")
    rows = {
        "a.wav": (0.9, 0.6, 0.01), "a.ogg": (0.89, 0.6, 0.01),
        "b.wav": (0.01, 0.02, 0.03), "b.ogg": (0.01, 0.02, 0.03),
        "c.wav": (0.02, 0.9, 0.3),
    }  # fmt: skip
    vectors = log_odds(*rows.values())
    table = write(tmp_path / "emb", dict(zip(rows, vectors, strict=True)))
    pairs = find_duplicates(table, 0.99)
    assert {(pair.clip, pair.other) for pair in pairs} == {("a.ogg", "a.wav"), ("b.ogg", "b.wav")}
    group = {pair.clip: pair.group for pair in pairs}
    assert name_groups(table, pairs, names) == {group["a.ogg"]: "dog", group["b.ogg"]: ""}
    assert name_groups(table, [], names) == {}
