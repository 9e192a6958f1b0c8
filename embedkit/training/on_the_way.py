"""Distillation on the way: scenes are made, heard by teachers and by the network, and forgotten."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import distributed

from embedkit.audio.files import clip_name, find_audio
from embedkit.checkpoint import (
    CALIBRATION_SEGMENTS,
    ModelConfig,
    fingerprint,
    load_config,
    save_calibration,
)
from embedkit.config import (
    Activation,
    FeatureSpec,
    FrontEnd,
    Loss,
    ModelSpec,
    SegmentSpec,
    TargetSpec,
)
from embedkit.datasets import Manifest, split_validation
from embedkit.errors import DatasetError, UsageError, choices, require
from embedkit.memory import room_for
from embedkit.models.build import build_model
from embedkit.models.features import front_end
from embedkit.models.module import ExtractorModule, check_device
from embedkit.progress import untracked
from embedkit.recipe import DistilSpec, Heads
from embedkit.training.distillation import as_clip
from embedkit.training.folder import SCRATCH, begin, check_folder, finish, read_history
from embedkit.training.fresh import Chances, FreshScenes, chances, kind, package
from embedkit.training.goals import Goals, Target
from embedkit.training.learner import Learner, learning_rate
from embedkit.training.lessons import COEFFICIENTS, Lesson, Lessons
from embedkit.training.loop import Trained, check_init
from embedkit.training.pool import SOUNDS, Pool, gather
from embedkit.training.running import Running
from embedkit.training.teachers import Teacher, open_teachers

log = logging.getLogger(__name__)

HELD_OUT = 0.1  # of the packages
FRAMES = ("window_s", "hop_s", "n_fft")  # what an `init` may have others of
FIRST = 12  # lessons that tell the means and deviations
TRIED = 5  # steps that tell how long it takes; the first one, which builds much, is not counted
VALIDATION_SEED = 20  # another seed of a training is validated with the same scenes


def distil_on_the_way(
    root: Path,
    teachers: Sequence[Path],
    folder: Path,
    *,
    model: ModelSpec,
    features: FeatureSpec,
    segments: SegmentSpec,
    spec: DistilSpec,
    loss: Loss = Loss.MSE,
    weights: Sequence[float] = (),
    mfcc_weight: float = 0.5,
    init: Path | None = None,
    checkpoint_s: float = 300.0,
    checkpoint_segments: int | None = None,
    **running: Unpack[Running],
) -> Trained:
    """Train an extractor to give what teachers hear in scenes made of a folder's sounds.

    No scene is heard twice. Heads on the embedding, and on each of its prefixes that is an
    embedding of its own, learn the teachers' embeddings, their logits, and statistics of MFCC; they
    are thrown away at the end. Every few minutes the network is validated on fixed scenes of sounds
    that it never learns from, and the folder gets its weights and a state from which `resume`
    continues (on a CPU, to the bit).

    Args:
        root: folder of audio: kind/package/..., or less.
        teachers: an `extractor.toml`, or a model folder, for each.
        folder: the model folder.
        model: the network; its number of classes is that of the targets' numbers.
        features: the front-end.
        segments: the segments that the network hears.
        spec: the recipe.
        loss: the loss between a target and what a head gives for it.
        weights: weights of the teachers, in their order; by default all are the same.
        mfcc_weight: weight of the statistics of MFCC; 0: they are no target.
        init: a model folder to begin with instead of random weights. Its frames may differ: the
            network learns to hear in the new ones what it heard in its own.
        checkpoint_s: seconds between two checkpoints.
        checkpoint_segments: number of segments between them, instead.
        running: see `Running`; `cache` keeps the decoded sounds, `workers` decode them.

    Returns:
        what the training gave.

    Raises:
        UsageError: the folder has a model or a training already, or one with other settings; or a
            setting is out of range or does not fit the others.
        ModelFolderError: a teacher cannot be opened.
        DatasetError: there are too few sounds, or none that can be decoded.
        EmbedkitError: the training diverged, or there is too little memory for its batches.
    """
    device, track = running.get("device", "cpu"), running.get("track", untracked)
    around = _check(features, segments, spec, teachers, weights, mfcc_weight, running)
    _check_init(init, model, features, segments)
    length, _ = segments.samples(features.sample_rate)
    opened = open_teachers(teachers, features.sample_rate, length + 2 * around, device)
    targets = _targets(opened, weights or [1.0] * len(opened), loss, mfcc_weight, features)
    if spec.heads is Heads.NONE:
        _check_alike(targets, model)
    config = ModelConfig(
        model=replace(model, classes=sum(target.spec.size for target in targets)),
        features=features,
        segments=segments,
        training=spec,
        activation=Activation.NONE,
        targets=tuple(target.spec for target in targets),
        teachers=tuple(teacher.spec for teacher in opened),
        init=fingerprint(init) if init else "",
    )
    with torch.device("meta"):  # refuse what cannot be built before the work begins
        build_model(config.model, config.feature_shape)
    paths = find_audio(root).paths
    names = {path: clip_name(path, root) for path in paths}
    kinds = _kinds(spec.kinds, names.values())
    if kinds:
        names = {path: name for path, name in names.items() if kinds.get(kind(name))}
    if check_folder(folder, config, running.get("resume", False)):
        history = read_history(folder)
        return Trained(history=history, best_epoch=len(history), clips=len(paths), failures=[])
    manifest = _manifest(names, root.name, spec.hold_out)
    parts = split_validation(manifest, HELD_OUT, spec.seed)
    begin(folder, config, parts)
    pool = gather(
        root,
        paths,
        (running.get("cache") or folder / SCRATCH) / SOUNDS,
        features.sample_rate,
        workers=running.get("workers", 1),
        track=track,
    )
    there, there_held = (
        _chances(pool, {names[clip.path] for clip in part.clips}, kinds, length) for part in parts
    )
    scenes = FreshScenes(
        pool, there, spec, sample_rate=features.sample_rate, segment=length, around=around,
        device=device,
    )  # fmt: skip
    module, mfcc = front_end(features).to(device), mfcc_weight > 0
    lessons = Lessons(scenes, opened, module, seed=spec.seed, mfcc=mfcc)
    held = Lessons(scenes.of(there_held), opened, module, seed=VALIDATION_SEED, mfcc=mfcc)
    torch.manual_seed(spec.seed)
    bands = torch.ones(features.size)
    extractor = ExtractorModule(config, torch.zeros_like(bands), bands)
    if init is not None:
        extractor.begin_with(ExtractorModule.load(init))
    goals = Goals(targets, extractor.network.sizes, spec.heads, spec.names_weight)
    learner = Learner(extractor.to(device), goals.to(device), spec, folder)
    batches = np.array_split(np.arange(spec.validation), -(-spec.validation // spec.batch_size))
    with room_for(spec.batch_size, device):
        examination = [held.make(number, len(batch)) for number, batch in enumerate(batches)]
        if learner.restore():
            log.info("resuming after %d segments", learner.step * spec.batch_size)
        else:
            learner.begin([lessons.make(number, spec.batch_size) for number in range(FIRST)])
        _run(learner, lessons, examination, folder, checkpoint_s, checkpoint_segments, running)
    calibration = lessons.make(FIRST + spec.steps, CALIBRATION_SEGMENTS).features
    save_calibration(folder, calibration.cpu().numpy())
    counts = {
        "training clips": len(parts[0].clips),
        "validation clips": len(parts[1].clips),
        "training segments": spec.steps * spec.batch_size,
        "validation segments": spec.validation,
    }
    kept, export = learner.history[-1], running.get("export", True)
    finish(folder, extractor, manifest, counts, learner.history, kept, export=export)
    return Trained(
        history=learner.history,
        best_epoch=len(learner.history),
        clips=len(paths),
        failures=pool.failures,
    )


def _run(
    learner: Learner,
    lessons: Lessons,
    examination: Sequence[Lesson],
    folder: Path,
    checkpoint_s: float,
    checkpoint_segments: int | None,
    running: Running,
) -> None:
    """Learn the rest of the segments, with a checkpoint every so often and at the end."""
    spec, track = learner.spec, running.get("track", untracked)
    left = range(learner.step, spec.steps)
    total, since, due = 0.0, learner.step, time.monotonic() + checkpoint_s
    times = [time.monotonic()]
    make = partial(lessons.make, count=spec.batch_size)
    coming = _ahead(make, range(FIRST + left.start, FIRST + left.stop))
    for lesson in track(coming, "Distilling", len(left)):
        total += learner.learn(lesson)
        if len(times) <= TRIED:
            times.append(time.monotonic())
            if len(times) > TRIED:
                _tell(times, left, spec.batch_size, lesson.features.device)
        heard = learner.step * spec.batch_size
        if checkpoint_segments is None:
            now = time.monotonic() >= due
        else:
            now = heard // checkpoint_segments > (heard - spec.batch_size) // checkpoint_segments
        if not now and learner.step < spec.steps:
            continue
        record = {
            "segments": heard,
            "learning_rate": learning_rate(spec, learner.step - 1),
            "train_loss": total / (learner.step - since),
            **learner.examine(examination),
        }
        learner.save(record)
        explained = ", ".join(
            f"{name.removeprefix('validation_').replace('_', ' ')} {value:.3f}"
            for name, value in record.items()
            if name.startswith("validation_") and name != "validation_loss"
        )
        log.info(
            "%s of %s segments: training loss %.3f, validation loss %.3f, %s",
            f"{heard:,}",
            f"{spec.steps * spec.batch_size:,}",
            record["train_loss"],
            record["validation_loss"],
            explained,
        )
        if running.get("tensorboard", False):
            from embedkit.training.tensorboard import write_record

            write_record(folder, record)
        total, since, due = 0.0, learner.step, time.monotonic() + checkpoint_s


def _ahead(make: Callable[[int], Lesson], numbers: range) -> Iterator[Lesson]:
    """Lessons by number, each made while the one before it is learned."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make, numbers[0]) if numbers else None
        for number in numbers:
            assert coming is not None
            lesson = coming.result()
            coming = pool.submit(make, number + 1) if number + 1 in numbers else None
            yield lesson


