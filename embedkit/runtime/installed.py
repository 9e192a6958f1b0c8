"""Models that have a name: embedkit's own, and extractors that a person has installed."""

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from platformdirs import user_data_path

from embedkit.atomic import atomic_write, publish
from embedkit.config import OWN_MODELS
from embedkit.errors import ModelFolderError, UsageError
from embedkit.runtime.description import EXTRACTOR, Layout
from embedkit.runtime.onnx import open_session
from embedkit.runtime.tflite_graph import FULLY_CONNECTED, TfliteGraph

EMBEDDING = re.compile(r"embed|feature|hidden", re.IGNORECASE)
LOGITS = re.compile(r"logit", re.IGNORECASE)

KNOWN = Path(__file__).with_name("known.toml")

Facts = dict[str, dict[str, object]]  # tables of an extractor.toml


def models_folder() -> Path:
    """The folder of the extractors that a person has installed."""
    return user_data_path("embedkit") / "models"


def installed() -> list[Path]:
    """The folders of these extractors, sorted by name."""
    return sorted(path.parent for path in models_folder().glob(f"*/{EXTRACTOR}"))


def resolve(model: Path) -> Path:
    """A model by its path or, where there is no such path, by its name."""
    if model.exists() or model.name != str(model):
        return model
    if model.name in OWN_MODELS:
        return OWN_MODELS[model.name]
    place = models_folder() / model
    return place if (place / EXTRACTOR).exists() else model


def name_of(model: Path) -> str:
    """What a model is called: one of embedkit's own by its name, another by its folder or file."""
    place = model.resolve()
    for name, folder in OWN_MODELS.items():
        if folder.resolve() == place:
            return name
    if model.is_dir():
        return place.name
    return place.parent.name if place.name == EXTRACTOR else place.stem


def known(sha256: str) -> Facts | None:
    """The description of a network that is known by its file, or None."""
    entries = tomllib.loads(KNOWN.read_text(encoding="utf-8"))
    entry = entries.get(sha256)
    if entry is None:
        return None
    about = {key: value for key, value in entry.items() if isinstance(value, str)}
    return {"": about, "input": entry["input"], "output": entry["output"]}


