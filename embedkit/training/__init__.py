"""Training an extractor: the features of every clip, the augmentations, the loop."""

from embedkit.training.distillation import distil
from embedkit.training.loop import Trained, train

__all__ = ["Trained", "distil", "train"]
