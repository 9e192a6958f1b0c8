import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from command import run, succeed
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from embedkit import metrics
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers import splits
from embedkit.classifiers import tracks as predictions_module
from embedkit.classifiers.classifier import ARRAYS, SETTINGS, Classifier, find_method
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.plda import Plda
from embedkit.classifiers.tracks import (
    Span,
    TrackFormat,
    above,
    best,
    merge,
    write_table,
    write_tracks,
)
from embedkit.errors import DatasetError, EmbeddingFolderError, EmbedkitError, UsageError
from embedkit.labels import join as labels_module
from embedkit.labels.join import Labelled, Unit, join_labels
from embedkit.pages.projection import project
from embedkit.search.segments import SearchIndex
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance
from embedkit.store import writer as writer_module

FINGERPRINT = "f" * 64
Vectors = NDArray[np.float32]


def write_table_of(
    folder: Path,
    clips: Mapping[str, Vectors],
    *,
    root: Path = Path("/audio"),
    last_s: float = 0.5,
    size: int = 4,
) -> EmbeddingTable:
    """Clips whose segments [n, D] last 1 s, the last one of each `last_s`; of none D is `size`."""
    size = next(iter(clips.values())).shape[1] if clips else size
    provenance = Provenance(
        audio_root=str(root), model="model", fingerprint=FINGERPRINT, embedding_size=size,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="torch",
    )  # fmt: skip
    with EmbeddingWriter(folder, provenance) as writer:
        for clip, vectors in clips.items():
            index = np.arange(len(vectors), dtype=np.int32)
            end = index + 1.0
            end[-1] += last_s - 1
            writer.add_rows(clip, index, index.astype(float), end, vectors)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": end[-1], "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=len(vectors), **facts))
    return EmbeddingTable.open(folder)


def draw(rows: int, size: int = 4, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((rows, size)).astype(np.float32)


def labelled(classes: int, each: int = 12, *, folds: int = 3, size: int = 6) -> Labelled:
    """Overlapping clouds of clips, one a class, in folds by turns and groups of two."""
    count = classes * each
    truth = np.arange(count) % classes
    centres = np.random.default_rng(1).standard_normal((classes, size))
    vectors = (draw(count, size) + centres[truth]) * [1, 10, 0.1, 1, 1, 1] + 3
    return Labelled(
        clips=[f"{n}.wav" for n in range(count)],
        vectors=vectors.astype(np.float32),
        targets=np.eye(classes, dtype=np.float32)[truth],
        labels=tuple("abcdefgh"[:classes]),
        several_labels=False,
        folds=[str(n // classes // 2 % folds) for n in range(count)],
        splits=None,
        groups=[str(n // classes // 2) for n in range(count)],
    )


def pipeline(c: float = 0.1) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


def fit(data: Labelled, rows: Any = slice(None), **settings: Any) -> Classifier:
    several = settings.pop("several_labels", False)
    data = replace(data, targets=settings.pop("targets", data.targets), several_labels=several)
    method = find_method(settings.pop("method", "logistic"), **{"c": 0.1, **settings})
    return Classifier.fit(data, np.arange(len(data.clips))[rows], method, fingerprint=FINGERPRINT)


# Logistic regression


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("c", [0.1, 3.0])
def test_scores_are_scikit_learns_probabilities(classes: int, c: float) -> None:
    data, new = labelled(classes), draw(20, 6, seed=5) * 4
    expected = pipeline(c).fit(data.vectors.astype(float), data.classes)
    scores = fit(data, c=c).scores(new)
    np.testing.assert_allclose(scores, expected.predict_proba(new.astype(float)), atol=1e-6)
    assert scores.std(axis=0).min() > 0.05  # they do tell the clips apart


def test_scores_of_several_labels_are_one_yes_or_no_each() -> None:
    data = labelled(3)
    several = (np.random.default_rng(3).random(data.targets.shape) < 0.4).astype(np.float32)
    several = np.maximum(several, data.targets)
    expected = make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=1000))
    ).fit(data.vectors.astype(float), several)
    scores = fit(data, targets=several, several_labels=True).scores(data.vectors)
    np.testing.assert_allclose(
        scores, expected.predict_proba(data.vectors.astype(float)), atol=1e-6
    )


def test_a_feature_that_never_varies_is_no_trouble() -> None:
    data = labelled(3)
    data.vectors[:, 2] = 7
    expected = pipeline().fit(data.vectors.astype(float), data.classes)
    np.testing.assert_allclose(
        fit(data).scores(data.vectors), expected.predict_proba(data.vectors), atol=1e-6
    )


@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_training_clips_stays_out_of_reach(present: list[int]) -> None:
    data = labelled(4)
    rows = np.flatnonzero(np.isin(data.classes, present))
    scores = fit(data, rows).scores(data.vectors)
    absent = sorted({0, 1, 2, 3} - set(present))
    assert scores[:, absent].max() < 1e-9
    expected = pipeline().fit(data.vectors[rows].astype(float), data.classes[rows])
    np.testing.assert_allclose(
        scores[:, present], expected.predict_proba(data.vectors.astype(float)), atol=1e-6
    )


def test_of_several_labels_one_that_all_or_no_clips_have_is_certain() -> None:
    data = labelled(3)
    several = data.targets.copy()
    several[:, 0], several[:, 1] = 0, 1
    scores = fit(data, targets=several, several_labels=True).scores(data.vectors)
    assert scores[:, 0].max() < 1e-9
    assert scores[:, 1].min() > 1 - 1e-9


def test_one_class_alone_is_refused() -> None:
    data = labelled(3)
    with pytest.raises(DatasetError, match="needs at least 2 labels"):
        fit(data, data.classes == 1)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """The folder of a saved classifier."""
    fit(labelled(3)).save(tmp_path / "classifier")
    return tmp_path / "classifier"


@pytest.mark.parametrize("several", [False, True])
def test_a_classifier_saved_and_loaded_gives_the_same_scores(tmp_path: Path, several: bool) -> None:
    data = labelled(4)
    fitted = fit(data, several_labels=several)
    for _ in range(2):  # the second time it replaces one
        fitted.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.scores(data.vectors), fitted.scores(data.vectors))
    assert (loaded.labels, loaded.several_labels) == (fitted.labels, several)
    assert loaded.fingerprint == FINGERPRINT


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (SETTINGS, None, f"not a classifier: it has no {SETTINGS}"),
        (ARRAYS, None, f"not a classifier: it has no {ARRAYS}"),
        (SETTINGS, b"{", "not a readable classifier"),
        (SETTINGS, b"[]", "not a readable classifier"),
        (SETTINGS, b"{}", "not a readable classifier: 'method'"),
        (SETTINGS, b'{"method": "x"}', "a classifier of a method that is not known"),
        (SETTINGS, b'{"method": "logistic"}', "not a readable classifier: 'model'"),
        (ARRAYS, b"garbage" * 9, "not a readable classifier"),
        (ARRAYS, b"", "not a readable classifier"),
    ],
)
def test_a_damaged_classifier_is_refused(
    classifier: Path, name: str, content: bytes | None, message: str
) -> None:
    (classifier / name).unlink()
    if content is not None:
        (classifier / name).write_bytes(content)
    with pytest.raises(EmbedkitError, match=message):
        Classifier.load(classifier)


