"""Teachers: others' extractors, heard while a network learns from them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from embedkit.checkpoint import CONFIG, load_config
from embedkit.errors import UsageError
from embedkit.recipe import TeacherSpec
from embedkit.runtime import prepare
from embedkit.runtime.foreign import Foreign, open_foreign
from embedkit.runtime.foreign_torch import ForeignModule
from embedkit.training.effects import resample

Hear = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class Teacher:
    """An extractor that tells what it hears in batches of sounds.

    Attributes:
        spec: its name, licence and source.
        size: size of its embedding.
        labels: names that it has logits for; may be empty.
    """

    def __init__(self, path: Path, sample_rate: int, samples: int, device: str) -> None:
        """Open it, and try it.

        Args:
            path: its `extractor.toml`, or a model folder.
            sample_rate: sample rate of what it will hear, which is converted to the teacher's own.
            samples: length of what it will hear.
            device: on a CPU ONNX Runtime computes, else torch.

        Raises:
            ModelFolderError: as for `open_foreign`; torch cannot compute its network; or it does
                not take this many samples.
            UsageError: a model folder's segments are not as long as what it will hear.
        """
        self._sample_rate = sample_rate
        opened = _open_own if (path / CONFIG).exists() else _open_foreign
        self.spec, self._own_rate, self.size, self.labels, self._hear = opened(
            path, samples / sample_rate, device
        )
        with torch.no_grad():
            self.hear(torch.linspace(-0.1, 0.1, 2 * samples, device=device).view(2, samples))

    def hear(self, sounds: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings [B, size], and logits [B, labels] if it has any, of sounds [B, samples]."""
        return self._hear(resample(sounds, self._sample_rate, self._own_rate))


class _Opened(NamedTuple):
    spec: TeacherSpec
    rate: int
    size: int
    labels: tuple[str, ...]
    hear: Hear


def _open_foreign(path: Path, seconds: float, device: str) -> _Opened:
    foreign = open_foreign(path)
    description = foreign.description
    with description.network.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
    spec = TeacherSpec(
        name=description.name,
        licence=description.licence,
        source=description.source,
        fingerprint=fingerprint,
    )
    cpu = torch.device(device).type == "cpu"
    hear = _by_onnx(foreign) if cpu else _by_torch(foreign, device)
    return _Opened(
        spec, description.sample_rate, foreign.embedding_size, tuple(foreign.labels), hear
    )


def _open_own(folder: Path, seconds: float, device: str) -> _Opened:
    """One of embedkit's models, with all numbers of its embedding."""
    config = load_config(folder)
    if seconds != config.segments.duration_s:
        raise UsageError(
            f"{folder}: it hears {config.segments.duration_s:g} s, and would have to hear"
            f" {seconds:g} s"
        )
    program = prepare(folder, device=device, dim=config.model.dim)
    embedder = program.start()

    def hear(sounds: Tensor) -> tuple[Tensor, None]:
        vectors = embedder.embed_segments(sounds.contiguous().cpu().numpy())
        return torch.from_numpy(vectors).to(sounds.device), None

    spec = TeacherSpec(name=folder.name, licence="", source="", fingerprint=program.fingerprint)
    return _Opened(spec, config.features.sample_rate, program.embedding_size, (), hear)


def _by_onnx(foreign: Foreign) -> Hear:
    def hear(sounds: Tensor) -> tuple[Tensor, Tensor | None]:
        embedding, logits = foreign.hear(sounds.contiguous().numpy())
        names = None if logits is None else torch.from_numpy(logits)
        return torch.from_numpy(embedding), names

    return hear


def _by_torch(foreign: Foreign, device: str) -> Hear:
    return ForeignModule(foreign.description).to(device).eval()


def open_teachers(
    paths: Sequence[Path], sample_rate: int, samples: int, device: str
) -> list[Teacher]:
    """Open several teachers, each under a name of its own.

    Args:
        paths: for each its `extractor.toml`, or a model folder.
        sample_rate: as for `Teacher`.
        samples: as for `Teacher`.
        device: as for `Teacher`.

    Returns:
        the teachers.

    Raises:
        ModelFolderError: as for `Teacher`.
        UsageError: as for `Teacher`, or two have the same name.
    """
    teachers = [Teacher(path, sample_rate, samples, device) for path in paths]
    names = [teacher.spec.name for teacher in teachers]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two teachers are called {name!r}; give one of them another name")
    return teachers
