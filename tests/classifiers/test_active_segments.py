"""The few-shot loop on parts of recordings."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from made import draw, write_table_of
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers.active import sheet
from embedkit.classifiers.active_segments import propose_segments
from embedkit.errors import DatasetError
from embedkit.labels.stretches import Marked, Rule
from embedkit.store import EmbeddingTable

ALL = Rule(marked=Marked.ALL)


def call_at(clip: str, second: int) -> bool:
    return second % 10 in (3, 4, 5)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Recordings of 40 s with a call of 3 s in every ten."""
    clips = {}
    for number in range(4):
        vectors = draw(40, 6, number)
        called = [call_at("", second) for second in range(40)]
        vectors[called, :2] += 3
        clips[f"{number}.wav"] = vectors
    return write_table_of(tmp_path_factory.mktemp("active") / "emb", clips, last_s=1)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answer(path: Path, say: Callable[[str, int], tuple[str, str]]) -> None:
    """Fill in the empty labels and signs on the sheet as a person would."""
    rows = read(sheet(path))
    for row in rows:
        if not row["label"]:
            row["label"], row["sign"] = say(row["path"], int(float(row["start_s"])))
    with sheet(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def truth(clip: str, second: int) -> tuple[str, str]:
    return "call", "" if call_at(clip, second) else "-"


def test_it_goes_on_to_the_segments_it_is_least_sure_of(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    first = propose_segments(table, path, 8, ALL)
    assert (first.labelled, first.labels) == (0, {})
    assert not path.exists()
    asked = read(sheet(path))
    assert len({(row["path"], row["start_s"]) for row in asked}) == 8
    answer(path, truth)
    second = propose_segments(table, path, 5, ALL)
    assert second.labelled == 8
    kept = read(path)
    assert [(row["path"], row["start_s"], row["end_s"]) for row in kept] == [
        (row["path"], row["start_s"], row["end_s"]) for row in asked
    ]
    # As scikit-learn finds them, of those of which nothing is said, and no two that touch.
    rows = table.rows()
    has = np.zeros(len(rows.clips))
    said = np.zeros(len(rows.clips), bool)
    recordings = {row["path"] for row in kept}
    for row in kept:
        here = (rows.clips == row["path"]) & (rows.start_s == float(row["start_s"]))
        said |= here
        has[here] = row["sign"] != "-"
    known = np.isin(rows.clips, list(recordings))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(rows.embeddings[known].astype(float), has[known])
    sure = 2 * np.abs(model.predict_proba(rows.embeddings.astype(float))[:, 1] - 0.5)
    expected: list[tuple[str, float]] = []
    for row in np.argsort(sure):
        clip, start = str(rows.clips[row]), float(rows.start_s[row])
        beside = any(clip == other and abs(start - at) <= 1 for other, at in expected)
        if not said[row] and not beside and len(expected) < 5:
            expected.append((clip, start))
    assert [name for name, _, _ in second.proposed] == [
        f"{clip}@{start:g}-{start + 1:g}" for clip, start in expected
    ]
    assert {guess for _, guess, _ in second.proposed} == {"call"}


def test_what_is_skipped_stays_away_and_what_is_unanswered_is_asked_again(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,start_s,end_s,label,by\n0.wav,0:03,0:06,call,me\n")
    first = propose_segments(table, path, 3)
    assert (first.labelled, first.labels) == (1, {"call": 1})
    assert propose_segments(table, path, 3).proposed == first.proposed
    answers = iter([("skip", ""), ("call", "-"), ("", "")])
    answer(path, lambda clip, second: next(answers))
    second = propose_segments(table, path, 3)
    names = [name for name, _, _ in first.proposed]
    assert names[0] not in {name for name, _, _ in second.proposed}
    assert read(sheet(path))[-1]["label"] == "skip"
    assert propose_segments(table, path, 3).proposed == second.proposed
    assert [(row["by"], row["sign"]) for row in read(path)] == [("me", ""), ("", "-")]
    # The file is one of labels with times like any other.
    given = ("--labels", path, "--out", tmp_path / "classifier")
    assert "1 labels" in succeed("classify", "fit", table.folder, *given)


def test_a_sheet_that_names_what_is_not_there_changes_nothing(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    for row, message in (
        ("7.wav,1,2,call", r"row 2: 7\.wav is no clip of the collection"),
        ("0.wav,1,soon,call", "row 2: expected seconds for start_s and end_s"),
    ):
        sheet(path).write_text(f"path,start_s,end_s,label\n{row}\n")
        with pytest.raises(DatasetError, match=message):
            propose_segments(table, path, 3)
        assert not path.exists()


def test_the_command_asks_for_segments(table: EmbeddingTable, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,start_s,end_s,label\n0.wav,3,6,call\n")
    refused = run("label", table.folder, "--answers", path)
    assert refused.returncode == 1
    assert "`embedkit label --segments` goes on with one that has times" in refused.stderr
    done = run("label", table.folder, "--answers", path, "--segments", "--count", 2)
    assert done.returncode == 0, done.stderr
    assert "1 stretches are labelled: call 1" in done.stderr
    assert done.stdout.splitlines()[0].split() == ["segment", "guess", "margin"]
    assert len(done.stdout.splitlines()) == 3