@pytest.mark.parametrize("name", ["mean", "scale", "bias", "weights"])
def test_arrays_of_another_shape_are_refused(classifier: Path, name: str) -> None:
    arrays = load_file(classifier / ARRAYS)
    arrays[name] = arrays[name][:-1].copy()
    save_file(arrays, classifier / ARRAYS)
    with pytest.raises(EmbedkitError, match=r"do not fit its labels|not a readable classifier"):
        Classifier.load(classifier)


def test_labels_that_are_not_as_many_as_the_scores_are_refused(classifier: Path) -> None:
    settings = json.loads((classifier / SETTINGS).read_text())
    (classifier / SETTINGS).write_text(json.dumps({**settings, "labels": ["a"]}))
    with pytest.raises(EmbedkitError, match="do not fit its labels"):
        Classifier.load(classifier)


def test_predict_scores_the_clip_vectors_of_its_own_extractor_alone(tmp_path: Path) -> None:
    clips = {"b.wav": draw(3, 6, 1), "a.wav": draw(2, 6, 2)}
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3))
    [found] = classify.predict(table, fitted)
    order = np.argsort(found.clips)
    names, scores = [found.clips[index] for index in order], found.scores[order]
    assert names == ["a.wav", "b.wav"]
    weights = {2: [1, 0.5], 3: [1, 1, 0.5]}
    by_hand = [np.average(clips[n], axis=0, weights=weights[len(clips[n])]) for n in names]
    np.testing.assert_allclose(scores, fitted.scores(np.array(by_hand)), atol=1e-5)
    other = Classifier(**{**vars(fitted), "fingerprint": "0" * 64})
    with pytest.raises(EmbedkitError, match=r"extractor f{12}, the classifier .* 00000000"):
        list(classify.predict(table, other))


# Labels


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """Clips a/1.wav, a/2.wav, b/1.wav, loose.wav of the folder audio."""
    clips = {name: draw(1) for name in ("a/1.wav", "a/2.wav", "b/1.wav", "loose.wav")}
    return write_table_of(tmp_path / "emb", clips, root=tmp_path / "audio")


