"""Training an extractor: the features of every clip, the augmentations, the loop."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.training.distillation import distil
    from embedkit.training.loop import Trained, train
    from embedkit.training.on_the_way import distil_on_the_way

__all__ = ["Trained", "distil", "distil_on_the_way", "train"]

# Imported when asked for: processes that decode, compute features or mix need no torch, which takes
# seconds to load.
_HOMES = {
    "Trained": "embedkit.training.loop",
    "distil": "embedkit.training.distillation",
    "distil_on_the_way": "embedkit.training.on_the_way",
    "train": "embedkit.training.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
