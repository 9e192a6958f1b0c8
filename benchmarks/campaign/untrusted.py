"""Folders and tables from strangers: mutated a thousand times each, and made to harm.

A reader may read them, or refuse them in an EmbedkitError: anything else is wrong. Beside it an
audit hook listens for what no reader has to do: unpickling, starting programs, opening sockets.
"""

import logging
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from campaign.outcome import Case, Outcome, survey
from embedkit.checkpoint import CONFIG, NETWORK, WEIGHTS, load_model
from embedkit.classifiers.classifier import ARRAYS, SETTINGS, Classifier
from embedkit.config import DEFAULT_MODEL
from embedkit.datasets import read_dataset
from embedkit.datasets.targets import read_targets
from embedkit.errors import EmbedkitError
from embedkit.exchange import Foreign, import_vectors
from embedkit.exchange.hoplite import read_annotations, write_hoplite
from embedkit.labels.answers import Answers
from embedkit.labels.marks import Marks
from embedkit.progress import untracked
from embedkit.runtime import prepare
from embedkit.runtime.foreign import open_foreign
from embedkit.search.index import IndexKind, Metric, open_index
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

MUTATIONS = 1000  # of each file
SIZE = 4  # of the vectors
# What is raised by whoever runs code, loads pickles or asks the network.
FORBIDDEN = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen",
             "socket.connect", "os.fork")  # fmt: skip
HEARD: list[str] = []


def _embeddings(place: Path) -> Path:
    folder = place / "emb"
    provenance = Provenance(
        audio_root="/audio", model="m", fingerprint="f" * 64, embedding_size=SIZE,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="onnx",
    )  # fmt: skip
    number = np.arange(5, dtype=np.int32)
    with EmbeddingWriter(folder, provenance) as writer:
        for clip in ("a.wav", "b.wav"):
            vectors = np.random.default_rng(0).standard_normal((5, SIZE)).astype(np.float32)
            writer.add_rows(clip, number, number.astype(float), number + 1.0, vectors)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": 5.0, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=5, **facts))
    return folder


def _read_embeddings(folder: Path) -> object:
    table = EmbeddingTable.open(folder)
    table.rows()
    table.clip_vectors()
    table.clip_rows("a.wav")
    return table.journal, table.notes


def _described(place: Path) -> Path:
    from onnx import helper

    folder = place / "described"
    folder.mkdir()
    axes = {"axes": [1], "keepdims": 1}
    nodes = [
        helper.make_node("ReduceMean", ["waveform"], ["mean"], **axes),
        helper.make_node("ReduceMax", ["waveform"], ["most"], **axes),
        helper.make_node("Concat", ["mean", "most"], ["embedding"], axis=-1),
    ]
    heard = helper.make_tensor_value_info("waveform", 1, ["batch", "samples"])
    given = helper.make_tensor_value_info("embedding", 1, ["batch", 2])
    graph = helper.make_graph(nodes, "toy", [heard], [given])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    (folder / "toy.onnx").write_bytes(model.SerializeToString())
    (folder / "labels.csv").write_text("index,name\n0,crow\n1,wren\n")
    (folder / "extractor.toml").write_text(
        'name = "toy"\nlicence = "MIT"\nsource = "https://example.org"\n[network]\n'
        'file = "toy.onnx"\n[input]\nname = "waveform"\nsample_rate = 8000\nwindow_s = 0.1\n'
        'layout = "batch samples"\nscale = 1.0\nnormalise = "peak"\n[output]\n'
        'embedding = "embedding"\nlogits = "embedding"\nlabels = "labels.csv"\n'
        'label_column = "name"\nactivation = "sigmoid"\n'
    )
    return folder


def _read_described(folder: Path) -> object:
    return open_foreign(folder, 1)


def _model(place: Path) -> Path:
    folder = place / "model"
    folder.mkdir()
    for name in (CONFIG, WEIGHTS, NETWORK):
        shutil.copy(DEFAULT_MODEL / name, folder)
    return folder


def _read_model(folder: Path) -> object:
    load_model(folder)
    program = prepare(folder)
    length, _ = program.segments.samples(program.sample_rate)
    return program.start(1).embed_segments(np.zeros((1, length), np.float32))


def _classifier(place: Path) -> Path:
    names = DEFAULT_MODEL / "names" / "64"
    return Path(shutil.copytree(names, place / "classifier"))


