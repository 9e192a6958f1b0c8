"""What a network learns to give from each prefix of its embedding, by temporary heads."""

from collections.abc import Iterator, Sequence
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

Parts = tuple[Tensor, ...]  # of each target [B, numbers]


@dataclass(frozen=True)
class Target:
    """One of the vectors of a lesson.

    Attributes:
        spec: its settings.
        names: whether its numbers are logits of names.
    """

    spec: TargetSpec
    names: bool = False


class Goals(nn.Module):
    """Heads on each prefix of an embedding, and the loss of what they give.

    Each number of a target is standardised. Names are also learned as probabilities by a linear
    layer, so that they can be read off the embedding.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, targets: Sequence[Target], sizes: Sequence[int], heads: Heads, names_weight: float
    ) -> None:
        """Begin with random heads.

        Args:
            targets: the targets of a lesson, in its order.
            sizes: sizes of the embedding's prefixes that are embeddings of their own.
            heads: kind of heads; without any there is one target, of the size of the embedding.
            names_weight: weight of the cross-entropy of names.
        """
        super().__init__()
        self.targets, self.sizes, self.names_weight = targets, sizes, names_weight
        self._heads = heads
        self._named = [target for target in targets if target.names]
        self._parts = [target.spec.size for target in targets]
        self._name_parts = [target.spec.size for target in self._named]
        outputs, names = sum(self._parts), sum(self._name_parts)
        self.heads = nn.ModuleList(
            _head(size, outputs, heads) for size in sizes if heads is not Heads.NONE
        )
        self.readers = nn.ModuleList(nn.Linear(size, names) for size in sizes if names)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    @torch.no_grad()
    def begin(self, lessons: Sequence[Lesson]) -> None:
        """Take the targets' means and deviations from some lessons."""
        vectors = torch.cat([torch.cat(lesson.vectors, dim=1) for lesson in lessons])
        deviation, mean = torch.std_mean(vectors, dim=0, correction=0)
        # A number that never changes is wanted as 0.
        deviation[deviation < 1e-6 * deviation.max()] = 1
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        usual = self._logits(vectors).sigmoid().mean(dim=0).clamp(SURE, 1 - SURE).logit()
        for reader in self.readers:
            reader.get_parameter("bias").copy_(usual)

    def wanted(self, lesson: Lesson) -> Tensor:
        """All targets of a lesson, standardised [B, outputs]."""
        vectors = torch.cat(lesson.vectors, dim=1)
        return ((vectors - self.mean) / self.deviation).clamp(-FAR, FAR)

    def forward(self, embedding: Tensor, lesson: Lesson) -> Tensor:
        """The loss of embeddings, a mean over the prefixes.

        Args:
            embedding: [B, D].
            lesson: the targets.

        Returns:
            a scalar.
        """
        chances = self._logits(torch.cat(lesson.vectors, dim=1)).sigmoid()
        losses = []
        for found, wanted in self._compared(embedding, self.wanted(lesson)):
            losses += [
                target.spec.weight * _loss(target.spec.loss, one, other)
                for target, one, other in zip(self.targets, found, wanted, strict=True)
            ]
        for size, reader in zip(self.sizes, self.readers, strict=False):  # where there are names
            scores = reader(embedding[:, :size]).float()
            entropy = F.binary_cross_entropy_with_logits(scores, chances, reduction="none")
            losses += [
                self.names_weight * target.spec.weight * part.mean()
                for target, part in zip(
                    self._named, torch.split(entropy, self._name_parts, dim=1), strict=True
                )
            ]
        return torch.stack(losses).sum() / len(self.sizes)

    def explained(self, embedding: Tensor, wanted: Tensor) -> list[dict[str, float]]:
        """For each prefix and target the share of the target's variance that the heads give (R2).

        Args:
            embedding: [B, D].
            wanted: standardised [B, outputs].

        Returns:
            shares by the name of the target, for each prefix.
        """
        return [
            {
                target.spec.name: _explained(one, other)
                for target, one, other in zip(self.targets, *both, strict=True)
            }
            for both in self._compared(embedding, wanted)
        ]

    def _compared(self, embedding: Tensor, wanted: Tensor) -> Iterator[tuple[Parts, Parts]]:
        """For each prefix what it gives of the targets, and what of these it should give.

        Args:
            embedding: [B, D].
            wanted: of all targets [B, outputs]; without heads only the first numbers count, as many
                as the prefix has.
        """
        if self._heads is Heads.NONE:
            own = (embedding - self.mean) / self.deviation
            for size in self.sizes:
                yield (own[:, :size],), (wanted[:, :size],)
        for size, head in zip(self.sizes, self.heads, strict=False):
            given = head(embedding[:, :size]).float()
            yield torch.split(given, self._parts, dim=1), torch.split(wanted, self._parts, dim=1)

    def named(self, embedding: Tensor, lessons: Sequence[Lesson]) -> list[tuple[Tensor, Tensor]]:
        """The names that each teacher of names gives, and their scores by the whole embedding.

        Args:
            embedding: [B, D].
            lessons: what the teachers gave.

        Returns:
            for each teacher bool [B, n] and float [B, n], of the names that it gives somewhere and
                not everywhere.
        """
        if not self._named:
            return []
        vectors = torch.cat([torch.cat(lesson.vectors, dim=1) for lesson in lessons])
        scores = torch.split(self.readers[-1](embedding), self._name_parts, dim=1)
        found = []
        for logits, own in zip(
            torch.split(self._logits(vectors), self._name_parts, dim=1), scores, strict=True
        ):
            best = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
            given = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, best, True)
            there = given.any(dim=0) & ~given.all(dim=0)
            if there.any():
                found.append((given[:, there], own[:, there]))
        return found

    def _logits(self, vectors: Tensor) -> Tensor:
        """The logits of names [B, names] among all targets' numbers [B, outputs]."""
        parts = torch.split(vectors, self._parts, dim=1)
        mine = [part for target, part in zip(self.targets, parts, strict=True) if target.names]
        return torch.cat(mine, dim=1) if mine else vectors[:, :0]


def _head(size: int, outputs: int, kind: Heads) -> nn.Module:
    if kind is Heads.LINEAR:
        return nn.Linear(size, outputs)
    return nn.Sequential(nn.Linear(size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs))


def _explained(found: Tensor, wanted: Tensor) -> float:
    missed, there = (found - wanted).square(), (wanted - wanted.mean(dim=0)).square()
    return 1 - float(missed.sum() / there.sum().clamp(min=1e-12))


def _loss(kind: Loss, found: Tensor, wanted: Tensor) -> Tensor:
    if kind is Loss.COSINE:
        return 1 - F.cosine_similarity(found, wanted, dim=1).mean()
    return F.mse_loss(found, wanted)
