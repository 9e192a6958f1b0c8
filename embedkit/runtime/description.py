"""Somebody else's extractor, as `extractor.toml` describes it: facts, never code."""

import csv
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path, PureWindowsPath
from typing import Any

from embedkit.checkpoint import CONFIG
from embedkit.config import Activation, SegmentSpec
from embedkit.errors import ModelFolderError, UsageError, choices, words

EXTRACTOR = "extractor.toml"


class Layout(StrEnum):
    """The axes of a network's input."""

    BATCH_SAMPLES = "batch samples"
    BATCH_1_SAMPLES = "batch 1 samples"
    SAMPLES = "samples"  # one waveform at a time; its outputs have no axis of the batch either


class Normalise(StrEnum):
    """What each waveform is divided by, before `scale` multiplies it. Silence stays silence."""

    NONE = "none"
    PEAK = "peak"  # its largest magnitude
    RMS = "rms"  # the root of its mean square


class Pool(StrEnum):
    """How a map becomes one vector."""

    MEAN = "mean"
    MAX = "max"


KEYS: dict[str, dict[str, type]] = {
    "": {"name": str, "licence": str, "source": str, "citation": str},
    "network": {"file": str, "sha256": str},
    "input": {
        "name": str,
        "sample_rate": int,
        "window_s": float,
        "hop_s": float,
        "layout": Layout,
        "scale": float,
        "normalise": Normalise,
    },
    "output": {
        "embedding": str,
        "pool": Pool,
        "axis": tuple,
        "logits": str,
        "labels": str,
        "label_column": str,
        "activation": Activation,
    },
}
REQUIRED = {
    "": {"name"},
    "network": {"file"},
    "input": {"name", "sample_rate", "window_s", "layout"},
    "output": {"embedding"},
}
WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    tuple: "the number of an axis, or a list of them",
}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `extractor.toml` says about a network that takes waveforms.

    Attributes:
        path: the file that says it.
        name: name of the extractor.
        licence: licence of its weights.
        source: where it comes from.
        citation: the paper to name.
        network: its file, beside `path` or below.
        sha256: SHA-256 of that file; empty: not stated.
        input_name: name of the network's input.
        sample_rate: sample rate that it takes, in Hz.
        segments: the seconds of sound that one vector stands for, and the hop from one to the next.
        layout: the axes of its input.
        scale: what waveforms in [-1, 1] are multiplied by, after they were normalised.
        normalise: what they are divided by.
        embedding: name of the output that is the embedding.
        pool: how an output that is a map becomes one vector; None: it is no map.
        axes: axes that pooling removes, as the network counts them.
        logits: name of the output that has a number for each label, before any sigmoid or softmax;
            empty: there is none.
        labels: names of the logits [L].
        activation: what turns the logits into probabilities.
    """

    path: Path
    name: str
    licence: str
    source: str
    citation: str
    network: Path
    sha256: str
    input_name: str
    sample_rate: int
    segments: SegmentSpec
    layout: Layout
    scale: float
    normalise: Normalise
    embedding: str
    pool: Pool | None
    axes: tuple[int, ...]
    logits: str
    labels: tuple[str, ...]
    activation: Activation

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are wanted: the embedding, then the logits."""
        return (self.embedding, self.logits) if self.logits else (self.embedding,)

    def facts(self) -> dict[str, Any]:
        """What is kept beside its vectors, as JSON values.

        Of the labels only their number is kept, since there may be ten thousand.
        """
        values = asdict(self)
        del values["path"], values["segments"]  # which may differ, and are told elsewhere
        return values | {
            "network": self.network.name,
            "axes": list(self.axes),
            "labels": len(self.labels),
        }

    def read_network(self) -> bytes:
        """The content of the network's file.

        Raises:
            ModelFolderError: it cannot be read, or is not the one described.
        """
        try:
            content = self.network.read_bytes()
        except OSError as error:
            raise ModelFolderError(f"{self.network}: cannot be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if self.sha256 and found != self.sha256:
            raise ModelFolderError(
                f"{self.network}: not the file that {self.path} describes: its SHA-256 is {found},"
                f" expected {self.sha256}"
            )
        return content


def is_description(path: Path) -> bool:
    """Whether a path names somebody else's extractor, and not a model folder."""
    if path.suffix == ".toml" and not path.is_dir():
        return True
    return (path / EXTRACTOR).exists() and not (path / CONFIG).exists()


def read_description(path: Path) -> Description:
    """Read an `extractor.toml`, given by its path or by its folder.

    Raises:
        ModelFolderError: it cannot be read, or a key of it is missing, unknown or wrong.
    """
    path = path / EXTRACTOR if path.is_dir() else path
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFolderError(
            f"{path}: there is no such file; an extractor is named by its {EXTRACTOR}, or by the"
            " folder that holds one"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return _description(path, _typed(values))
    except UsageError as error:
        raise ModelFolderError(f"{path}: {error}") from error


def _description(path: Path, values: Mapping[str, Mapping[str, Any]]) -> Description:
    about, network, heard, given = (values[table] for table in KEYS)
    sha256 = network.get("sha256", "").lower()
    if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise UsageError(f"[network] sha256: expected 64 hexadecimal digits, found {sha256!r}")
    if not 1000 <= heard["sample_rate"] <= 1_000_000:
        raise UsageError(
            f"[input] sample_rate: expected from 1000 to 1000000 a second, found"
            f" {heard['sample_rate']}"
        )
    if heard.get("scale", 1.0) <= 0:
        raise UsageError(f"[input] scale: expected a number above 0, found {heard['scale']}")
    if ("pool" in given) != ("axis" in given):
        raise UsageError("[output] pool and axis: expected both, or none")
    if not ("logits" in given) == ("labels" in given) == ("label_column" in given):
        raise UsageError("[output] logits, labels and label_column: expected all three, or none")
    activation = given.get("activation", Activation.SIGMOID)
    if activation is Activation.NONE or ("activation" in given and "logits" not in given):
        raise UsageError('[output] activation: expected "sigmoid" or "softmax", with logits')
    window_s = heard["window_s"]
    try:
        segments = SegmentSpec(duration_s=window_s, hop_s=heard.get("hop_s", window_s))
    except UsageError as error:
        raise UsageError(f"[input] window_s and hop_s: {error}") from error
    folder = path.parent
    layout = heard["layout"]
    return Description(
        path=path,
        **{key: about.get(key, "") for key in KEYS[""]},
        network=_inside(folder, network["file"], "[network] file"),
        sha256=sha256,
        input_name=heard["name"],
        sample_rate=heard["sample_rate"],
        segments=segments,
        layout=layout,
        scale=heard.get("scale", 1.0),
        normalise=heard.get("normalise", Normalise.NONE),
        embedding=given["embedding"],
        pool=given.get("pool"),
        axes=_axes(given.get("axis", ()), layout),
        logits=given.get("logits", ""),
        labels=_labels(folder, given) if "labels" in given else (),
        activation=activation,
    )


def _typed(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a file, checked and converted; the keys before any table are under ""."""
    typed: dict[str, dict[str, Any]] = {}
    tables = set(KEYS) - {""}
    for table, known in KEYS.items():
        there = values.get(table, {}) if table else dict(values)
        if not isinstance(there, dict):
            raise UsageError(f"{table}: expected a table [{table}], found {there!r}")
        place = f"[{table}] " if table else ""
        found = {key: value for key, value in there.items() if table or key not in tables}
        for key in found:
            if key not in known:
                raise UsageError(f"{place}{key}: no such key{choices(key, known)}")
        for key in known:
            if key in REQUIRED[table] and key not in found:
                raise UsageError(f"{place}{key}: is missing")
        typed[table] = {key: _value(value, known[key], place + key) for key, value in found.items()}
    return typed


def _value(value: Any, kind: type, place: str) -> Any:
    if issubclass(kind, StrEnum):
        try:
            return kind(value)
        except ValueError as error:
            there = ", ".join(f'"{choice}"' for choice in kind)
            raise UsageError(f"{place}: expected one of {there}, found {value!r}") from error
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    if kind is str and isinstance(value, str) and _is_text(value):
        return value
    if kind is int and whole:
        return value
    if kind is float and number and isfinite(value):
        return float(value)
    if kind is tuple:
        axes = value if isinstance(value, list) else [value]
        if axes and all(type(axis) is int and axis >= 0 for axis in axes):
            return tuple(axes)
    raise UsageError(f"{place}: expected {WORDS[kind]}, found {value!r}")


def _is_text(value: str) -> bool:
    return bool(value.strip()) and value.isprintable()


def _axes(axes: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    if len(set(axes)) < len(axes) or (0 in axes and layout is not Layout.SAMPLES):
        raise UsageError(
            f"[output] axis: expected other axes than that of the batch, each once, found"
            f" {list(axes)}"
        )
    return axes


def _inside(folder: Path, name: str, place: str) -> Path:
    """A file of the folder; its name came with the folder, which is not trusted."""
    # As Windows reads it: there a backslash separates as well, and C:x leads elsewhere.
    pure = PureWindowsPath(name)
    path = folder / name
    if pure.anchor or ".." in pure.parts:
        raise UsageError(f"{place}: expected a file in the folder of {EXTRACTOR}, found {name!r}")
    try:
        there = path.is_file()
    except OSError as error:
        raise UsageError(f"{place}: {words(error)}") from error
    if not there:
        raise UsageError(f"{place}: there is no file {path}")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{place}: {path} is a link out of the folder of {EXTRACTOR}")
    return path


def _labels(folder: Path, given: Mapping[str, Any]) -> tuple[str, ...]:
    path = _inside(folder, given["labels"], "[output] labels")
    column = given["label_column"]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            headings = list(reader.fieldnames or ())
            if column not in headings:
                raise UsageError(
                    f"[output] label_column: {path} has no column {column!r}"
                    f"{choices(column, headings)}"
                )
            labels = tuple((row[column] or "").strip() for row in reader)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"[output] labels: {path} cannot be read as CSV: {error}") from error
    if not labels or len(set(labels)) < len(labels) or not all(map(_is_text, labels)):
        raise UsageError(f"[output] labels: {path} has none, one twice, or one that is no text")
    return labels