def write_labels(path: Path, lines: Iterable[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("place", "prefix"),
    [("labels.csv", "audio/"), ("audio/labels.csv", ""), ("else/labels.csv", "../audio/"),
     ("else/labels.csv", ""), ("else/labels.csv", "./")],
    ids=["beside", "inside", "elsewhere", "moved", "moved-with-dot"],
)  # fmt: skip
def test_labels_join_by_place_or_by_the_same_relative_path(
    tmp_path: Path, table: EmbeddingTable, place: str, prefix: str
) -> None:
    rows = [f"{prefix}{name},{label},{fold},{group}" for name, label, fold, group in (
        ("loose.wav", "y", "1", ""), ("a/1.wav", "x", "2", "g"), ("b/1.wav", "y", "2", "g"),
        ("a/2.wav", "z", "1", ""), ("not/extracted.wav", "w", "3", ""),
    )]  # fmt: skip
    data = join_labels(table, write_labels(tmp_path / place, ["path,label,fold,group", *rows]))
    assert data.clips == ["a/1.wav", "a/2.wav", "b/1.wav", "loose.wav"]
    assert [data.labels[index] for index in data.classes] == ["x", "z", "y", "y"]
    assert (data.labels, data.several_labels) == (("x", "y", "z"), False)
    assert data.folds == ["2", "1", "2", "1"]
    assert data.groups[0] == data.groups[2] == "g"
    assert len(set(data.groups)) == 3
    np.testing.assert_array_equal(data.vectors, table.clip_vectors()[1])


def test_the_place_of_a_clip_counts_more_than_its_text(
    tmp_path: Path, table: EmbeddingTable
) -> None:
    lines = ["path,label", "a/1.wav,wrong", "audio/a/1.wav,right"]
    assert join_labels(table, write_labels(tmp_path / "m.csv", lines)).labels == ("right",)


def test_a_manifest_named_relative_to_the_working_folder_joins(
    tmp_path: Path, table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / "m.csv", ["path,label", "audio/b/1.wav,x"])
    monkeypatch.chdir(tmp_path)
    assert join_labels(table, "m.csv").clips == ["b/1.wav"]


def test_folders_give_the_first_folder_as_label(table: EmbeddingTable) -> None:
    data = join_labels(table, "folders")
    assert data.clips == ["a/1.wav", "a/2.wav", "b/1.wav"]
    np.testing.assert_array_equal(data.targets, [[1, 0], [1, 0], [0, 1]])
    assert (data.labels, data.folds) == (("a", "b"), None)
    assert len(set(data.groups)) == 3


def test_several_labels_join_as_a_matrix(tmp_path: Path, table: EmbeddingTable) -> None:
    data = join_labels(
        table, write_labels(tmp_path / "m.csv", ["path,labels", "audio/a/1.wav,q;p", "a/2.wav,q"])
    )
    assert (data.labels, data.several_labels) == (("p", "q"), True)
    np.testing.assert_array_equal(data.targets, [[1, 1], [0, 1]])


def test_clips_without_a_label_are_left_out_and_counted(
    tmp_path: Path, table: EmbeddingTable, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_labels(tmp_path / "m.csv", ["path,label", "audio/a/1.wav,x", "audio/b/1.wav,y"])
    assert join_labels(table, path).clips == ["a/1.wav", "b/1.wav"]
    assert "2 of 4 clips have no label: left out" in caplog.text


def test_labels_join_through_a_linked_folder(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "audio").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    write_labels(real / "m.csv", ["path,label", "audio/1.wav,x"])
    # The folder was extracted as link/audio, and stands in the manifest as it really is.
    table = write_table_of(tmp_path / "emb", {"1.wav": draw(1)}, root=(tmp_path / "link/audio"))
    assert join_labels(table, str(real / "m.csv")).clips == ["1.wav"]
    assert join_labels(table, str(tmp_path / "link" / "m.csv")).clips == ["1.wav"]


def test_labels_that_join_nothing_show_paths_of_both_sides(
    tmp_path: Path, table: EmbeddingTable
) -> None:
    path = write_labels(tmp_path / "m.csv", ["path,label", "wavs/a-1.wav,x", "wavs/b-1.wav,y"])
    with pytest.raises(DatasetError) as caught:
        join_labels(table, path)
    for part in ("no label joins a clip", path, "wavs/a-1.wav, wavs/b-1.wav", "a/1.wav, a/2.wav"):
        assert part in str(caught.value)


def test_clips_without_folders_cannot_be_labelled_by_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no clip stands in a folder .*: x\.wav"):
        join_labels(write_table_of(tmp_path, {"x.wav": draw(1)}), "folders")


# Splits


def test_holding_out_a_fold_leaves_the_others_to_fit_on() -> None:
    data = labelled(2, each=6)
    fit_on, held = splits.hold_out_fold(data, "1")
    assert held.tolist() == [4, 5, 6, 7]
    assert fit_on.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_group_in_two_folds_is_refused() -> None:
    data = labelled(2, each=6)
    data = Labelled(**{**vars(data), "groups": ["g"] * len(data.clips)})
    with pytest.raises(DatasetError, match="group 'g' is in fold '1' and in others"):
        splits.hold_out_fold(data, "1")


def test_the_split_column_says_what_is_fitted_on_and_what_is_scored() -> None:
    data = labelled(2, each=3)
    parts = ["train", "test", "val", "train", "", "eval"]
    data = replace(data, splits=parts, groups=[str(n) for n in range(6)])
    fit_on, held = splits.training_split(data)
    assert (fit_on.tolist(), held.tolist()) == ([0, 3], [1, 4, 5])


def test_published_folds_are_held_out_in_turn() -> None:
    data = labelled(2, each=6)
    turns = list(splits.published_folds(data))
    expected = [splits.hold_out_fold(data, fold) for fold in "012"]
    for found, wanted in zip(turns, expected, strict=True):
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def assert_groups_apart(data: Labelled, fit_on: Any, held: Any) -> None:
    assert not {data.groups[n] for n in fit_on} & {data.groups[n] for n in held}
    assert sorted([*fit_on, *held]) == list(range(len(data.clips)))


@pytest.mark.parametrize("k", [2, 5, 6])
def test_random_folds_hold_each_clip_out_once_and_keep_groups_whole(k: int) -> None:
    data = labelled(3)
    turns = list(splits.random_folds(data, k, seed=0))
    assert len(turns) == k
    assert sorted(np.concatenate([held for _, held in turns])) == list(range(36))
    for turn in turns:
        assert_groups_apart(data, *turn)


@pytest.mark.parametrize(("share", "groups"), [(0.25, 2), (0.5, 3), (0.1, 1), (0.8, 5)])
def test_a_random_split_holds_out_a_share_of_the_groups(share: float, groups: int) -> None:
    data = labelled(3)  # 6 groups
    fit_on, held = splits.random_split(data, share, seed=0)
    assert_groups_apart(data, fit_on, held)
    assert len({data.groups[n] for n in held}) == groups


@pytest.mark.parametrize(
    "draw_with",
    [
        lambda data, seed: next(splits.random_folds(data, 3, seed))[1].tolist(),
        lambda data, seed: splits.random_split(data, 0.5, seed)[1].tolist(),
    ],
    ids=["folds", "split"],
)
def test_the_seed_decides_what_is_held_out(draw_with: Callable[..., list[int]]) -> None:
    data = labelled(3)
    assert draw_with(data, 1) == draw_with(data, 1)
    assert len({tuple(draw_with(data, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: splits.hold_out_fold(d, "7"), "cannot hold out fold '7'; there are: 0, 1, 2"),
        (lambda d: list(splits.random_folds(d, 1, 0)), "1 folds: from 2 to .* groups, 6"),
        (lambda d: list(splits.random_folds(d, 7, 0)), "7 folds: from 2 to .* groups, 6"),
        (lambda d: splits.random_split(d, 0.01, 0), "0.01 of 6 groups leaves one side empty"),
        (lambda d: splits.random_split(d, 0.99, 0), "0.99 of 6 groups leaves one side empty"),
        (lambda d: splits.hold_out_fold(Labelled(**{**vars(d), "folds": None}), "1"), "no fold"),
        (
            lambda d: splits.hold_out_fold(Labelled(**{**vars(d), "folds": ["1"] * 36}), "1"),
            "cannot hold out fold '1'; there are: 1",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused(ask: Callable[[Labelled], Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ask(labelled(3))


# Evaluation


def test_evaluate_is_the_loop_over_the_splits() -> None:
    data = labelled(3)
    done = classify.evaluate(data, splits.published_folds(data), Logistic(c=0.5))
    scores, clips = [], []
    for fold in "012":
        held = np.array(data.folds) == fold
        model = pipeline(0.5).fit(data.vectors[~held].astype(float), data.classes[~held])
        scores.append(model.predict_proba(data.vectors[held].astype(float)))
        clips += [clip for clip, mine in zip(data.clips, held, strict=True) if mine]
    by_hand = np.concatenate(scores)
    truth = np.array([int(clip.removesuffix(".wav")) % 3 for clip in clips])
    assert done.clips == clips
    np.testing.assert_allclose(done.scores, by_hand, atol=1e-6)
    np.testing.assert_array_equal(done.targets, np.eye(3)[truth])

    right = by_hand.argmax(axis=1) == truth
    assert 0.4 < right.mean() < 1  # neither chance nor perfect: the figures can be wrong
    counts = np.zeros((3, 3), int)
    for mine, other in zip(truth, by_hand.argmax(axis=1), strict=True):
        counts[mine, other] += 1
    np.testing.assert_array_equal(done.confusion(), counts)
    np.testing.assert_array_equal(done.correct, right)
    assert done.figures() == {
        "clips": 36,
        "correct": right.sum(),
        "accuracy": pytest.approx(right.mean()),
        "accuracy_interval": metrics.share_interval(right.astype(float)),
        "weighted_auc": pytest.approx(metrics.weighted_auc(done.targets, by_hand)),
        "macro_auc": pytest.approx(metrics.macro_auc(done.targets, by_hand)),
        "map": pytest.approx(metrics.mean_average_precision(done.targets, by_hand)),
    }
    per_class = done.per_class()
    assert list(per_class) == ["a", "b", "c"]
    for index, row in enumerate(per_class.values()):
        assert row == {
            "clips": 12,
            "auc": pytest.approx(roc_auc_score(truth == index, by_hand[:, index])),
            "ap": pytest.approx(average_precision_score(truth == index, by_hand[:, index])),
            "recall": counts[index, index] / 12,
        }


def test_figures_of_several_labels_leave_out_accuracy_and_recall() -> None:
    data = labelled(3)
    data = Labelled(**{**vars(data), "several_labels": True})
    done = classify.evaluate(data, splits.published_folds(data), Logistic(c=0.1))
    assert list(done.figures()) == ["clips", "weighted_auc", "macro_auc", "map"]
    assert {tuple(row) for row in done.per_class().values()} == {("clips", "auc", "ap")}


def test_a_class_that_was_not_held_out_has_undefined_figures() -> None:
    data = labelled(3)
    held = np.flatnonzero((np.array(data.folds) == "0") & (data.classes != 1))
    done = classify.evaluate(data, [(np.setdiff1d(np.arange(36), held), held)], Logistic(c=0.1))
    row = done.per_class()["b"]
    assert row["clips"] == 0
    assert all(np.isnan(row[name]) for name in ("auc", "ap", "recall"))
    assert done.confusion()[1].sum() == 0
    with pytest.warns(UserWarning, match="1 of 3 classes"):
        assert np.isfinite(done.figures()["macro_auc"])


@pytest.mark.parametrize(("options", "lda"), [([], True), (["--lda"], True), (["--no-lda"], False)])
def test_the_commands_fit_plda_with_or_without_lda(
    tmp_path: Path, options: list[str], lda: bool
) -> None:
    data = labelled(4)
    clips = {
        f"{data.labels[label]}/{number}.wav": data.vectors[[number]]
        for number, label in enumerate(data.classes)
    }
    table = write_table_of(tmp_path / "emb", clips)
    command = (table.folder, "--labels", "folders", "--method", "plda", *options)
    succeed("classify", "fit", *command, "--out", tmp_path / "classifier")
    data, method = join_labels(table, "folders"), Plda(lda=lda)
    expected = Classifier.fit(data, np.arange(48), method, fingerprint=FINGERPRINT)
    scores = Classifier.load(tmp_path / "classifier").scores(data.vectors)
    np.testing.assert_array_equal(scores, expected.scores(data.vectors))
    other = Classifier.fit(data, np.arange(48), Plda(lda=not lda), fingerprint=FINGERPRINT)
    assert np.abs(scores - other.scores(data.vectors)).max() > 0.01
    figures = json.loads(succeed("classify", "evaluate", *command, "--k-folds", 3, "--json"))
    done = classify.evaluate(data, splits.random_folds(data, 3, seed=0), method)
    assert figures["macro_auc"] == done.figures()["macro_auc"]


# Search


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingTable, SearchIndex]:
    """30 clips of 1 to 4 segments whose vectors have all lengths."""
    rng = np.random.default_rng(0)
    clips = {
        f"{number:02d}.wav": draw(number % 4 + 1, 8, number)
        * np.float32(10.0 ** rng.uniform(-3, 3))
        for number in range(30)
    }
    table = write_table_of(tmp_path_factory.mktemp("search") / "emb", clips)
    return table, SearchIndex(table)


@pytest.mark.parametrize("without", ["", "07.wav"])
@pytest.mark.parametrize("top", [1, 5, 30, 1000])
def test_search_finds_the_best_segment_of_each_clip_by_cosine(
    collection: tuple[EmbeddingTable, SearchIndex], top: int, without: str
) -> None:
    table, index = collection
    rows = table.rows()
    query = draw(1, 8, seed=99)[0] * 17
    cosine = (rows.embeddings @ query) / np.linalg.norm(query)
    cosine = cosine / np.linalg.norm(rows.embeddings, axis=1)
    best: dict[str, int] = {}
    for row in np.argsort(-cosine):
        if rows.clips[row] != without:
            best.setdefault(rows.clips[row], row)
    expected = list(best.items())[:top]
    [hits] = index.search(query[None], top, without=[{without}])
    assert [hit.clip for hit in hits] == [clip for clip, _ in expected]
    for hit, (_, row) in zip(hits, expected, strict=True):
        assert (hit.start_s, hit.end_s) == (rows.start_s[row], rows.end_s[row])
        assert hit.similarity == pytest.approx(cosine[row], abs=1e-5)


def test_a_clip_is_its_own_nearest_unless_left_out(
    collection: tuple[EmbeddingTable, SearchIndex],
) -> None:
    table, index = collection
    vector = table.clip_vector("04.wav")  # of one segment
    [[hit]] = index.search(vector[None], 1)
    assert hit.clip == "04.wav"
    assert hit.similarity == pytest.approx(1)
    [others] = index.search(vector[None], 99, without=[{"04.wav"}])
    assert len(others) == 29
    assert "04.wav" not in {hit.clip for hit in others}


def test_a_clips_vector_is_the_same_alone_and_among_all(
    collection: tuple[EmbeddingTable, SearchIndex],
) -> None:
    table, _ = collection
    for clip, vector in zip(*table.clip_vectors(), strict=True):
        np.testing.assert_allclose(table.clip_vector(clip), vector, rtol=1e-5)
    assert table.has_clip("29.wav")
    assert not table.has_clip("30.wav")


def test_search_looks_past_a_clip_that_holds_all_the_best_segments(tmp_path: Path) -> None:
    noise = draw(200, 4, 1) * 0.01
    clips = {"loud.wav": np.float32([1, 0, 0, 0]) + noise}
    clips |= {f"{n}.wav": np.float32([[1, 0.2 + n / 10, 0, 0]]) for n in range(3)}
    index = SearchIndex(write_table_of(tmp_path / "emb", clips))
    [hits] = index.search(np.float32([[1, 0, 0, 0]]), 3)
    assert [hit.clip for hit in hits] == ["loud.wav", "0.wav", "1.wav"]


def test_a_collection_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingFolderError, match="no vectors to search"):
        SearchIndex(write_table_of(tmp_path / "emb", {}))


# Predictions and projection


@pytest.mark.parametrize("unit", list(Unit))
def test_predictions_read_back_equal_from_csv_and_parquet(tmp_path: Path, unit: Unit) -> None:
    clips = ["a.wav", 'say "hi", 2.wav', "two\nlines.wav", "Ünï 鸟.wav", "NA", "007"]
    labels = ("dog, big", 'the "cat"', "x")
    scores = np.random.default_rng(0).dirichlet(np.ones(3), len(clips))
    scores[0] = [1e-300, 1 - 2**-53, 0.1]
    start = np.arange(6) / 3 if unit is Unit.SEGMENT else None
    end = None if start is None else start + 0.5
    batches = [
        classify.Predictions(
            clips=clips[part],
            start_s=None if start is None else start[part],
            end_s=None if end is None else end[part],
            scores=scores[part],
        )
        for part in (slice(0, 4), slice(4, 6))
    ]
    for name in ("p.csv", "p.parquet"):
        assert list(write_table(tmp_path / name, labels, batches, unit)) == batches
    text = {"clip": str, "label": str}
    frames = [
        pd.read_csv(tmp_path / "p.csv", dtype=text, keep_default_na=False),
        pd.read_parquet(tmp_path / "p.parquet"),
    ]
    spans = [] if start is None else ["start_s", "end_s"]
    for frame in frames:
        names = [f"score:{label}" for label in labels]
        assert list(frame) == ["clip", *spans, "label", "score", *names]
        assert frame["clip"].tolist() == clips
        assert frame["label"].tolist() == [labels[row.argmax()] for row in scores]
        # To the last digit but one: so pandas reads numbers from text.
        np.testing.assert_allclose(frame["score"], scores.max(axis=1), rtol=1e-15)
        np.testing.assert_allclose(frame[names].to_numpy(), scores, rtol=1e-15)
        if start is not None:
            np.testing.assert_allclose(frame["start_s"], start, rtol=1e-15)
    with pytest.raises(UsageError, match=r"name a file that ends in \.csv or \.parquet"):
        list(write_table(tmp_path / "p.txt", labels, batches, unit))


@pytest.mark.parametrize("unit", list(Unit))
def test_a_folder_without_rows_is_a_table_without_rows(tmp_path: Path, unit: Unit) -> None:
    fitted = fit(labelled(3))
    fitted.save(tmp_path / "classifier")
    for name, clips in (("some", {"a.wav": draw(2, 6)}), ("none", {})):
        write_table_of(tmp_path / name, clips, size=6)
        for suffix in ("csv", "parquet"):
            succeed(
                *("classify", "predict", tmp_path / name, "--classifier", tmp_path / "classifier"),
                *("--out", tmp_path / f"{name}.{suffix}"),
                *(["--segments"] if unit is Unit.SEGMENT else []),
            )
    none = pyarrow.parquet.read_table(tmp_path / "none.parquet")
    assert len(none) == 0
    assert none.schema == pyarrow.parquet.read_schema(tmp_path / "some.parquet")
    lines = (tmp_path / "none.csv").read_text().splitlines()
    assert lines == (tmp_path / "some.csv").read_text().splitlines()[:1]
    assert lines == [",".join(f'"{name}"' for name in none.schema.names)]


def test_neighbours_of_one_label_become_one_span() -> None:
    def span(clip: str, start: float, end: float, label: str, score: float) -> Span:
        return Span(clip, start, end, label, score)

    found = merge(
        [
            span("b", 0, 1, "x", 0.5),
            span("a", 1, 2, "x", 0.8),
            span("a", 0, 1, "x", 0.6),
            span("a", 1.5, 2.5, "x", 0.7),  # windows may overlap
            span("a", 3, 4, "x", 0.9),  # a gap
            span("a", 4, 5, "y", 0.9),
        ]
    )
    assert found == [
        ("a", 0, 2.5, "x", pytest.approx(0.7)),
        ("a", 3, 4, "x", 0.9),
        ("a", 4, 5, "y", 0.9),
        ("b", 0, 1, "x", 0.5),
    ]


def test_labels_at_once_are_spans_side_by_side() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.5], [0.1, 0.3, 0.9]])
    rows = classify.Predictions(
        clips=["a"] * 3, scores=scores, start_s=np.arange(3.0), end_s=np.arange(3.0) + 1
    )
    found = merge(above(rows, ("dog", "rain", "wind"), 0.5))
    assert found == [
        ("a", 0, 1, "rain", 0.8),
        ("a", 0, 2, "dog", pytest.approx(0.8)),
        ("a", 1, 3, "wind", pytest.approx(0.7)),
    ]


def test_labels_at_once_stand_in_both_tracks_and_in_what_is_printed(tmp_path: Path) -> None:
    # A label for each number: logistic regression on these is sure of its sign.
    targets = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 5, np.float32)
    vectors = 8 * targets - 4
    data = replace(labelled(2, 10), vectors=vectors, labels=("dog", "rain"))
    fitted = fit(data, targets=targets, several_labels=True)
    fitted.save(tmp_path / "classifier")
    write_table_of(tmp_path / "emb", {"a.wav": vectors[[0, 1, 3]], "b.wav": vectors[[3]]}, last_s=1)
    predict = ("classify", "predict", tmp_path / "emb", "--classifier", tmp_path / "classifier")
    succeed(*predict, "--audacity", tmp_path / "audacity", "--raven", tmp_path / "raven")
    assert [path.name for path in (tmp_path / "audacity").iterdir()] == ["a.wav.txt"]
    text = (tmp_path / "audacity" / "a.wav.txt").read_text()
    assert text == "0.000000\t1.000000\train\n0.000000\t2.000000\tdog\n"
    frame = pd.read_csv(tmp_path / "raven" / "a.wav.txt", sep="\t")
    assert frame["Label"].tolist() == ["rain", "dog"]
    assert frame["End Time (s)"].tolist() == [1, 2]
    scores = fitted.scores(vectors[:2])
    np.testing.assert_allclose(frame["Score"], [scores[0, 1], scores[:, 0].mean()], atol=1e-4)
    lines = [line.split() for line in succeed(*predict, "--segments").splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["a.wav", "0.00", "1.00", "dog"],
        ["a.wav", "0.00", "1.00", "rain"],
        ["a.wav", "1.00", "2.00", "dog"],
    ]


@pytest.mark.parametrize("several", [False, True])
def test_tracks_written_as_they_come_are_those_of_all_spans_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    monkeypatch.setattr(writer_module, "ROW_GROUP_BYTES", 5 * (4 * 6 + 24))  # 5 rows
    clips = {f"{n}.wav": draw(n % 9 + 1, 6, n) for n in range(40)}  # some in three groups
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3), several_labels=several)
    fitted.save(tmp_path / "classifier")
    spans = [
        span
        for batch in classify.predict(table, fitted, Unit.SEGMENT)
        for span in (above(batch, fitted.labels, 0.4) if several else best(batch, fitted.labels))
        if span.score >= 0.4
    ]
    held = []

    def spy(folder: Path, form: TrackFormat, spans: list[Span], sample_rate: int) -> int:
        held.append(len(spans))
        return write_tracks(folder, form, spans, sample_rate)

    monkeypatch.setattr(predictions_module, "write_tracks", spy)
    done = run(
        *("classify", "predict", tmp_path / "emb", "--classifier", tmp_path / "classifier"),
        *("--audacity", tmp_path / "audacity", "--raven", tmp_path / "raven", "--least", "0.4"),
    )
    for form in TrackFormat:
        count = write_tracks(tmp_path / "whole" / form, form, spans, 16000)
        assert f"{form}: tracks of {count} clips" in done.stderr
        found, expected = (
            {path.name: path.read_text() for path in folder.iterdir()}
            for folder in (tmp_path / form, tmp_path / "whole" / form)
        )
        assert found == expected
    assert sum(held) == 2 * len(spans)
    assert max(held) <= 3 * 15  # of a few clips, and of none twice


