"""Lessons: batches of fresh scenes, as the network hears them, with what its teachers say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from embedkit.training.fresh import FreshScenes
from embedkit.training.teachers import Teacher

COEFFICIENTS = 20  # of the MFCC that are a target


@dataclass(frozen=True)
class Lesson:
    """One batch.

    Attributes:
        features: float32 [B, 1, frames, bands].
        vectors: the vectors of each target [B, size].
    """

    features: Tensor
    vectors: list[Tensor]


class Lessons:
    """Makes lessons by number; the same number gives the same one."""

    def __init__(
        self,
        scenes: FreshScenes,
        teachers: Sequence[Teacher],
        front_end: nn.Module,
        *,
        seed: int,
        mfcc: bool,
    ) -> None:
        """Prepare lessons.

        Args:
            scenes: the scenes.
            teachers: each one's embedding is a target, and its logits if it has any.
            front_end: the network's features: [B, samples] -> [B, 1, frames, bands].
            seed: seed of all lessons.
            mfcc: whether statistics of MFCC are the last target.
        """
        self.scenes, self.teachers, self.front_end = scenes, teachers, front_end
        self.seed, self.mfcc = seed, mfcc

    @torch.no_grad()
    def make(self, number: int, count: int) -> Lesson:
        """Make a lesson.

        Args:
            number: number of the lesson.
            count: number of its scenes.

        Returns:
            the lesson, the same for the same number.
        """
        # As many bits as a generator takes, other ones for each pair.
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1, np.uint64)[0])
        scenes = self.scenes.draw(seed % 2**63, count)
        features = self.front_end(scenes[:, self.scenes.heard])
        vectors: list[Tensor] = []
        for teacher in self.teachers:
            vectors += (vector for vector in teacher.hear(scenes) if vector is not None)
        if self.mfcc:
            vectors.append(mfcc_statistics(features))
        return Lesson(features, vectors)


def mfcc_statistics(features: Tensor) -> Tensor:
    """Mean and deviation of MFCC over time, and the deviation of their change: [B, 3 n].

    Teachers of names pay little attention to voices and pitch; these statistics tell of both.

    Args:
        features: log-mel [B, 1, frames, bands].
    """
    bands = features.shape[3]
    # Column k of the orthonormal DCT-II is the transform of a unit impulse at band k.
    matrix = dct(np.eye(bands, dtype=np.float32), norm="ortho")[:, :COEFFICIENTS]
    series = features[:, 0] @ torch.from_numpy(np.ascontiguousarray(matrix)).to(features)
    change = series[:, 2:] - series[:, :-2]
    return torch.cat([series.mean(dim=1), series.std(dim=1), change.std(dim=1)], dim=1)
