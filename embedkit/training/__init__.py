"""Training an extractor: the features of every clip, the augmentations, the loop."""

from embedkit.training.distillation import distil
from embedkit.training.loop import Trained, train
from embedkit.training.on_the_way import distil_on_the_way

__all__ = ["Trained", "distil", "distil_on_the_way", "train"]