def _labels(place: Path) -> Path:
    folder = place / "labels"
    folder.mkdir()
    (folder / "clips.csv").write_text(
        'path,label,fold,split,group\na.wav,crow,1,train,x\nb.wav,"wren, small",2,test,y\n'
    )
    (folder / "raven.txt").write_text(
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies\n"
        "1\tSpectrogram 1\t0.5\t1.5\ta.wav\tcrow\n2\tSpectrogram 1\t2\t3\tb.wav\twren\n"
    )
    (folder / "track.txt").write_text("0.5\t1.5\tcrow\n\\\t200\t4000\n2,5\t3,5\twren\n")
    (folder / "marks.csv").write_text(
        "path,start_s,end_s,label,sign\na.wav,0,1,crow,+\nb.wav,1.5,2,wren,-\n"
    )
    pq.write_table(pq.read_table(_parquet(folder)), folder / "clips.parquet")
    return folder


def _parquet(folder: Path) -> Path:
    import pyarrow as pa

    path = folder / "clips.parquet"
    labels = pa.array([["crow"], ["wren", "crow"], None], pa.list_(pa.string()))
    pq.write_table(pa.table({"path": ["a.wav", "b.wav", "c.wav"], "labels": labels}), path)
    return path


def _read_labels(path: Path) -> object:
    return read_dataset(path)


def _read_edited(path: Path) -> object:
    return Answers(path, {"a.wav"}).labels


def _read_marks(path: Path) -> object:
    return Marks(path, {"a.wav", "b.wav"}).stretches()


def _index(place: Path) -> Path:
    table = EmbeddingTable.open(_embeddings(place))
    open_index(table, IndexKind.HNSW, Metric.COSINE, place / "cache", untracked)
    return next((place / "cache").iterdir())


def _read_index(folder: Path) -> object:
    """What it answers must be right, whatever was kept."""
    table = EmbeddingTable.open(folder.parent.parent / "emb")
    index, _, _ = open_index(table, IndexKind.HNSW, Metric.COSINE, folder.parent, untracked)
    vectors = table.rows().embeddings
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = index.search(unit, 1)[0][:, 0]
    if not np.allclose(found, 1, atol=1e-5):
        raise ValueError(f"the index finds {found.min():.3f} where there is 1")
    return None


def _vectors(place: Path) -> Path:
    folder = place / "vectors"
    folder.mkdir()
    vectors = np.random.default_rng(0).standard_normal((5, SIZE)).astype(np.float32)
    np.save(folder / "a.npy", vectors)
    np.savez(folder / "b.npz", embedding=vectors, timestamps=np.arange(5.0))
    write_hoplite(EmbeddingTable.open(_embeddings(place)), folder / "hoplite", "")
    return folder


def _imported(form: str, source: Path) -> object:
    foreign = Foreign(name="x", window_s=1.0, hop_s=1.0)
    with TemporaryDirectory() as out:
        import_vectors(source, form, foreign, Path(out) / "emb")
    return read_annotations(source) if form == "hoplite" else None


# By what is mutated: how its folder is made, where it stands in it, and who reads it.
Make, Read = Callable[[Path], Path], Callable[[Path], object]
FILES: dict[str, tuple[Make, str, Read | None, Read]] = {
    "manifest.json": (_embeddings, "manifest.json", None, _read_embeddings),
    "rows in Parquet": (_embeddings, "rows/part-00000-00000.parquet", None, _read_embeddings),
    "journal in Parquet": (_embeddings, "files/part-00000-00000.parquet", None, _read_embeddings),
    "targets in Parquet": (
        _embeddings, "rows/part-00000-00000.parquet",
        lambda folder: folder / "rows", lambda path: read_targets(path, ["a.wav"]),
    ),
    "config.json": (_model, CONFIG, None, _read_model),
    "model.safetensors": (_model, WEIGHTS, None, _read_model),
    "network.onnx": (_model, NETWORK, None, _read_model),
    "classifier.json": (_classifier, SETTINGS, None, Classifier.load),
    "classifier.safetensors": (_classifier, ARRAYS, None, Classifier.load),
    "extractor.toml": (_described, "extractor.toml", None, _read_described),
    "its labels": (_described, "labels.csv", None, _read_described),
    "its ONNX": (_described, "toy.onnx", None, _read_described),
    "labels of clips": (_labels, "clips.csv", lambda folder: folder / "clips.csv", _read_labels),
    "labels in Parquet": (
        _labels, "clips.parquet", lambda folder: folder / "clips.parquet", _read_labels
    ),
    "labels that are edited": (
        _labels, "clips.csv", lambda folder: folder / "clips.csv", _read_edited
    ),
    "a Raven table": (_labels, "raven.txt", lambda folder: folder / "raven.txt", _read_labels),
    "an Audacity track": (_labels, "track.txt", lambda folder: folder / "track.txt", _read_labels),
    "marks": (_labels, "marks.csv", lambda folder: folder / "marks.csv", _read_marks),
    "vectors in npy": (_vectors, "a.npy", None, partial(_imported, "npy")),
    "vectors in npz": (_vectors, "b.npz", None, partial(_imported, "npy")),
    "hoplite's SQLite": (
        _vectors, "hoplite/hoplite.sqlite",
        lambda folder: folder / "hoplite", partial(_imported, "hoplite"),
    ),
    "hoplite's index": (
        _vectors, "hoplite/usearch.index",
        lambda folder: folder / "hoplite", partial(_imported, "hoplite"),
    ),
    "index.json": (_index, "index.json", None, _read_index),
    "index.faiss": (_index, "index.faiss", None, _read_index),
}  # fmt: skip


