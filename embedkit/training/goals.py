"""What a network shall give from each prefix of its embedding, by heads that are thrown away."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit.config import Loss, TargetSpec
from embedkit.recipe import Heads
from embedkit.training.lessons import Lesson
from embedkit.training.objective import FAR

HIDDEN = 1024
SURE = 1e-4  # a name's mean probability is at least so far from 0 and 1
TOP = 3  # names that a teacher is taken to give


@dataclass(frozen=True)
class Target:
    """One of a lesson's vectors.

    Attributes:
        spec: what it is.
        names: whether its numbers are logits of names.
    """

    spec: TargetSpec
    names: bool = False


class Goals(nn.Module):
    """Heads on each prefix of an embedding, and the loss of what they give.

    Each number of a target is standardised. Names are also learned as what they are, probabilities,
    by a linear layer: it makes the embedding such that they can be read off it.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, targets: Sequence[Target], sizes: Sequence[int], heads: Heads, names_weight: float
    ) -> None:
        """Begin with random heads.

        Args:
            targets: of a lesson, in its order.
            sizes: of the embedding: its prefixes that are embeddings of their own.
            heads: of which kind.
            names_weight: of the cross-entropy of names.
        """
        super().__init__()
        self.targets, self.sizes, self.names_weight = targets, sizes, names_weight
        self.parts = [target.spec.size for target in targets]
        outputs = sum(self.parts)
        self.heads = nn.ModuleList(_head(size, outputs, heads) for size in sizes)
        self.readers = nn.ModuleList(
            nn.ModuleList(nn.Linear(size, target.spec.size) for target in targets if target.names)
            for size in sizes
        )
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    @torch.no_grad()
    def begin(self, lessons: Sequence[Lesson]) -> None:
        """Take the targets' means and deviations from some lessons."""
        vectors = torch.cat([torch.cat(lesson.vectors, dim=1) for lesson in lessons]).double()
        deviation = vectors.std(dim=0)
        # A number that never changes is wanted as 0.
        deviation[deviation < 1e-6 * deviation.max()] = 1
        self.mean.copy_(vectors.mean(dim=0))
        self.deviation.copy_(deviation)
        for number, logits in enumerate(self._names(vectors)):
            usual = logits.sigmoid().mean(dim=0).clamp(SURE, 1 - SURE).logit()
            for readers in self.readers:
                readers[number].bias.copy_(usual)  # type: ignore[index, union-attr]

    def wanted(self, lesson: Lesson) -> Tensor:
        """All targets of a lesson, standardised [B, outputs]."""
        vectors = torch.cat(lesson.vectors, dim=1)
        return ((vectors - self.mean) / self.deviation).clamp(-FAR, FAR)

    def forward(self, embedding: Tensor, lesson: Lesson) -> Tensor:
        """The loss of embeddings [B, D], a mean over the prefixes."""
        wanted = self.wanted(lesson).split(self.parts, dim=1)
        chances = [logits.sigmoid() for logits in self._names(torch.cat(lesson.vectors, dim=1))]
        loss = embedding.new_zeros(())
        for size, head, readers in zip(self.sizes, self.heads, self.readers, strict=True):
            prefix = embedding[:, :size]
            found = head(prefix).float().split(self.parts, dim=1)
            for target, one, other in zip(self.targets, found, wanted, strict=True):
                loss = loss + target.spec.weight * _loss(target.spec.loss, one, other)
            named = [target for target in self.targets if target.names]
            for target, reader, chance in zip(named, readers, chances, strict=True):  # type: ignore[arg-type]
                entropy = F.binary_cross_entropy_with_logits(reader(prefix).float(), chance)
                loss = loss + self.names_weight * target.spec.weight * entropy
        return loss / len(self.sizes)

    def _names(self, vectors: Tensor) -> list[Tensor]:
        """The logits among all targets [B, outputs]."""
        parts = vectors.split(self.parts, dim=1)
        return [part for target, part in zip(self.targets, parts, strict=True) if target.names]


def _head(size: int, outputs: int, kind: Heads) -> nn.Module:
    if kind is Heads.LINEAR:
        return nn.Linear(size, outputs)
    return nn.Sequential(nn.Linear(size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs))


def _loss(kind: Loss, found: Tensor, wanted: Tensor) -> Tensor:
    if kind is Loss.COSINE:
        return 1 - F.cosine_similarity(found, wanted, dim=1).mean()
    return F.mse_loss(found, wanted)
