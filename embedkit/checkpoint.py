"""The model folder, read and written without torch. Nothing in it can run code.

config.json               everything that the numbers depend on, but the weights
model.safetensors         the weights
network.onnx              features -> embeddings in float32, for ONNX Runtime
network-int8.onnx         the same, quantised; may be missing
calibration.safetensors   features of some training segments, to quantise for; may be missing
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embedkit import __version__
from embedkit.atomic import atomic_write
from embedkit.config import (
    Activation,
    FeatureSpec,
    FrontEnd,
    ModelSpec,
    SegmentSpec,
    TargetSpec,
    TrainSpec,
)
from embedkit.errors import EmbedkitError, ModelFolderError, UsageError
from embedkit.recipe import DistilSpec, TeacherSpec
from embedkit.untrusted import read_json

CONFIG, WEIGHTS, CALIBRATION = "config.json", "model.safetensors", "calibration.safetensors"
NETWORK, NETWORK_INT8 = "network.onnx", "network-int8.onnx"
FORMAT = 1
CALIBRATION_SEGMENTS = 256


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that a model's vectors depend on, except its weights."""

    model: ModelSpec
    features: FeatureSpec
    segments: SegmentSpec
    training: TrainSpec | DistilSpec
    activation: Activation
    labels: tuple[str, ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    teachers: tuple[TeacherSpec, ...] = ()  # that were heard on the way
    init: str = ""  # fingerprint of the weights that the training began with
    size: int | None = None  # of the embedding, where no other is asked for; None: the largest

    def __post_init__(self) -> None:
        if self.size is not None and self.size not in self.model.dims:
            raise UsageError(f"embedding size {self.size} is none of {self.model.dims}")
        outputs = len(self.labels) + sum(target.size for target in self.targets)
        if outputs != self.model.classes:
            raise UsageError(f"labels and targets for {outputs} of {self.model.classes} outputs")
        if bool(self.labels) == (self.activation is Activation.NONE):
            raise UsageError(f"{len(self.labels)} labels and activation {self.activation}")
        length, _ = self.segments.samples(self.features.sample_rate)
        if self.features.kind is not FrontEnd.CQT and self.features.n_fft // 2 >= length:
            raise UsageError(f"an FFT of {self.features.n_fft} in segments of {length} samples")
        window_s = self.features.cqt_window_s
        if self.features.kind is FrontEnd.CQT and window_s > self.segments.duration_s:
            raise UsageError(
                f"the lowest bin, at {self.features.min_hz:g} Hz, needs {window_s:.2f} s, segments"
                f" have {self.segments.duration_s:g} s: raise --min-hz or take fewer bins an octave"
            )

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Frames of a segment and features of a frame."""
        length, _ = self.segments.samples(self.features.sample_rate)
        return 1 + length // self.features.hop_length, self.features.size

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "embedkit_version": __version__,
            "model": self.model.to_dict(),
            "features": self.features.to_dict(),
            "segments": self.segments.to_dict(),
            "training": self.training.to_dict(),
            "activation": str(self.activation),
            "labels": list(self.labels),
            "targets": [target.to_dict() for target in self.targets],
            "init": self.init,
            "size": self.size,
        }
        if self.teachers:
            values["teachers"] = [teacher.to_dict() for teacher in self.teachers]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of to_dict."""
        return cls(
            model=ModelSpec.from_dict(values["model"]),
            features=FeatureSpec.from_dict(values["features"]),
            segments=SegmentSpec.from_dict(values["segments"]),
            training=(DistilSpec if values.get("teachers") else TrainSpec).from_dict(
                values["training"]
            ),
            activation=Activation(values["activation"]),
            labels=tuple(str(label) for label in values["labels"]),
            # Models of before there was distillation have none of these.
            targets=tuple(map(TargetSpec.from_dict, values.get("targets", ()))),
            teachers=tuple(map(TeacherSpec.from_dict, values.get("teachers", ()))),
            init=str(values.get("init", "")),
            size=values.get("size"),
        )


Weights = dict[str, NDArray[Any]]


def save_model(folder: Path, config: ModelConfig, weights: Weights) -> None:
    """Write a model folder; one that is there is replaced file by file.

    Args:
        folder: the model folder; it is made if it is not there.
        config: the model's settings.
        weights: float32 arrays by name.
    """
    with atomic_write(folder / WEIGHTS) as file:
        file.write(save({name: np.asarray(values, order="C") for name, values in weights.items()}))
    with atomic_write(folder / CONFIG) as file:
        file.write(json.dumps(config.to_dict(), indent=2, ensure_ascii=False).encode())


def load_model(folder: Path) -> tuple[ModelConfig, Weights]:
    """Read a model folder.

    Raises:
        ModelFolderError: a file is missing or damaged, or another version of embedkit wrote it.
    """
    config = load_config(folder)
    try:
        weights = load((folder / WEIGHTS).read_bytes())
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        raise ModelFolderError(f"{folder / WEIGHTS}: cannot be read: {error}") from error
    for name, values in weights.items():
        if np.iscomplexobj(values):
            raise ModelFolderError(
                f"{folder / WEIGHTS}: {name} holds complex numbers, expected real ones"
            )
    # Weights may be stored in half precision; everything computes in single.
    return config, {
        name: values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values
        for name, values in weights.items()
    }


def load_config(folder: Path) -> ModelConfig:
    """Read the settings of a model folder without its weights.

    Raises:
        ModelFolderError: it is no model folder, or its settings are damaged or of another version.
    """
    path = folder / CONFIG
    try:
        values = read_json(path)
        if values["format"] != FORMAT:
            raise ModelFolderError(
                f"{path}: format {values['format']}, this version of embedkit reads {FORMAT}"
            )
        return ModelConfig.from_dict(values)
    except FileNotFoundError as error:
        raise ModelFolderError(
            f"{folder}: not a model folder: it has no {CONFIG}. `embedkit train` makes one."
        ) from error
    except ModelFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError, OverflowError, EmbedkitError) as error:
        raise ModelFolderError(f"{path}: not a model's settings: {error}") from error