def test_tracks_are_what_audacity_and_raven_read(tmp_path: Path) -> None:
    spans = [Span("d/a.wav", 0, 1, "dog\tbark", 0.75), Span("d/a.wav", 2, 3.5, "cat", 0.5)]
    assert write_tracks(tmp_path / "audacity", TrackFormat.AUDACITY, spans, 16000) == 1
    text = (tmp_path / "audacity" / "d" / "a.wav.txt").read_text()
    assert text == "0.000000\t1.000000\tdog bark\n2.000000\t3.500000\tcat\n"
    write_tracks(tmp_path / "raven", TrackFormat.RAVEN, spans, 16000)
    frame = pd.read_csv(tmp_path / "raven" / "d" / "a.wav.txt", sep="\t")
    assert frame["Selection"].tolist() == [1, 2]
    assert frame["Begin Time (s)"].tolist() == [0, 2]
    assert frame["End Time (s)"].tolist() == [1, 3.5]
    assert frame["High Freq (Hz)"].tolist() == [8000, 8000]
    assert frame["Label"].tolist() == ["dog bark", "cat"]
    assert frame["Score"].tolist() == [0.75, 0.5]


def test_a_clip_whose_name_leads_out_of_the_folder_has_no_track(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingFolderError, match="leads out of"):
        write_tracks(tmp_path / "t", TrackFormat.AUDACITY, [Span("../x", 0, 1, "a", 1.0)], 16000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", list(Unit))
def test_predict_names_the_best_label_of_every_clip_or_segment(tmp_path: Path, unit: Unit) -> None:
    clips = {f"{number}.wav": draw(number % 3 + 1, 6, number) for number in range(7)}
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3))
    spans = [span for part in classify.predict(table, fitted, unit) for span in best(part, "abc")]
    if unit is Unit.CLIP:
        names, vectors = table.clip_vectors()
        keys = [(name, 0.0, 0.0) for name in names]
    else:
        rows = table.rows()
        vectors = rows.embeddings
        keys = list(zip(rows.clips, rows.start_s, rows.end_s, strict=True))
    scores = fitted.scores(vectors)
    expected = [
        (*key, "abc"[row.argmax()], pytest.approx(row.max()))
        for key, row in zip(keys, scores, strict=True)
    ]
    assert sorted(spans) == expected