def _tell(times: Sequence[float], left: range, batch_size: int, device: torch.device) -> None:
    """Say how long it will take, from some steps of it."""
    speed = batch_size * (len(times) - 2) / (times[-1] - times[1])
    segments = len(left) * batch_size
    minutes = segments / speed / 60
    duration = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{math.ceil(minutes)} min"
    where = "this CPU" if device.type == "cpu" else str(device)
    log.info(
        "about %s for %s segments on %s: %.0f segments/s", duration, f"{segments:,}", where, speed
    )


def _check(
    features: FeatureSpec,
    segments: SegmentSpec,
    spec: DistilSpec,
    teachers: Sequence[Path],
    weights: Sequence[float],
    mfcc_weight: float,
    running: Running,
) -> int:
    """Refuse settings that do not go together.

    Returns:
        samples that teachers hear around a segment.
    """
    check_device(running.get("device", "cpu"))
    if running.get("tensorboard", False):
        require("tensorboard", "tensorboard")
    if distributed.is_torchelastic_launched():
        raise UsageError("distilling on the way is done by one process: start it without torchrun")
    if weights and len(weights) != len(teachers):
        raise UsageError(f"{len(weights)} weights for {len(teachers)} teachers")
    if mfcc_weight < 0:
        raise UsageError(f"MFCC weight {mfcc_weight}: must not be negative")
    if mfcc_weight and (features.kind is not FrontEnd.LOG_MEL or features.bands < COEFFICIENTS):
        raise UsageError(
            f"statistics of MFCC are made of a log-mel front-end of at least {COEFFICIENTS} bands;"
            " give them the weight 0"
        )
    window_s = spec.teacher_window_s or segments.duration_s
    if window_s < segments.duration_s:
        raise UsageError(
            f"a teacher's window of {window_s:g} s: must be at least the segment's"
            f" {segments.duration_s:g} s"
        )
    return round((window_s - segments.duration_s) / 2 * features.sample_rate)


