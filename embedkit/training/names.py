"""Names for a model's vectors, learned from what a teacher calls the same sounds."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit.audio.files import find_audio
from embedkit.audio.segments import cut, stack
from embedkit.checkpoint import load_config
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.method import Scale
from embedkit.classifiers.mlp import PerceptronModel
from embedkit.errors import DatasetError, UsageError
from embedkit.extractor import Extractor
from embedkit.names.bundled import NAMES
from embedkit.progress import Track, untracked
from embedkit.training.fresh import package
from embedkit.training.pool import FULL_SCALE, SOUNDS, Failure, Pool, gather
from embedkit.training.teachers import Teacher

log = logging.getLogger(__name__)

HEARD_S = 10.0  # of a sound at a time: a teacher is the surer, the longer it hears
MOST = 20_000  # stretches that are heard; of more, a sample
HELD_OUT = 8  # of so many packages one validates
UNITS = 384  # of the hidden layer
EPOCHS, BATCH = 30, 256
STEPS = 500  # at least, however few stretches there are
FEWER = 0.7  # of the batches have some of the segments of their stretches alone
LEARNING_RATE, DECAY, DROPOUT = 2e-3, 1e-2, 0.2


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Stretches of sound, as a model and a teacher hear them.

    Attributes:
        segments: vectors of the model for all segments of all stretches, float32 [segments, D].
        rows: numbers of each stretch's segments, int64 [n, most]; any number where it has fewer.
        seconds: real duration of these, float32 [n, most]; 0 where there is none.
        logits: logits of the teacher, float32 [n, names].
        held: which stretches are kept to validate with, bool [n].
    """

    segments: NDArray[np.float32]
    rows: NDArray[np.int64]
    seconds: NDArray[np.float32]
    logits: NDArray[np.float32]
    held: NDArray[np.bool_]

    def vectors(self, which: NDArray[np.integer], size: int, share: float = 1.0) -> Tensor:
        """Mean vectors of some stretches, over all or some of their segments.

        Args:
            which: numbers of the stretches [n].
            size: length of the vectors.
            share: the share of a stretch's segments that count.

        Returns:
            float32 [n, size].
        """
        seconds = torch.from_numpy(self.seconds[which])
        if share < 1:
            some = seconds * (torch.rand(seconds.shape) < share)
            # None is too few.
            seconds = torch.where(some.sum(dim=1, keepdim=True) > 0, some, seconds)
        segments = torch.from_numpy(self.segments[self.rows[which], :size])
        total = (segments * seconds[:, :, None]).sum(dim=1)
        return total / seconds.sum(dim=1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What the names of one size of vectors are worth on sounds that were held out.

    Attributes:
        size: length of the vectors.
        agreement: share of stretches whose likeliest name is the teacher's.
        within_5: share of stretches whose likeliest 5 names hold it.
        off: how far off probabilities are: the mean distance between ours and the teacher's, over
            probabilities in tenths, weighted by how many there are.
    """

    size: int
    agreement: float
    within_5: float
    off: float


def fit_names(
    model: Path,
    root: Path,
    teacher: Path,
    *,
    cache: Path,
    device: str = "cpu",
    workers: int = 1,
    seed: int = 0,
    track: Track = untracked,
) -> tuple[list[Fitted], list[Failure], int]:
    """Teach a model the names that a teacher gives, and write them into its folder.

    For each size of its vectors a network of one hidden layer learns the teacher's probabilities
    for up to 10 s of sound, from the model's mean vector of that sound or of a part of it. The
    teacher gives some names to anything ("Music"): the mean of each name over all sounds is
    therefore subtracted, and the mean number of names of a sound stays what the teacher says. Slope
    and offset of the logits are fitted on packages that were held out, so that probabilities are
    calibrated.

    Args:
        model: the model folder; `names/<size>/` in it is written anew.
        root: folder of audio: kind/package/..., or less.
        teacher: an `extractor.toml` of a network with logits, which takes sounds of any length.
        cache: folder that keeps the decoded sounds.
        device: where the teacher's network computes.
        workers: number of processes that decode.
        seed: seed of all draws.
        track: shows the progress.

    Returns:
        what the names of each size are worth; clips that gave no samples, or not all; and the
            number of clips.

    Raises:
        UsageError: the teacher gives no logits.
        ModelFolderError: the model or the teacher cannot be read, or the teacher does not take 10
            s.
        DatasetError: not one clip can be decoded, or all are in one package.
    """
    sizes = load_config(model).model.dims or (Extractor.load(model).embedding_size,)
    extractor = Extractor.load(model, dim=sizes[-1])
    rate = extractor.sample_rate
    listener = Teacher(teacher, rate, round(rate * HEARD_S), device)
    if not listener.labels:
        raise UsageError(f"{teacher}: this extractor gives no logits, which names are learned from")
    paths = find_audio(root).paths
    pool = gather(root, paths, cache / SOUNDS, rate, workers=workers, track=track)
    heard = hear(root, pool, extractor, listener, np.random.default_rng(seed), device, track)
    wanted = Wanted.of(heard.logits[~heard.held])
    fitted = []
    for size in track(sizes, "Fitting", len(sizes)):
        torch.manual_seed(seed)
        network = _fit(heard, wanted, size)
        names = Classifier(
            labels=listener.labels,
            several_labels=True,
            fingerprint=extractor.fingerprint,
            size=size,
            model=network,
        )
        names.save(model / NAMES / str(size))
        fitted.append(_judge(size, network, heard, wanted))
        log.info(
            "%d numbers: the teacher's likeliest name %.1f %%, among the likeliest five %.1f %%;"
            " probabilities are off by %.3f",
            size, 100 * fitted[-1].agreement, 100 * fitted[-1].within_5, fitted[-1].off,
        )  # fmt: skip
    return fitted, pool.failures, len(paths)


def hear(
    root: Path,
    pool: Pool,
    extractor: Extractor,
    teacher: Teacher,
    rng: np.random.Generator,
    device: str,
    track: Track,
) -> Heard:
    """Let the model and the teacher hear stretches of up to 10 s of the sounds of a pool.

    If there are more than 20,000 stretches, 20,000 are drawn at random.

    Args:
        root: folder of audio, for messages.
        pool: the sounds.
        extractor: the model.
        teacher: the teacher.
        rng: decides all draws.
        device: where the teacher's network computes.
        track: shows the progress.

    Returns:
        the stretches.

    Raises:
        DatasetError: all sounds are in one package.
    """
    rate = extractor.sample_rate
    least, most = round(rate * extractor.segments.duration_s), round(rate * HEARD_S)
    spans = [
        (clip, start, min(start + most, int(pool.starts[clip + 1])))
        for clip in np.flatnonzero(pool.lengths)
        # What is left behind the last whole stretch is heard if it is a segment long.
        for start in range(
            int(pool.starts[clip]),
            max(int(pool.starts[clip]) + 1, int(pool.starts[clip + 1]) - least),
            most,
        )
    ]
    if len(spans) > MOST:
        spans = [spans[index] for index in np.sort(rng.choice(len(spans), MOST, replace=False))]
    packages = [package(pool.names[clip]) for clip, _, _ in spans]
    known = sorted(set(packages))
    if len(known) < 2:
        raise DatasetError(
            f"{root}: expected sounds in two folders or more, as names are judged on a folder that"
            f" they were not learned from; found all in {known[0] or 'one'}"
        )
    held = set(rng.permutation(known)[: max(1, len(known) // HELD_OUT)].tolist())
    samples = pool.open()
    seconds: list[list[float]] = []
    segments: list[NDArray[np.float32]] = []
    logits: list[NDArray[np.float32]] = []
    for _, first, last in track(spans, "Hearing", len(spans)):
        sound = samples[first:last].astype(np.float32) / np.float32(FULL_SCALE)
        mine = list(cut([sound], extractor.segments, rate))
        segments.append(extractor.embed_segments(stack(mine)))
        seconds.append([segment.end_s - segment.start_s for segment in mine])
        padded = np.pad(sound, (0, max(0, least - len(sound))))
        with torch.no_grad():
            _, named = teacher.hear(torch.from_numpy(padded[None]).to(device))
        assert named is not None  # it has labels
        logits.append(named[0].cpu().numpy())
    counts = np.array([len(each) for each in seconds])
    place = np.arange(counts.max())
    rows = (np.cumsum(counts) - counts)[:, None] + place
    there = place < counts[:, None]
    filled = np.zeros(there.shape, np.float32)
    filled[there] = [each for mine in seconds for each in mine]
    return Heard(
        segments=np.concatenate(segments),
        rows=np.where(there, rows, 0),
        seconds=filled,
        logits=np.array(logits),
        held=np.array([name in held for name in packages]),
    )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The targets of the names' logits.

    Attributes:
        mean, scale: of the teacher's logits over training stretches, both float32 [names].
        offset: is subtracted from every logit less its mean, so that the teacher's probabilities
            add up to as many names for a stretch as before.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset: float

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> "Wanted":
        """Measure the teacher's logits [n, names]."""
        found = Scale.of(logits)
        mean, scale = found.mean.astype(np.float32), found.scale.astype(np.float32)
        number = expit(logits).sum(axis=1).mean()
        offset = brentq(
            lambda offset: expit(logits - mean - offset).sum(axis=1).mean() - number, -50.0, 50.0
        )
        return cls(mean=mean, scale=scale, offset=float(offset))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The teacher's probabilities, as if all names were equally common [n, names]."""
        return expit(logits.astype(np.float64) - self.mean - self.offset)


def _fit(heard: Heard, wanted: Wanted, size: int) -> PerceptronModel:
    """A network that gives the teacher's probabilities for the first numbers of vectors."""
    training, held = np.flatnonzero(~heard.held), np.flatnonzero(heard.held)
    scale = Scale.of(heard.vectors(training, size).numpy())
    mean, deviation = (torch.from_numpy(each).float() for each in (scale.mean, scale.scale))
    # Its outputs are logits less their mean, in deviations: so names begin as likely as they are.
    spread = torch.from_numpy(wanted.scale)
    hidden, output = nn.Linear(size, UNITS), nn.Linear(UNITS, len(spread))
    network = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(DROPOUT), output)
    likely = torch.from_numpy(wanted.probabilities(heard.logits).astype(np.float32))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    batches = math.ceil(len(training) / BATCH)
    epochs = max(EPOCHS, math.ceil(STEPS / batches))
    steps = epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1)
    for _ in range(epochs):
        order = torch.randperm(len(training)).numpy()
        for start in range(0, len(order), BATCH):
            batch = training[order[start : start + BATCH]]
            share = 1.0 if torch.rand(()) > FEWER else float(torch.rand(()))
            inputs = (heard.vectors(batch, size, share) - mean) / deviation
            said = network(inputs) * spread - wanted.offset
            loss = len(spread) * F.binary_cross_entropy_with_logits(said, likely[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        inputs = (heard.vectors(held, size) - mean) / deviation
        said = network.eval()(inputs) * spread - wanted.offset
    slope, offset = _calibrate(said.numpy(), likely[held].numpy())
    weights, bias = (
        (values.detach() * spread).numpy() for values in (output.weight.T, output.bias)
    )
    return PerceptronModel(
        mean=mean.numpy(),
        scale=deviation.numpy(),
        hidden=hidden.weight.T.detach().numpy().astype(np.float16),
        hidden_bias=hidden.bias.detach().numpy(),
        weights=(slope * weights).astype(np.float16),
        bias=(slope * (bias - wanted.offset) + offset).astype(np.float32),
        several_labels=True,
    )


def _calibrate(logits: NDArray[np.float32], wanted: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of logits [n, names] under which probabilities are likeliest."""

    def loss(line: NDArray[np.float64]) -> float:
        said = line[0] * logits + line[1]
        return float((np.logaddexp(0, said) - wanted * said).mean())

    slope, offset = minimize(loss, (1.0, 0.0), method="Nelder-Mead").x
    return float(slope), float(offset)


def _judge(size: int, network: PerceptronModel, heard: Heard, wanted: Wanted) -> Fitted:
    """Figures on the held-out stretches."""
    held = np.flatnonzero(heard.held)
    said = network.scores(heard.vectors(held, size).numpy())
    truth = wanted.probabilities(heard.logits[held])
    first = truth.argmax(axis=1)[:, None]
    order = np.argsort(-said, axis=1)[:, :5]
    tenths = np.minimum((said * 10).astype(int), 9)
    off = 0.0
    likely = said >= 0.1  # nearly all are below, and right to be
    for tenth in range(1, 10):
        here = tenths == tenth
        if here.any():
            off += abs(float(said[here].sum() - truth[here].sum()))
    return Fitted(
        size=size,
        agreement=float((order[:, :1] == first).mean()),
        within_5=float((order == first).any(axis=1).mean()),
        off=off / max(1, int(likely.sum())),
    )