def test_projection_keeps_two_far_clusters_apart_whatever_their_vectors_lengths() -> None:
    centres = np.repeat(np.float32([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]), 15, axis=0)
    vectors = centres + draw(30, 5) * 0.05
    lengths = np.float32(2.0) ** np.arange(-15, 15, dtype=np.float32)[:, None]
    with threadpool_limits(1):  # threads wait long for each other where others compute too
        points, scaled = project(vectors), project(vectors * lengths)
    first, second = points[:15], points[15:]
    radius = max(np.linalg.norm(part - part.mean(axis=0), axis=1).max() for part in (first, second))
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > 2 * radius
    np.testing.assert_array_equal(scaled, points)


# What is loaded


def interpret(code: str, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_back_ends_store_and_metrics_load_no_torch() -> None:
    code = """if True:
        import importlib, pkgutil, sys
        import embedkit, embedkit.backends as room
        names = [module.name for module in pkgutil.iter_modules(room.__path__, room.__name__ + ".")]
        for name in [*names, "embedkit.store", "embedkit.metrics"]:
            importlib.import_module(name)
        embedkit.EmbeddingTable
        print(len(names), [name for name in sys.modules if name.startswith("torch")])
    """
    modules = len(list((Path(classify.__file__).parent).glob("[!_]*.py")))
    assert interpret(code).strip() == f"{modules} []"


@pytest.mark.parametrize("first", ["torch", "faiss"])
def test_search_and_torch_work_in_one_process_whichever_comes_first(
    collection: tuple[EmbeddingTable, SearchIndex], first: str
) -> None:
    # Each brings an OpenMP runtime of its own.
    table, index = collection
    imports = ["import torch", "from embedkit.search.segments import SearchIndex"]
    code = "\n".join(
        [
            *(imports if first == "torch" else imports[::-1]),
            "import json, sys",
            "from embedkit.store import EmbeddingTable",
            "table = EmbeddingTable.open(sys.argv[1])",
            "index = SearchIndex(table)",
            "for _ in range(3):",  # by turns
            "    x = torch.ones(64, 64, 32, 32)",
            "    y = torch.nn.functional.conv2d(x, torch.ones(8, 64, 3, 3))",
            "    [hits] = index.search(table.clip_vector('03.wav')[None], 9)",
            "print(json.dumps([y.mean().item(), [hit.clip for hit in hits]]))",
        ]
    )
    mean, found = json.loads(interpret(code, table.folder))
    assert mean == 64 * 3 * 3
    [hits] = index.search(table.clip_vector("03.wav")[None], 9)
    assert found == [hit.clip for hit in hits]


# Clips and segments


def test_segments_have_the_labels_folds_and_groups_of_their_clips(tmp_path: Path) -> None:
    clips = {f"{name}/{n}.wav": draw(n + 1, 4, n) for name in "ab" for n in range(3)}
    table = write_table_of(tmp_path / "emb", clips)
    lines = ["path,label,fold,group", *(f"{clip},{clip[0]},{clip[2]},g{clip[2]}" for clip in clips)]
    source = write_labels(tmp_path / "labels.csv", lines)
    data = join_labels(table, source, Unit.SEGMENT)
    rows = table.rows()
    assert data.clips == rows.clips.tolist()
    np.testing.assert_array_equal(data.vectors, rows.embeddings)
    assert [data.labels[index] for index in data.classes] == [clip[0] for clip in data.clips]
    assert data.folds == [clip[2] for clip in data.clips]
    assert data.groups == [f"g{clip[2]}" for clip in data.clips]
    for fitted, held in splits.published_folds(data):  # segments of one clip stay together
        assert not {data.clips[n] for n in fitted} & {data.clips[n] for n in held}


@pytest.mark.parametrize("unit", list(Unit))
def test_of_too_many_vectors_a_sample_is_read(
    tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clips = {f"{'ab'[n % 2]}/{n}.wav": draw(3, 4, n) for n in range(20)}
    table = write_table_of(tmp_path / "emb", clips)
    whole = join_labels(table, "folders", unit)
    monkeypatch.setattr(labels_module, "MOST", 12)
    data = join_labels(table, "folders", unit)
    assert f"12 of {len(whole.clips)} labelled {unit}s, drawn at random" in caplog.text
    assert len(data.clips) == 12
    known = {(clip, tuple(vector)) for clip, vector in zip(whole.clips, whole.vectors, strict=True)}
    drawn = {(clip, tuple(vector)) for clip, vector in zip(data.clips, data.vectors, strict=True)}
    assert len(drawn & known) == 12
    again = join_labels(table, "folders", unit)
    np.testing.assert_array_equal(again.vectors, data.vectors)
