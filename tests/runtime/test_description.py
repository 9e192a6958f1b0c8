"""extractor.toml: what it says, and what is refused, by its key."""

import hashlib
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from foreign import LABELS, NO_LOGITS, toy_network, write_extractor

from embedkit.config import Activation, SegmentSpec
from embedkit.errors import ModelFolderError
from embedkit.runtime.description import KEYS, Layout, Normalise, Pool, read_description

DOCS = Path(__file__).parents[2] / "docs/guides/extractor.md"


def test_reads_every_key(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(toy_network()).hexdigest()
    path = write_extractor(
        tmp_path,
        about={"licence": "MIT", "source": "https://example.org", "citation": "A, B: C, 2026"},
        network={"sha256": sha256.upper()},
        input={
            "window_s": 2,
            "hop_s": 0.5,
            "layout": "batch 1 samples",
            "scale": 32768,
            "normalise": "rms",
        },
        output={"pool": "max", "axis": [2, 3], "activation": "softmax"},
    )
    description = read_description(path)
    assert asdict(description) == {
        "path": path,
        "name": "toy",
        "licence": "MIT",
        "source": "https://example.org",
        "citation": "A, B: C, 2026",
        "network": tmp_path / "toy.onnx",
        "sha256": sha256,
        "input_name": "waveform",
        "sample_rate": 8000,
        "segments": asdict(SegmentSpec(duration_s=2.0, hop_s=0.5)),
        "layout": Layout.BATCH_1_SAMPLES,
        "scale": 32768.0,
        "normalise": Normalise.RMS,
        "embedding": "embedding",
        "pool": Pool.MAX,
        "axes": (2, 3),
        "logits": "logits",
        "labels": LABELS,
        "activation": Activation.SOFTMAX,
    }
    assert description.read_network() == toy_network()


def test_the_docs_show_one_and_every_key(tmp_path: Path) -> None:
    docs = DOCS.read_text()
    path = write_extractor(tmp_path)
    (tmp_path / "mn04_as.onnx").touch()
    (tmp_path / "labels.csv").rename(tmp_path / "class_labels_indices.csv")
    shown = re.findall(r"```toml\n(.*?)```", docs, re.DOTALL)
    assert shown
    for text in shown:
        path.write_text(text)
        description = read_description(path)
        assert (description.sample_rate, description.labels) == (32000, LABELS)
    table = docs.split("| key | meaning |")[1]
    assert {key for keys in KEYS.values() for key in keys} <= set(re.findall(r"`(\w+)`", table))


def test_fills_in_what_is_not_said(tmp_path: Path) -> None:
    description = read_description(write_extractor(tmp_path, output=NO_LOGITS).parent)
    assert description.segments == SegmentSpec(duration_s=0.1, hop_s=0.1)
    assert (description.licence, description.source, description.citation) == ("", "", "")
    assert (description.scale, description.normalise) == (1.0, Normalise.NONE)
    assert (description.pool, description.axes) == (None, ())
    assert (description.logits, description.labels) == ("", ())
    assert description.outputs == ("embedding",)


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("about", "license", "MIT", "license: no such key; did you mean licence?"),
        ("about", "name", None, "name: is missing"),
        ("about", "name", " ", "name: expected a text, found ' '"),
        ("about", "name", "a\u001b[1m", "name: expected a text, found 'a.x1b"),
        ("about", "network", [1], r"network: expected a table \[network\], found \[1\]"),
        ("network", "path", "x", r"\[network\] path: no such key; there are: file, sha256"),
        ("network", "file", None, r"\[network\] file: is missing"),
        ("network", "file", "/etc/passwd", r"\[network\] file: expected a file in the folder"),
        ("network", "file", "../x.onnx", r"\[network\] file: expected a file in the folder"),
        ("network", "file", "a/../../x", r"\[network\] file: expected a file in the folder"),
        ("network", "file", "..\\x.onnx", r"\[network\] file: expected a file in the folder"),
        ("network", "file", "C:x.onnx", r"\[network\] file: expected a file in the folder"),
        ("network", "file", "no.onnx", r"\[network\] file: there is no file .*no.onnx"),
        ("network", "file", "x" * 300, r"\[network\] file: .*too long"),
        ("network", "sha256", "beef", r"\[network\] sha256: expected 64 hexadecimal digits"),
        ("input", "sample_rate", "8000", r"\[input\] sample_rate: expected a whole number"),
        ("input", "sample_rate", 8000.0, r"\[input\] sample_rate: expected a whole number"),
        ("input", "sample_rate", True, r"\[input\] sample_rate: expected a whole number"),
        ("input", "sample_rate", 0, r"\[input\] sample_rate: expected from 1000 to 1000000"),
        ("input", "window_s", None, r"\[input\] window_s: is missing"),
        ("input", "window_s", -1, r"\[input\] window_s and hop_s: segments of -1"),
        ("input", "hop_s", 5.0, r"\[input\] window_s and hop_s: a hop of 5"),
        ("input", "layout", "samples batch", r'layout: expected one of "batch samples", "batch 1'),
        ("input", "layout", ["samples"], r"\[input\] layout: expected one of"),
        ("input", "normalise", "loud", r'normalise: expected one of "none", "peak", "rms", found'),
        ("input", "scale", 0, r"\[input\] scale: expected a number above 0, found 0"),
        ("input", "scale", "2", r"\[input\] scale: expected a number, found '2'"),
        ("output", "pool", "mean", r"\[output\] pool and axis: expected both, or none"),
        ("output", "axis", 1, r"\[output\] pool and axis: expected both, or none"),
        ("output", "logits", None, r"\[output\] logits, labels and label_column: expected all"),
        ("output", "label_column", None, r"\[output\] logits, labels and label_column: expected"),
        ("output", "labels", "no.csv", r"\[output\] labels: there is no file"),
        ("output", "activation", "none", r"activation: expected \"sigmoid\" or \"softmax\", with"),
        (
            "output",
            "label_column",
            "display name",
            "no column 'display name'; did you mean display_name?",
        ),
    ],
)
def test_names_the_key_and_what_was_expected(
    tmp_path: Path, table: str, key: str, value: Any, message: str
) -> None:
    path = write_extractor(tmp_path, **{table: {key: value}})
    if (table, key) == ("about", "network"):
        path.write_text('name = "toy"\nnetwork = [1]')
    with pytest.raises(ModelFolderError, match=f"extractor.toml: .*{message}"):
        read_description(path)


