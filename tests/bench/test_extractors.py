"""Extractors beside each other: against what the parts say alone, and against closed forms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from foreign import NO_LOGITS, RATE, network, write_extractor
from made import labelled
from onnx import helper

from embedkit import metrics
from embedkit.bench.extractors import ExtractorRow, Figure, advise, compare_extractors
from embedkit.classifiers import evaluate
from embedkit.classifiers.classifier import find_method
from embedkit.classifiers.few import few_shot
from embedkit.classifiers.splits import choose, published_folds
from embedkit.labels.join import join_labels
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def compared(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]
) -> dict[str, Any]:
    """Loud and soft noise, of which one extractor hears the power and the other the mean alone."""
    root = tmp_path_factory.mktemp("compared")
    rng = np.random.default_rng(0)
    lines = ["path,label,fold"]
    for number in range(40):
        label = ("soft", "loud")[number % 2]
        sound = (0.1, 0.2)[number % 2] * rng.uniform(0.8, 1.2) * rng.standard_normal(2000)
        write_audio(root / "sounds" / f"{number:02}.wav", np.clip(sound, -1, 1), RATE)
        lines.append(f"sounds/{number:02}.wav,{label},{number // 2 % 4}")
    (root / "labels.csv").write_text("\n".join(lines))
    good = write_extractor(root / "good", about={"name": "the good"}, output=NO_LOGITS)
    mean = [helper.make_node("ReduceMean", ["waveform"], ["embedding"], axes=[1])]
    bad = write_extractor(root / "bad", network(mean), output=NO_LOGITS)
    arguments = (root / "sounds", str(root / "labels.csv"), [str(good), str(bad)], root / "out")
    how, rows = compare_extractors(*arguments, workers=1)
    return {"root": root, "arguments": arguments, "how": how, "rows": rows}


def test_figures_are_those_of_the_parts(compared: dict[str, Any]) -> None:
    root, (good, bad) = compared["root"], compared["rows"]
    assert compared["how"] == "each of 4 folds held out in turn"
    assert [(row.name, row.model, row.size) for row in (good, bad)] == [
        ("good", "the good", 3),
        ("bad", "toy", 1),
    ]
    assert good.bytes_an_hour == 4 * 3 * 3600 / 0.1
    assert good.speed > 0
    for row in (good, bad):
        table = EmbeddingTable.open(root / "out" / row.name)
        data = join_labels(table, str(root / "labels.csv"))
        _, splits = choose(data)
        found = evaluate.evaluate(data, splits, find_method("logistic", c=0.1))
        figure = row.figures["logistic"]
        assert figure.value == found.correct.mean()
        assert (figure.low, figure.high) == metrics.share_interval(found.correct)
        retrieved = [metrics.retrieval(data.vectors[h], data.targets[h])[0] for _, h in splits]
        assert row.figures["retrieval"].value == pytest.approx(np.mean(retrieved))
    assert set(good.figures) == {
        *("logistic", "knn", "retrieval"),
        *("few-shot, 1", "few-shot, 4"),  # there are no 16 of each label to fit on
        *("clusters, AMI", "clusters, ARI"),
    }
    assert good.figures["logistic"].value > 0.9
    for name, figure in bad.figures.items():
        assert figure.low <= figure.value <= figure.high
        assert figure.is_worse, name
        assert good.figures[name].p == 1
    assert advise(compared["rows"]).startswith("Take good: logistic reaches ")


def test_run_again_goes_on_and_says_the_same(compared: dict[str, Any]) -> None:
    seen = []
    _, rows = compare_extractors(*compared["arguments"], report=lambda run: seen.append(run.files))
    assert not any(seen)
    assert rows == compared["rows"]


def test_the_command_writes_a_table_and_a_picture(compared: dict[str, Any]) -> None:
    sounds, labels, models, out = compared["arguments"]
    words = ("bench", "extractors", sounds, "--labels", labels, "--models", ",".join(models))
    said = json.loads(succeed(*words, "--out", out, "--json"))
    assert [row["name"] for row in said["extractors"]] == ["good", "bad"]
    assert (out / "quality.png").read_bytes().startswith(b"\x89PNG")
    table = (out / "table.md").read_text()
    value = said["extractors"][1]["figures"]["logistic"]["value"]
    assert f"{value:.3f}* (" in table
    assert said["advice"] in table
    done = run(*words[:-1], f"{models[0]},{models[0]}", "--out", out)
    assert (done.returncode, "two models are called 'good'" in done.stderr) == (2, True)


@pytest.mark.parametrize("examples", [1, 8])
def test_few_shot_is_the_nearest_mean(examples: int) -> None:
    data = labelled(3)
    splits = published_folds(data)
    found = few_shot(data, splits, examples)
    assert found is not None
    if examples == 8:  # all that there are: nothing is drawn
        expected = []
        for fitted, held in splits:
            middle = data.vectors[fitted].mean(0)
            moved = data.vectors - middle
            moved = moved / np.linalg.norm(moved, axis=1)[:, None]
            for row in held:
                means = [
                    moved[[f for f in fitted if data.classes[f] == c]].mean(0) for c in range(3)
                ]
                near = [moved[row] @ mean / np.linalg.norm(mean) for mean in means]
                expected.append(float(np.argmax(near) == data.classes[row]))
        np.testing.assert_array_equal(found, expected)
    else:
        assert len(set(found)) > 2  # shares of many draws
    assert few_shot(data, splits, 9) is None


def test_retrieved_has_the_mean_that_retrieval_gives() -> None:
    data = labelled(3)
    values = metrics.retrieved(data.vectors, data.targets)
    assert np.nanmean(values) == pytest.approx(metrics.retrieval(data.vectors, data.targets)[0])
    alone = np.eye(4, dtype=np.float32)  # nobody shares a label
    assert np.isnan(metrics.retrieved(alone, alone)).all()


def row(name: str, value: float, p: float, megabytes: float) -> ExtractorRow:
    figures = {"logistic": Figure(value=value, low=0.0, high=1.0, p=p)}
    return ExtractorRow(
        name=name, model=name, size=1, segment_s=1.0, bytes_an_hour=megabytes * 1e6, speed=1.0,
        peak_bytes=0, figures=figures,
    )  # fmt: skip


def test_advises_the_smallest_of_those_that_are_not_clearly_worse() -> None:
    rows = [row("best", 0.9, 1.0, 10), row("near", 0.89, 0.3, 5), row("far", 0.5, 0.001, 1)]
    assert advise(rows) == (
        "Take near: logistic reaches 0.890 at 5.0 MB for an hour of audio, no clear difference from"
        " the best, best, with 0.900 at 10.0 MB (p = 0.30)."
    )
    assert advise([rows[0], rows[2]]).endswith(
        "the best, at 10.0 MB for an hour of audio; all others are clearly worse."
    )


def test_several_labels_and_labels_with_times(compared: dict[str, Any], tmp_path: Path) -> None:
    sounds, _, models, out = compared["arguments"]
    lines = ["path,labels,fold"]
    for number in range(40):
        labels = f"{('soft', 'loud')[number % 2]};{('a', 'b')[number % 4 // 2]}"
        lines.append(f"{number:02}.wav,{labels},{number // 4 % 3}")
    several = tmp_path / "labels.csv"
    several.write_text("\n".join(lines))
    _, [found] = compare_extractors(sounds, str(several), models[:1], out)
    assert set(found.figures) == {"logistic", "knn", "retrieval"}
    assert 0.5 < found.figures["logistic"].value <= 1
    timed = tmp_path / "timed.csv"
    timed.write_text("path,start_s,end_s,label\n00.wav,0,0.1,soft\n01.wav,0,0.1,loud\n")
    done = run(
        "bench", "extractors", sounds, "--labels", timed, "--models", models[0], "--out", out
    )
    assert (done.returncode, "are of stretches" in done.stderr) == (2, True)