def _check_init(
    init: Path | None, model: ModelSpec, features: FeatureSpec, segments: SegmentSpec
) -> None:
    """Refuse to begin with another network; only its frames may differ."""
    if init is not None:
        own = load_config(init).features
        frames = {name: getattr(own, name) for name in FRAMES}
        check_init(init, model, replace(features, **frames), segments)


def _check_alike(targets: Sequence[Target], model: ModelSpec) -> None:
    """Refuse targets that an embedding itself cannot become."""
    if [target.spec.size for target in targets] != [model.dim]:
        found = ", ".join(f"{target.spec.name} {target.spec.size}" for target in targets)
        raise UsageError(
            f"heads none: the embedding, {model.dim} numbers, becomes that of one teacher without"
            f" logits, and nothing of MFCC; found {found}"
        )


def _targets(
    teachers: Sequence[Teacher],
    weights: Sequence[float],
    loss: Loss,
    mfcc_weight: float,
    features: FeatureSpec,
) -> list[Target]:
    """The targets of a lesson, in its order."""
    targets = []
    for teacher, weight in zip(teachers, weights, strict=True):
        name = teacher.spec.name
        own = TargetSpec(name=name, size=teacher.size, weight=weight, loss=loss)
        targets.append(Target(own))
        if teacher.labels:
            logits = replace(own, name=f"{name} logits", size=len(teacher.labels))
            targets.append(Target(logits, names=True))
    if mfcc_weight:
        size = 3 * COEFFICIENTS
        targets.append(Target(TargetSpec(name="MFCC", size=size, weight=mfcc_weight, loss=loss)))
    return targets


