"""The names that a model brings: whom they serve, and whom they are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import draw, namer

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.config import DEFAULT_MODEL, FAST_MODEL
from embedkit.errors import EmbeddingFolderError, EmbedkitError
from embedkit.names.bundled import check_named, find_names, load_names, named_sizes
from embedkit.runtime import Runtime, fingerprint
from embedkit.store import IMPORTED, EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

Write = Callable[..., EmbeddingTable]
SIZE = 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """embedkit's own network, with made names for vectors of 2 and of 4 numbers."""
    folder = tmp_path / "model"
    shutil.copytree(DEFAULT_MODEL, folder, ignore=shutil.ignore_patterns("names"))
    for size in (2, SIZE):
        names = namer(*"abcd"[:size], fingerprint=weights_fingerprint(folder))
        names.save(folder / "names" / str(size))
    (folder / "names" / "notes").mkdir()
    return folder


@pytest.fixture
def write(tmp_path: Path, model: Path) -> Write:
    def write(runtime: str = Runtime.ONNX, size: int = SIZE, place: Path = model) -> EmbeddingTable:
        imported = runtime == IMPORTED
        provenance = Provenance(
            audio_root="/audio", model=str(place), embedding_size=size, features={},
            fingerprint="f" * 64 if imported else fingerprint(place, Runtime(runtime)),
            segment_s=1.0, hop_s=1.0, channel="mix", runtime=runtime,
        )  # fmt: skip
        folder = tmp_path / f"{runtime}-{size}"
        facts = {"size": 1, "mtime_ns": 1, "duration_s": 3.0, "kind": "", "message": ""}
        with EmbeddingWriter(folder, provenance) as writer:
            index = np.arange(3, dtype=np.int32)
            start = index.astype(float)
            writer.add_rows("a.wav", index, start, start + 1, draw(3, size))
            writer.finish_file(FileRecord(clip="a.wav", rows=3, **facts))
        return EmbeddingTable.open(folder)

    return write


def test_a_model_names_vectors_of_the_sizes_in_its_folder(write: Write, model: Path) -> None:
    assert named_sizes(model) == [2, SIZE]
    names = load_names(write(), model)
    assert names.labels == ("a", "b", "c", "d")
    assert load_names(write(size=2), model).labels == ("a", "b")


@pytest.mark.parametrize("runtime", [Runtime.ONNX_INT8, Runtime.TORCH])
def test_every_runtime_of_the_weights_has_the_same_names(
    write: Write, model: Path, runtime: Runtime
) -> None:
    table = write(runtime)
    names, exact = load_names(table, model), load_names(write(), model)
    if runtime is Runtime.ONNX_INT8:  # the network is another file, the weights are the same
        assert table.provenance.fingerprint != weights_fingerprint(model)
    names.check(table)
    vectors = draw(5)
    np.testing.assert_array_equal(names.scores(vectors), exact.scores(vectors))


def test_the_box_names_all_sizes_of_its_vectors() -> None:
    for model, named in ((DEFAULT_MODEL, [64, 128, 256, 512, 1024]), (FAST_MODEL, [64, 256])):
        sizes = json.loads((model / "config.json").read_text())["model"]["dims"]
        assert named_sizes(model) == named
        assert min(sizes) == min(named)  # larger ones are named by their first numbers


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_the_boxes_names_are_those_of_audioset(write: Write, size: int) -> None:
    names = load_names(write(size=size, place=DEFAULT_MODEL))
    assert len(set(names.labels)) == 527
    assert {"Speech", "Music", "Rain", "Child speech, kid speaking"} <= set(names.labels)
    assert names.several_labels


def test_vectors_are_named_by_as_many_first_numbers_as_there_are_names_for(
    write: Write, model: Path
) -> None:
    vectors = draw(5, 6)
    for size, named in ((2, 2), (3, 2), (SIZE, SIZE), (6, SIZE)):
        table = write(size=size)
        names = load_names(table, model)
        names.check(table)
        check_named(model, size)
        expected = load_names(write(size=named), model).scores(vectors[:, :named])
        np.testing.assert_array_equal(names.scores(vectors[:, :size]), expected)


def test_too_small_a_size_is_refused_and_those_with_names_are_said(
    write: Write, model: Path
) -> None:
    table = write(size=1)
    with pytest.raises(EmbedkitError, match=r"for vectors of 2, 4 numbers, and not of 1; .* --dim"):
        load_names(table, model)
    check_named(model, None)
    assert find_names(write(place=DEFAULT_MODEL, size=3)) is None


def test_a_model_without_names_is_refused(write: Write, model: Path) -> None:
    shutil.rmtree(model / "names")
    for size in (None, SIZE):
        with pytest.raises(EmbedkitError, match=r"model: this model brings no names"):
            check_named(model, size)
    with pytest.raises(EmbedkitError, match="gone: no such folder"):
        check_named(model / "gone", None)
    with pytest.raises(EmbedkitError, match="embedkit classify fit` learns yours"):
        load_names(write(), model)


def test_names_of_other_weights_are_refused(write: Write, model: Path) -> None:
    namer(*"abcd").save(model / "names" / str(SIZE))
    with pytest.raises(EmbedkitError, match="fitted on another model's vectors"):
        load_names(write(), model)
    namer(*"abc", fingerprint=weights_fingerprint(model)).save(model / "names" / "2")
    with pytest.raises(EmbedkitError, match="or on vectors of another size"):
        load_names(write(size=2), model)


def test_imported_vectors_have_no_names(write: Write, model: Path) -> None:
    table = write(IMPORTED)
    with pytest.raises(EmbedkitError, match=r"its vectors were imported from .* brings no names"):
        load_names(table, model)
    assert find_names(table) is None


def test_damaged_names_and_a_model_that_is_gone_are_said(
    write: Write, model: Path, tmp_path: Path
) -> None:
    table = write()
    with pytest.raises(EmbeddingFolderError, match="no such folder"):
        load_names(table, tmp_path / "gone")
    (model / "names" / str(SIZE) / "classifier.safetensors").write_bytes(b"short")
    with pytest.raises(EmbedkitError, match="not a readable classifier"):
        load_names(table, model)
