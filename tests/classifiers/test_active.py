"""The few-shot loop, against brute force."""

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import succeed
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers import active
from embedkit.classifiers.active import propose, sheet, suggest
from embedkit.errors import DatasetError
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


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """60 clips of three overlapping clouds; the name says which."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.standard_normal((3, 8))
    clips = {
        f"{'xyz'[n % 3]}/{n:02d}.wav": (centres[n % 3] + rng.standard_normal(8)).astype(np.float32)
        for n in range(60)
    }
    return write(tmp_path_factory.mktemp("active") / "emb", clips)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answer(path: Path, say: Callable[[str], str]) -> None:
    """Fill in the empty labels on the sheet as a person would."""
    rows = read(sheet(path))
    for row in rows:
        row["label"] = row["label"] or say(row["path"])
    with sheet(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def truth(clip: str) -> str:
    return clip[0]


def test_the_loop_goes_on_to_the_clips_it_is_least_sure_of(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    first = propose(table, path, 12)
    assert (first.labelled, first.labels, first.accuracy) == (0, {}, None)
    assert len({clip for clip, _, _ in first.proposed}) == 12
    assert {clip[0] for clip, _, _ in first.proposed} == set("xyz")  # spread over the clouds
    answer(path, truth)
    second = propose(table, path, 5)
    assert second.labelled == 12
    assert sum(second.labels.values()) == 12

    names, vectors = table.clip_vectors()
    known = [names.index(clip) for clip, _, _ in first.proposed]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(vectors[known].astype(float), [truth(names[row]) for row in known])
    chance = model.predict_proba(vectors.astype(float))
    best = np.sort(chance, axis=1)
    margin = best[:, -1] - best[:, -2]
    margin[known] = np.inf
    order = np.argsort(margin)[:5]
    assert [clip for clip, _, _ in second.proposed] == [names[row] for row in order]
    for (_, guess, found), row in zip(second.proposed, order, strict=True):
        assert guess == model.classes_[chance[row].argmax()]
        assert found == pytest.approx(margin[row], abs=1e-4)

    answer(path, truth)
    third = propose(table, path, 5)
    assert third.labelled == 17
    assert third.accuracy is not None
    assert third.accuracy > 0.6
    exact = binomtest(round(17 * third.accuracy), 17).proportion_ci(method="wilson")
    assert third.accuracy_interval == pytest.approx((exact.low, exact.high))


def test_answers_and_other_columns_are_kept_and_a_skipped_clip_stays_away(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    names, _ = table.clip_vectors()
    path.write_text(f'path,label,fold\n{names[0]},"dog, big",3\n')
    first = propose(table, path, 3)
    assert names[0] not in {clip for clip, _, _ in first.proposed}
    assert propose(table, path, 3).proposed == first.proposed  # nothing was answered
    skipped, cat, later = (clip for clip, _, _ in first.proposed)
    answer(path, lambda clip: {skipped: "skip", cat: "cat", later: ""}[clip])
    after = propose(table, path, 99)
    assert (after.labelled, after.labels) == (2, {"cat": 1, "dog, big": 1})
    assert read(path) == [
        {"path": names[0], "label": "dog, big", "fold": "3"},
        {"path": cat, "label": "cat", "fold": ""},
    ]
    assert {clip for clip, _, _ in after.proposed} == set(names) - {names[0], skipped, cat}
    again = propose(table, path, 99)  # what was skipped is remembered
    assert skipped not in {clip for clip, _, _ in again.proposed}


def test_blank_answers_are_none_and_a_clip_stands_in_them_once(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    names, _ = table.clip_vectors()
    dog, cat, blank, skipped, cow = names[:5]
    path.write_text(
        f"path,label,fold\n{dog},dog,1\n{cat},cat,2\n{blank},,3\n{skipped},skip,4\n"
        f"{cow},ox,5\n{cow},cow,5\n{cow},,5\n"
    )
    # As a crash between the two files leaves it: answered there, and still on the sheet.
    sheet(path).write_text(f"path,label\n{dog},wolf\n{cat},cat\n")
    found = propose(table, path, 99)
    assert found.labels == {"cat": 1, "cow": 1, "wolf": 1}
    assert {clip for clip, _, _ in found.proposed} == set(names) - {dog, cat, skipped, cow}
    assert [(row["path"], row["label"], row["fold"]) for row in read(path)] == [
        (dog, "wolf", "1"), (cat, "cat", "2"), (blank, "", "3"), (skipped, "skip", "4"),
        (cow, "cow", "5"),
    ]  # fmt: skip


def test_a_rare_label_is_never_held_out_whole(table: EmbeddingTable) -> None:
    names, vectors = table.clip_vectors()
    for pair in combinations(names[:10], 2):  # wherever among the folds they come to stand
        known = dict.fromkeys(names[:10], "noise") | dict.fromkeys(pair, "call")
        found, _ = suggest(names, vectors, known, (), 3)
        assert found.accuracy is not None
    alone, _ = suggest(names, vectors, {**dict.fromkeys(names[:5], "a"), names[6]: "b"}, (), 3)
    assert alone.accuracy is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.csv", "a,b\n1,2\n", "has no column path"),
        ("labels-next.csv", "a,b\n1,2\n", "has no column path"),
        (
            "labels-next.csv",
            "path,label\nnothing.wav,dog\n",
            "row 2: nothing.wav is no clip of the collection",
        ),
    ],
)
def test_a_file_that_is_not_of_answers_is_left_alone(
    table: EmbeddingTable, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        propose(table, tmp_path / "labels.csv", 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_labels_of_other_clips_are_kept_and_said(
    table: EmbeddingTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "labels.csv"
    names, _ = table.clip_vectors()
    text = f"note;label;path\n;rain;old/{names[0]}\n;wind;{names[1]}\n"
    path.write_text(text)
    found = propose(table, path, 3)
    assert (found.labelled, path.read_text()) == (1, text)
    assert f"name no clip of the collection: 1, as old/{names[0]}" in caplog.text
    answer(path, lambda _: "sea")
    assert propose(table, path, 3).labels == {"sea": 3, "wind": 1}
    assert path.read_text() == text + "".join(f";sea;{clip}\n" for clip, _, _ in found.proposed)


def test_a_sheet_that_is_filled_in_meanwhile_is_left_as_it_is(
    table: EmbeddingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    first = propose(table, path, 5)
    answer(path, lambda clip: {first.proposed[0][0]: "dog"}.get(clip, ""))
    real = active.suggest

    def slow(*arguments: Any) -> Any:
        answer(path, lambda _: "cat")  # saved while the classifier is fitted
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(active, "suggest", slow)
        with pytest.raises(DatasetError, match="was changed in the meantime, and is left as it is"):
            propose(table, path, 5)
    assert propose(table, path, 5).labels == {"cat": 4, "dog": 1}


def test_the_answers_are_labels_to_fit_on(table: EmbeddingTable, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    succeed("label", table.folder, "--answers", path, "--count", 12)
    answer(path, truth)
    found = json.loads(succeed("label", table.folder, "--answers", path, "--json"))
    assert found["labelled"] == 12
    succeed("classify", "fit", table.folder, "--labels", path, "--out", tmp_path / "classifier")
    text = succeed("classify", "predict", table.folder, "--classifier", tmp_path / "classifier")
    assert len(text.splitlines()) == 61