def _manifest(names: Mapping[Path, str], source: str, hold_out: Sequence[str]) -> Manifest:
    """The clips, in groups that are held out as a whole: packages, where there are some."""
    clips = []
    for path, name in names.items():
        own = package(name)
        clip = as_clip(path, name, hold_out)
        clips.append(replace(clip, group=own) if "/" in own and not hold_out else clip)
    if hold_out and len({clip.split for clip in clips}) < 2:
        raise DatasetError(f"{', '.join(hold_out)}: fits all clips, or none of them")
    return Manifest(tuple(clips), several_labels=False, source=source)


def _chances(pool: Pool, names: set[str], kinds: Mapping[str, float], least: int) -> Chances:
    """How likely each clip of a pool is drawn, where only some of them are."""
    there = np.array([name in names for name in pool.names])
    own = [name for name in pool.names if name in names]
    own_kinds = {kind(name) for name in own}
    wanted = {name: chance for name, chance in kinds.items() if name in own_kinds}
    found = np.zeros(len(there))
    found[there] = chances(own, pool.lengths[there], wanted, least)
    return found


def _kinds(text: str, names: Iterable[str]) -> dict[str, float]:
    """Chances of the kinds of clips, from a text such as 'sfx=52,music=14'."""
    found: dict[str, float] = {}
    there = {kind(name) for name in names}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] < math.inf:
            raise UsageError(f"kinds {text!r}: expected FOLDER=CHANCE, as in 'sfx=52,music=14'")
        if name not in there:
            raise UsageError(f"kinds: no folder {name!r} with sounds{choices(name, sorted(there))}")
    if found and not any(found.values()):
        raise UsageError(f"kinds {text!r}: nothing has a chance")
    return found