def count_parameters(folder: Path) -> int:
    """The number of parameters that training learned, of a model folder.

    Raises:
        ModelFolderError: it holds no weights, or damaged ones.
    """
    _, weights = load_model(folder)
    statistics = ("mean", "std", "running_mean", "running_var", "num_batches_tracked")
    return sum(
        values.size for name, values in weights.items() if name.rpartition(".")[2] not in statistics
    )


def save_calibration(folder: Path, features: NDArray[np.float32]) -> None:
    """Keep the features of some training segments, so that the network can be quantised later.

    Args:
        folder: the model folder.
        features: float32 [n, 1, frames, bands].
    """
    with atomic_write(folder / CALIBRATION) as file:
        file.write(save({"features": np.ascontiguousarray(features, np.float16)}))


def load_calibration(folder: Path) -> NDArray[np.float32]:
    """Features of training segments, [n, 1, frames, bands].

    Raises:
        ModelFolderError: the folder has none, or a damaged file of them.
    """
    path = folder / CALIBRATION
    try:
        return load(path.read_bytes())["features"].astype(np.float32)
    except FileNotFoundError as error:
        raise ModelFolderError(
            f"{folder}: has no {CALIBRATION}, a sample of its training segments; name a folder of"
            " audio like that it will hear with --calibration"
        ) from error
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        raise ModelFolderError(f"{path}: cannot be read: {error}") from error


def fingerprint(folder: Path) -> str:
    """SHA-256 of the weights file. Vectors of models with the same fingerprint can be compared.

    Raises:
        ModelFolderError: the file cannot be read.
    """
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(f"{folder / WEIGHTS}: cannot be read: {error}") from error