@pytest.mark.parametrize("axis", [0, [1, 1], [0, 1]])
def test_pools_over_no_batch(tmp_path: Path, axis: Any) -> None:
    path = write_extractor(tmp_path, output={"pool": "mean", "axis": axis})
    with pytest.raises(ModelFolderError, match=r"\[output\] axis: expected other axes than"):
        read_description(path)


@pytest.mark.parametrize("axis", [-1, [], "1", [1.0], True])
def test_an_axis_is_its_number(tmp_path: Path, axis: Any) -> None:
    path = write_extractor(tmp_path, output={"pool": "mean", "axis": axis})
    with pytest.raises(ModelFolderError, match=r"\[output\] axis: expected the number of an axis"):
        read_description(path)


def test_pools_over_the_first_axis_where_there_is_no_batch(tmp_path: Path) -> None:
    path = write_extractor(
        tmp_path, input={"layout": "samples"}, output={"pool": "mean", "axis": 0}
    )
    assert read_description(path).axes == (0,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "cannot be read as TOML"),
        (b"\xff", "cannot be read as TOML"),
        (b"a = " + b"[" * 5000, "cannot be read as TOML"),
    ],
)
def test_is_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = write_extractor(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=message):
        read_description(path)


def test_says_that_there_is_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.toml"):
        with pytest.raises(
            ModelFolderError,
            match=r"there is no such file; an extractor is named by its extractor\.toml",
        ):
            read_description(path)


def test_follows_links_within_its_folder_alone(tmp_path: Path) -> None:
    path = write_extractor(tmp_path / "extractor")
    (tmp_path / "secret.onnx").write_bytes(toy_network())
    network = path.parent / "toy.onnx"
    network.rename(path.parent / "kept.onnx")
    network.symlink_to("kept.onnx")
    assert read_description(path).read_network() == toy_network()
    network.unlink()
    network.symlink_to(tmp_path / "secret.onnx")
    with pytest.raises(ModelFolderError, match=r"\[network\] file: .* is a link out of the folder"):
        read_description(path)
    network.unlink()
    network.symlink_to("toy.onnx")
    with pytest.raises(ModelFolderError, match=r"\[network\] file: there is no file"):
        read_description(path)


def test_may_be_reached_by_a_link_to_its_folder(tmp_path: Path) -> None:
    write_extractor(tmp_path / "extractor")
    (tmp_path / "link").symlink_to("extractor")
    assert read_description(tmp_path / "link").read_network() == toy_network()


def test_reads_the_file_described_and_no_other(tmp_path: Path) -> None:
    path = write_extractor(tmp_path, network={"sha256": "0" * 64})
    description = read_description(path)
    found = hashlib.sha256(toy_network()).hexdigest()
    with pytest.raises(ModelFolderError, match=f"SHA-256 is {found},\n? ?expected 0000"):
        description.read_network()
    (tmp_path / "toy.onnx").unlink()
    with pytest.raises(ModelFolderError, match=r"toy.onnx: cannot be read: .*No such file"):
        description.read_network()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("display_name\n", "none, one twice"),
        ("display_name,x\na,1\na,2\n", "none, one twice"),
        ("x,display_name\n1,a\n2\n", "none, one twice"),
        ("display_name\na\n\x1b[1m\n", "none, one twice"),
        ('display_name\n"a\n', "cannot be read as CSV"),
        ("", "no column 'display_name'"),
    ],
)
def test_labels_are_a_column_of_names(tmp_path: Path, table: str, message: str) -> None:
    path = write_extractor(tmp_path)
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(ModelFolderError, match=rf"\[output\] label.*{message}"):
        read_description(path)


def test_labels_may_begin_with_a_mark_of_their_encoding(tmp_path: Path) -> None:
    path = write_extractor(tmp_path)
    (tmp_path / "labels.csv").write_text("display_name\nÄ\nb\n", encoding="utf-8-sig")
    assert read_description(path).labels == ("Ä", "b")
    (tmp_path / "labels.csv").write_text("display_name\nÄ\nb\n", encoding="utf-16")
    with pytest.raises(ModelFolderError, match=r"labels.csv cannot be read as CSV"):
        read_description(path)
