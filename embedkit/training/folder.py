"""The model folder during a training: begun, gone on with, and finished."""

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from embedkit.atomic import atomic_write
from embedkit.checkpoint import CONFIG, ModelConfig, load_config
from embedkit.config import difference
from embedkit.datasets import Manifest
from embedkit.errors import ModelFolderError, UsageError
from embedkit.export import write_network
from embedkit.labels.stretches import Rule
from embedkit.models.module import ExtractorModule
from embedkit.pages.plots import save_png, training_curves
from embedkit.training.card import write_card

METRICS, CURVES, STATE = "metrics.jsonl", "curves.png", "state.pt"
SCRATCH = "training"  # sounds, features and state of a training under way, in the model folder

History = list[dict[str, float]]


def check_folder(folder: Path, config: ModelConfig, resume: bool) -> bool:
    """Refuse to overwrite a model, or to resume one with other settings.

    Args:
        folder: the model folder.
        config: settings of the model.
        resume: whether an unfinished training is to go on.

    Returns:
        whether it holds a finished training of this model.

    Raises:
        UsageError: it holds another model, or one that is not to be resumed.
    """
    scratch = folder / SCRATCH
    known = next((path for path in (scratch, folder) if (path / CONFIG).exists()), None)
    if known is not None:
        if not resume:
            raise UsageError(
                f"{folder}: holds a model or an unfinished training; resume it or choose another"
                " folder"
            )
        found = load_config(known).to_dict()
        found.pop("embedkit_version")
        if odd := difference(found, {key: config.to_dict().get(key) for key in found}):
            raise UsageError(f"{folder}: cannot resume: {odd}")
    shutil.rmtree(_done(folder), ignore_errors=True)  # of a run killed at its end
    return known == folder


def begin(
    folder: Path, config: ModelConfig, parts: Sequence[Manifest], rule: Rule | None = None
) -> None:
    """Make the folder hold a training; what is refused earlier leaves it as it was.

    Args:
        folder: the model folder.
        config: settings of the model.
        parts: the clips that it is trained and validated with.
        rule: which segment has which label, where labels have times.

    Raises:
        UsageError: the training there began with other clips, or labels.
    """
    scratch = folder / SCRATCH
    said: list[object] = [[[str(clip.path), *clip.labels] for clip in part.clips] for part in parts]
    if any(part.is_marked for part in parts):
        said.append(repr(rule))
        said += [[repr(clip.stretches) for clip in part.clips] for part in parts]
    clips = json.dumps(said)
    record = scratch / "clips.json"
    if record.exists() and record.read_text() != clips:
        raise UsageError(f"{scratch}: the training there began with other clips, or labels")
    with atomic_write(scratch / CONFIG) as file:
        file.write(json.dumps(config.to_dict()).encode())
    with atomic_write(record) as file:
        file.write(clips.encode())


def write_history(folder: Path, history: History) -> None:
    """Write the figures so far to metrics.jsonl.

    Args:
        folder: the model folder.
        history: the figures.
    """
    with atomic_write(folder / METRICS) as file:
        file.write("".join(json.dumps(record) + "\n" for record in history).encode())


def read_history(folder: Path) -> History:
    """The figures so far, from metrics.jsonl."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Keep what is needed to go on.

    Args:
        folder: the model folder.
        state: values by name.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with atomic_write(folder / SCRATCH / STATE) as file:
        file.write(buffer.getbuffer())


def take_state(folder: Path, device: torch.device, take: Callable[[dict[str, Any]], None]) -> bool:
    """Go on from what was kept.

    Args:
        folder: the model folder.
        device: where the state's tensors shall be.
        take: is given the state.

    Returns:
        whether there was one.

    Raises:
        ModelFolderError: it cannot be read, or is of another training.
    """
    path = folder / SCRATCH / STATE
    if not path.exists():
        return False
    try:
        take(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # unpickling garbage raises nearly anything
        raise ModelFolderError(
            f"{path}: not a training's state ({type(error).__name__}); remove"
            f" {path.parent} to begin anew"
        ) from error
    return True


def finish(
    folder: Path,
    extractor: ExtractorModule,
    manifest: Manifest,
    counts: Mapping[str, int],
    history: History,
    kept: Mapping[str, float],
    *,
    export: bool,
) -> None:
    """Draw the curves, write the card, and remove what only a resumed training needs.

    Args:
        folder: the model folder, which holds the weights.
        extractor: the model with these weights.
        manifest: the clips that it was trained on.
        counts: number of clips and of segments, by name.
        history: the figures of all epochs.
        kept: the figures of the weights.
        export: whether to write the network for ONNX Runtime too.
    """
    save_png(training_curves(history), folder / CURVES)
    write_card(folder, extractor, manifest, counts, kept)
    if export:
        write_network(ExtractorModule.load(folder), folder)
    # Renamed first: half of a removed state must not look like a training to resume.
    shutil.rmtree((folder / SCRATCH).rename(_done(folder)))


def _done(folder: Path) -> Path:
    return folder / f".{SCRATCH}.done"
