"""The training loop: one epoch after another, to disk and back."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam, Optimizer, lr_scheduler

from embedkit.config import Precision, Sampling, Schedule, TrainSpec
from embedkit.errors import EmbedkitError
from embedkit.models.module import ExtractorModule
from embedkit.progress import Track
from embedkit.training.augment import mix, spec_augment
from embedkit.training.folder import History, take_state, write_history, write_state
from embedkit.training.objective import Objective
from embedkit.training.parallel import Processes

log = logging.getLogger(__name__)


class Trainer:
    """The state of a training: it moves on by an epoch at a time, and to disk and back."""

    def __init__(
        self,
        extractor: ExtractorModule,
        objective: Objective,
        folder: Path,
        ranks: Processes,
        *,
        tensorboard: bool = False,
    ) -> None:
        """Begin.

        Args:
            extractor: has new weights, on its device.
            objective: what to learn, and on what.
            folder: the model folder.
            ranks: the processes that share the work.
            tensorboard: whether to write event files for TensorBoard.
        """
        self.extractor = extractor
        assert isinstance(extractor.config.training, TrainSpec)
        self.spec = extractor.config.training
        self.objective = objective
        self.training, self.validation = objective.training, objective.validation
        self.folder = folder
        self.ranks = ranks
        self.tensorboard = tensorboard
        self.history: History = []
        self.model = ranks.wrap(extractor.network)
        self.augment = spec_augment(self.spec)
        # Nearly equal batches: one of a single segment would break batch normalisation.
        self.steps = min(
            math.ceil(len(self.training) / self.spec.batch_size),
            len(self.training) // (2 * ranks.count),
        )
        self.optimizer = Adam(
            extractor.network.parameters(),
            lr=self.spec.learning_rate,
            betas=(self.spec.beta1, self.spec.beta2),
            weight_decay=self.spec.weight_decay,
            fused=True,  # one pass over weights, gradients and moments instead of ten
        )
        self.schedule = make_schedule(self.optimizer, self.spec, self.steps)

    def run_epoch(self, epoch: int, track: Track) -> None:
        """Learn from every segment, validate, and write what is needed to go on.

        Args:
            epoch: number of the epoch, from 1 on.
            track: shows the progress.
        """
        started = time.monotonic()
        # Seeded by the epoch, so that a resumed training draws what an uninterrupted one does; all
        # processes draw the same order, and augmentations and dropout of their own.
        torch.manual_seed(hash((self.spec.seed, epoch)))
        batches = self._order().tensor_split(self.steps)
        torch.manual_seed(hash((self.spec.seed, epoch, self.ranks.rank)))
        learning_rate = self.optimizer.param_groups[0]["lr"]
        self.extractor.train()
        total = 0.0
        following = [*batches[1:], batches[-1][:0]]
        steps = zip(batches, following, strict=True)
        for batch, after in track(steps, f"Epoch {epoch}/{self.spec.epochs}", self.steps):
            self.training.prefetch(self.ranks.share(after).numpy())  # while this one is learned
            total += self.step(batch)
        total = self.ranks.sum(total)
        if self.ranks.rank:
            return  # the first process validates and writes
        record = {
            "epoch": epoch,
            "learning_rate": learning_rate,
            # The mean over heads, which compares with the validation loss of one.
            "train_loss": total / len(self.training) / len(self.extractor.network.sizes),
            **self._validate(),
            "seconds": round(time.monotonic() - started, 2),
        }
        self._check_finite(record["validation_loss"])
        self.history.append(record)
        log.info(
            "epoch %d/%d: training loss %.3f, validation loss %.3f, %s, %.0f s",
            epoch,
            self.spec.epochs,
            record["train_loss"],
            record["validation_loss"],
            ", ".join(
                f"{name.removeprefix('validation_').replace('_', ' ')} {value:.3f}"
                for name, value in record.items()
                if name.startswith("validation_") and name != "validation_loss"
            ),
            record["seconds"],
        )
        self._save(is_best=best(self.history) == epoch)
        if self.tensorboard:
            from embedkit.training.tensorboard import write_record

            write_record(self.folder, record)

    def _order(self) -> Tensor:
        """The segments of an epoch, as they are drawn [segments]."""
        count = len(self.training)
        if self.spec.sampling is Sampling.UNIFORM:
            return torch.randperm(count)
        # A clip, then one of its segments, of which AudioSet has too many to be drawn from at once.
        clips, first, counts = np.unique(self.training.clip, return_index=True, return_counts=True)
        chance = self.objective.chances(clips)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        drawn = rng.choice(len(clips), size=count, p=chance / chance.sum())
        return torch.from_numpy(first[drawn] + rng.integers(counts[drawn]))

    def step(self, batch: Tensor) -> float:
        """Learn from a batch, segments by number; gives the sum of this process's losses."""
        own = self.ranks.share(batch).sort().values.numpy()
        features = torch.from_numpy(self.training.rows(own)).to(self.extractor.mean)
        wanted = torch.from_numpy(self.objective.wanted(own)).to(self.extractor.mean)
        features = self.augment(self.extractor.normalise(features))
        if self.spec.mixup:
            features, wanted = mix(features, wanted, self.spec.mixup)
        with torch.autocast(
            wanted.device.type, torch.bfloat16, enabled=self.spec.precision is Precision.BFLOAT16
        ):
            logits = self.model(features)
        # Summed over the prefixes of a Matryoshka embedding.
        loss = torch.stack([self.objective.loss(each.to(wanted), wanted) for each in logits]).sum()
        value = float(loss.detach())
        self._check_finite(value)
        self.optimizer.zero_grad()
        # Gradients are averaged over processes: this makes them those of the whole batch's mean.
        (loss * (self.ranks.count / len(batch))).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return value

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise EmbedkitError(
                f"the training diverged (loss {loss}): try a lower learning rate than"
                f" {self.spec.learning_rate}"
            )

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        self.extractor.eval()
        batches = self.validation.in_batches(self.spec.batch_size)
        return self.objective.figures(map(self._outputs, batches))

    def _outputs(self, features: NDArray[np.float32]) -> Tensor:
        """Activated outputs of the whole embedding."""
        normalised = self.extractor.normalise(torch.from_numpy(features).to(self.extractor.mean))
        return self.extractor.activate(self.extractor.network(normalised)[-1])

    def _save(self, is_best: bool) -> None:
        # The model goes first: if the state is lost, the epoch is repeated and gives the same one.
        if is_best:
            self.extractor.save(self.folder)
        write_history(self.folder, self.history)
        state = {
            "network": self.extractor.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }
        write_state(self.folder, state)

    def restore(self) -> None:
        """Go on where an interrupted training left a state, if it did."""

        def take(state: dict[str, Any]) -> None:
            self.extractor.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.history = state["history"]

        if take_state(self.folder, self.extractor.mean.device, take):
            log.info("resuming after epoch %d", len(self.history))


def make_schedule(optimizer: Optimizer, spec: TrainSpec, steps: int) -> lr_scheduler.LRScheduler:
    """The learning rate by optimiser step.

    Args:
        optimizer: its learning rate is set.
        spec: the recipe.
        steps: number of steps in an epoch.

    Returns:
        the scheduler.
    """
    total = steps * spec.epochs
    if spec.schedule is Schedule.HALVING:
        return lr_scheduler.StepLR(optimizer, spec.halve_every * steps, gamma=0.5)
    if spec.schedule is Schedule.ONE_CYCLE:
        # The betas stay the recipe's.
        return lr_scheduler.OneCycleLR(
            optimizer, spec.learning_rate, total_steps=total + 1, cycle_momentum=False
        )
    if spec.schedule is Schedule.COSINE:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


def best(history: History) -> int:
    """The epoch of the lowest validation loss."""
    return int(min(history, key=lambda record: record["validation_loss"])["epoch"])