def look(file: Path) -> tuple[Facts, int | None]:
    """What the file of a network says about itself.

    Args:
        file: an `.onnx` or `.tflite` file.

    Returns:
        tables of a description, as far as the file tells them; and the number of samples that it
            takes at a time, None where that is free.

    Raises:
        ModelFolderError: it cannot be read, or takes something else than a waveform.
        UsageError: the file has another suffix.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelFolderError(
            f"{file}: cannot be read: {error.strerror or error}; name the .onnx or .tflite file of"
            " a network"
        ) from error
    if file.suffix.lower() == ".tflite":
        taken, given = _look_tflite(file, content)
    elif file.suffix.lower() == ".onnx":
        taken, given = _look_onnx(file, content)
    else:
        raise UsageError(f"{file}: expected an .onnx or a .tflite file")
    name, shape = taken
    layouts = {1: Layout.SAMPLES, 2: Layout.BATCH_SAMPLES, 3: Layout.BATCH_1_SAMPLES}
    layout = layouts.get(len(shape))
    if layout is None or (layout is Layout.BATCH_1_SAMPLES and shape[1] != 1):
        raise ModelFolderError(
            f"{file}: takes {name!r} of shape {list(shape)}, which is no waveform; export the"
            " network with what makes its features inside"
        )
    samples = shape[-1] if isinstance(shape[-1], int) and shape[-1] > 1 else None
    heard: dict[str, object] = {"name": name, "layout": str(layout)}
    return {"network": {"file": file.name}, "input": heard, "output": dict(given)}, samples


def install(
    name: str,
    file: Path,
    facts: Facts,
    labels: Path | None,
    prove: Callable[[Path], None],
) -> Path:
    """Copy a network and write its description; it only stays if it is proved.

    Args:
        name: name of its folder.
        file: the network.
        facts: the tables of its description.
        labels: a file of its labels.
        prove: is called with the folder; if it raises, everything is undone.

    Returns:
        the folder.

    Raises:
        UsageError: there is one of that name, or the name has other characters than a name may
            have.
    """
    if not re.fullmatch(r"[\w][\w. -]*", name):
        raise UsageError(f"a model called {name!r}: expected letters, digits and - . _")
    if name in OWN_MODELS:
        raise UsageError(f"{name} is the name of a model of embedkit's own; choose another --name")
    place = models_folder() / name
    if place.exists():
        raise UsageError(f"{name} is installed already, in {place}; choose another --name")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        for one in filter(None, (file, labels)):
            with one.open("rb") as there, atomic_write(folder / one.name) as here:
                shutil.copyfileobj(there, here)
        with atomic_write(folder / EXTRACTOR) as here:
            here.write(as_toml(facts).encode())
        prove(folder)
        publish(folder, place)
    return place


def as_toml(facts: Facts) -> str:
    """The tables as the text of a file; the keys before any table are under ""."""
    lines = []
    for table, values in facts.items():
        lines += [f"\n[{table}]"] * bool(table)
        # A JSON text, number or list of these is one of TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines).lstrip() + "\n"


Taken = tuple[str, tuple[int | str | None, ...]]  # the name of the input, and its shape
Given = dict[str, object]  # keys of [output]


def _look_onnx(file: Path, content: bytes) -> tuple[Taken, Given]:
    try:
        session = open_session(content, threads=1)
    except Exception as error:  # ONNX Runtime's errors have no common class but this
        raise ModelFolderError(f"{file}: cannot be read as one ONNX file: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise ModelFolderError(f"{file}: takes {names}; expected a waveform alone")
    shapes = {value.name: tuple(value.shape or ()) for value in outputs}
    return (inputs[0].name, tuple(inputs[0].shape or ())), _outputs(shapes)


def _look_tflite(file: Path, content: bytes) -> tuple[Taken, Given]:
    try:
        graph = TfliteGraph(content)
    except ValueError as error:
        raise ModelFolderError(f"{file}: {error}") from error
    if len(graph.inputs) != 1:
        names = ", ".join(graph.tensors[number].name for number in graph.inputs)
        raise ModelFolderError(f"{file}: takes {names}; expected a waveform alone")
    taken = graph.tensors[graph.inputs[0]]
    outputs = [graph.tensors[number] for number in graph.outputs]
    given = _outputs({tensor.name: tensor.shape for tensor in outputs})
    last = [one for one in graph.operators if one.code == FULLY_CONNECTED]
    if last and not EMBEDDING.search(str(given.get("embedding", ""))):
        # Its last layer makes labels of the embedding.
        ends = graph.tensors[last[-1].inputs[0]].name, graph.tensors[last[-1].outputs[0]].name
        given = {"embedding": ends[0], "logits": ends[1]}
    return (taken.name, taken.shape), given


def _outputs(shapes: dict[str, tuple[int | str | None, ...]]) -> Given:
    """Which output is most likely the embedding, and which the logits."""
    logits = next((name for name in shapes if LOGITS.search(name)), None)
    others = [name for name in shapes if name != logits]
    embedding = next((name for name in others if EMBEDDING.search(name)), None)
    if embedding is None and len(others) == 1:
        embedding = others[0]
    given: Given = {}
    if embedding is not None:
        given["embedding"] = embedding
        # [B, frames, D], or maps [B, D, height, width].
        axes = {3: [1], 4: [2, 3]}.get(len(shapes[embedding]))
        if axes:
            given |= {"pool": "mean", "axis": axes}
    if logits is not None:
        given["logits"] = logits
    return given


def a_second(sample_rate: int, samples: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Windows of noise that last at least a second together.

    Args:
        sample_rate: in Hz.
        samples: length of a window.

    Returns:
        float32 [B, samples].
    """
    count = max(1, -(-sample_rate // samples))
    drawn = np.random.default_rng(0).uniform(-0.1, 0.1, (count, samples))
    return drawn.astype(np.float32)
