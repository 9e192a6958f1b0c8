"""A network while it learns from lessons: it moves on step by step, and to disk and back."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from embedkit import metrics
from embedkit.config import Precision
from embedkit.errors import EmbedkitError
from embedkit.models.module import ExtractorModule
from embedkit.recipe import DistilSpec
from embedkit.training.folder import History, take_state, write_history, write_state
from embedkit.training.goals import Goals
from embedkit.training.lessons import Lesson

WARM_UP, FLAT, LEAST = 0.06, 0.5, 0.002  # of the steps; of them too; of the learning rate
CLIPPED = 5.0  # norm of the gradients
DIVERGED = 10.0  # times the loss at the beginning


class Learner:
    """The state of a distillation on the way.

    Attributes:
        extractor: the network that learns.
        goals: what it learns.
        step: number of its steps.
        history: the figures of each checkpoint.
    """

    def __init__(
        self, extractor: ExtractorModule, goals: Goals, spec: DistilSpec, folder: Path
    ) -> None:
        self.extractor, self.goals, self.spec, self.folder = extractor, goals, spec, folder
        self.step = 0
        self.history: History = []
        self._first_loss = math.inf
        self._learned = [*extractor.network.embedding.parameters(), *goals.parameters()]
        self._optimizer = AdamW(
            self._learned, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )

    @torch.no_grad()
    def begin(self, lessons: Sequence[Lesson]) -> None:
        """Take the means and deviations of features and targets from some lessons."""
        features = torch.cat([lesson.features for lesson in lessons])
        deviation, mean = torch.std_mean(features, dim=(0, 1, 2), correction=0)
        self.extractor.mean.copy_(mean)
        self.extractor.std.copy_(deviation.clamp(min=1e-4))
        self.goals.begin(lessons)

    def learn(self, lesson: Lesson) -> float:
        """Make a step; gives the loss before it.

        Raises:
            EmbedkitError: the training diverged.
        """
        self.extractor.train()
        rate = learning_rate(self.spec, self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(lesson)
        value = float(loss.detach())
        if self.step == 0:
            self._first_loss = value
        if not value < DIVERGED * self._first_loss:
            raise EmbedkitError(
                f"the training diverged (loss {value:.3g} after"
                f" {self.step * self.spec.batch_size:,} segments, {self._first_loss:.3g} at the"
                f" beginning): try a lower learning rate than {self.spec.learning_rate:g}"
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._learned, CLIPPED)
        self._optimizer.step()
        self.step += 1
        return value

    def _loss(self, lesson: Lesson) -> Tensor:
        low = self.spec.precision is Precision.BFLOAT16
        with torch.autocast(lesson.features.device.type, torch.bfloat16, enabled=low):
            embedding = self._embed(lesson.features)
            loss: Tensor = self.goals(embedding, lesson)
        return loss

    def _embed(self, features: Tensor) -> Tensor:
        embedding: Tensor = self.extractor.network.embedding(self.extractor.normalise(features))
        return embedding.float()

    @torch.no_grad()
    def examine(self, lessons: Sequence[Lesson]) -> dict[str, float]:
        """Figures on lessons that it has not learned from.

        Returns:
            the loss; for each target the share of its variance that is explained (R2), from the
                whole embedding and from each prefix; and how well the names that teachers give
                (`TOP` of each scene) are ranked, as mean average precision over names.
        """
        self.extractor.eval()
        embeddings = [self._embed(lesson.features) for lesson in lessons]
        counts = np.array([len(lesson.features) for lesson in lessons])
        losses = [
            float(self.goals(embedding, lesson))
            for embedding, lesson in zip(embeddings, lessons, strict=True)
        ]
        figures = {"validation_loss": float(np.average(losses, weights=counts))}
        embedding = torch.cat(embeddings)
        wanted = torch.cat([self.goals.wanted(lesson) for lesson in lessons])
        *prefixes, whole = self.goals.explained(embedding, wanted)
        figures |= {f"validation_r2_{name}": value for name, value in whole.items()}
        for size, explained in zip(self.goals.sizes, prefixes, strict=False):
            figures |= {f"r2_{name}_at_{size}": value for name, value in explained.items()}
        agreement = [
            metrics.mean_average_precision(given.cpu().numpy(), scores.cpu().numpy())
            for given, scores in self.goals.named(embedding, lessons)
        ]
        if agreement:
            figures["validation_map"] = float(np.mean(agreement))
        return figures

    def save(self, record: dict[str, float]) -> None:
        """Write the model, the figures, and what is needed to go on."""
        self.history.append(record)
        self.extractor.save(self.folder, heads=False)
        write_history(self.folder, self.history)
        # Nothing drawn is kept: every lesson is drawn anew from its number.
        state = {
            "extractor": self.extractor.state_dict(),
            "goals": self.goals.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "first_loss": self._first_loss,
            "history": self.history,
        }
        write_state(self.folder, state)

    def restore(self) -> bool:
        """Go on where an interrupted training left a state; says whether there was one."""

        def take(state: dict[str, Any]) -> None:
            self.extractor.load_state_dict(state["extractor"])
            self.goals.load_state_dict(state["goals"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self._first_loss = state["step"], state["first_loss"]
            self.history = state["history"]

        return take_state(self.folder, self.extractor.mean.device, take)


def learning_rate(spec: DistilSpec, step: int) -> float:
    """The learning rate: it rises, is flat for half of the training, and falls along half a cosine.

    Args:
        spec: the recipe.
        step: number of the step, from 0 on.

    Returns:
        the learning rate.
    """
    part = (step + 1) / spec.steps
    if part < FLAT:
        return spec.learning_rate * min(1.0, part / WARM_UP)
    fall = (1 + math.cos(math.pi * (part - FLAT) / (1 - FLAT))) / 2
    return spec.learning_rate * max(LEAST, fall)