# Where each of them is made.
HOMES = {
    _embeddings: "emb", _model: "model", _classifier: "classifier", _described: "described",
    _labels: "labels", _vectors: "vectors", _index: "cache",
}  # fmt: skip


def mutants(place: Path, share: float) -> Outcome:
    """Folders, tables and descriptions mutated a thousand times."""
    return _mutants(place, share, {*HOMES} - {_model, _vectors})


def models(place: Path, share: float) -> Outcome:
    """The files of a model folder mutated a thousand times; what opens computes a vector."""
    return _mutants(place, share, {_model})


def arrays(place: Path, share: float) -> Outcome:
    """Vectors of other tools mutated a thousand times."""
    return _mutants(place, share, {_vectors})


def _mutants(place: Path, share: float, makers: set[Make]) -> Outcome:
    names = [name for name in FILES if FILES[name][0] in makers]
    for name in names:
        (place / name).mkdir()
        FILES[name][0](place / name)
    count = round(MUTATIONS * share)
    cases = [(name, seed) for name in names for seed in range(count)]
    tried = f"{', '.join(names)}: each mutated {count:,} times"
    return survey(tried, partial(_try_mutant, place), cases)


def _try_mutant(place: Path, case: tuple[str, int]) -> Case:
    name, seed = case
    make, inside, read_from, read = FILES[name]
    folder = place / name / HOMES[make]
    folder = next(folder.iterdir()) if make is _index else folder
    path = folder / inside
    good = path.read_bytes()
    if seed:  # the first is as it was
        path.write_bytes(mutated(good, np.random.default_rng(seed)))
    try:
        became = _listened(partial(read, read_from(folder) if read_from else folder))
        if not seed and became.became != "read":
            return Case("wrong", "the good file is not read")
        return became
    finally:
        path.write_bytes(good)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that has been damaged, cut, doubled, or changed where it says how long things are."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        # Half of it where headers and footers are.
        reach = min(len(content), 400) if rng.random() < 0.5 else len(content)
        at = int(rng.integers(reach))
        at = at if rng.random() < 0.7 else len(content) - 1 - at
        length = int(rng.integers(1, 64))
        kind = rng.integers(8)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]
            )
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = rng.bytes(length)
        elif kind == 5:
            content[at:at] = content[at : at + length]
        elif kind == 6:
            content[at : at + length] = bytes(length)
        else:
            words = [
                b"-1",
                b"1e999",
                b"null",
                b'"',
                b"[",
                b"{",
                b"9" * 30,
                b"../../x",
                b"\n",
                b"nan",
            ]
            content[at : at + 1] = words[rng.integers(len(words))]
    return bytes(content)


def _listened(read: Callable[[], object]) -> Case:
    if not HEARD:
        HEARD.append("")
        sys.addaudithook(lambda event, _: (event in FORBIDDEN and HEARD.append(event)) or None)
        warnings.simplefilter("ignore")
        logging.disable()
    before = len(HEARD)
    try:
        read()
        became = Case("read")
    except EmbedkitError as error:
        became = Case("refused", "" if str(error) else "refused without a word")
    if HEARD[before:]:
        return Case("code", f"it made the reader do {HEARD[before]}")
    return became


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (open, (str(self.canary), "w"))


def pickles(place: Path, share: float) -> Outcome:
    """Every file replaced by a pickle that leaves a trace where it is loaded."""
    outcome = Outcome(tried=f"a pickle of harm in the place of each of {len(FILES)} kinds of files")
    canary = place / "canary"
    bombs = [pickle.dumps(Bomb(canary), protocol=protocol) for protocol in (0, 2, 5)]
    array = np.array([Bomb(canary)], object)
    array.dump(place / "array.npy")
    bombs.append((place / "array.npy").read_bytes())
    for number, name in enumerate(list(FILES)[:: round(1 / share)]):
        make, inside, read_from, read = FILES[name]
        (place / str(number)).mkdir()
        folder = make(place / str(number))
        for bomb in bombs:
            (folder / inside).write_bytes(bomb)
            became = _listened(partial(read, read_from(folder) if read_from else folder))
            if canary.exists():
                became = Case("code", "the pickle was loaded")
            outcome.add(became, name)
    return outcome
