"""One budget for all rows of a table: what is trained on, what is scored, with which recipe."""

import hashlib
import json
from pathlib import Path
from typing import Any

from embedkit.atomic import atomic_write
from embedkit.config import TrainSpec, difference
from embedkit.datasets import Clip, Manifest, split_validation
from embedkit.errors import UsageError


def trained_on(manifest: Manifest, spec: TrainSpec) -> tuple[Clip, ...]:
    """The clips that a network is trained on, and those that choose its best epoch.

    Args:
        manifest: all clips.
        spec: the recipe.

    Returns:
        the clips.
    """
    rest = manifest.without_fold(spec.hold_out_fold) if spec.hold_out_fold else manifest
    training, validation = split_validation(rest, spec.validation, spec.seed)
    return training.clips + validation.clips


def check_budget(folder: Path, spec: TrainSpec, manifest: Manifest) -> None:
    """Note the budget in a new folder; refuse a folder that was begun with another one.

    Args:
        folder: the folder of the table.
        spec: the recipe.
        manifest: the clips.

    Raises:
        UsageError: it was begun with another recipe or other data.
    """
    path = folder / "budget.json"
    asked: dict[str, Any] = {
        "training": spec.to_dict(),
        "data": {"labels": list(manifest.labels), "clips": _digest(manifest)},
    }
    if not path.exists():
        with atomic_write(path) as file:
            file.write(json.dumps(asked, indent=2).encode())
    if odd := difference(json.loads(path.read_bytes()), asked):
        raise UsageError(f"{folder}: a table that was begun with another budget: {odd}")


def _digest(manifest: Manifest) -> str:
    """A digest of the clips, their labels and their folds."""
    rows = [
        [clip.path.name, clip.labels, clip.fold, clip.split, clip.group] for clip in manifest.clips
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
