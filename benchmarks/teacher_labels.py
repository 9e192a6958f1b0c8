"""A set with several labels a clip, for the paper's claims: the labels are a network's.

    python benchmarks/teacher_labels.py AUDIO_DIR --teacher extractor.toml --out DIR [--clips 1600]

Clips of 10 s as AudioSet's, each filled with sounds of one package (the first two folders below
AUDIO_DIR), one after another, in random order; of longer sounds, stretches. The teacher hears each
clip at once, and its names with a probability of at least 0.1 are the clip's labels, if at least 20
clips have them. No person has checked one. Packages are held out: a fifth of each kind's clips
(the first folder), by whole packages. DIR gets the clips as FLAC, and labels.csv with path,
labels, split, group: what `embedkit bench paper --data` takes.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.special import expit

from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.runtime.foreign import Foreign, open_foreign

RATE = 16000
CLIP_S = 10.0
STRETCH_S = 10.0  # of a longer sound, no more than this
THRESHOLD = 0.1
LEAST = 20  # clips that a name has
HELD_OUT = 0.2
BATCH = 8

Samples = NDArray[np.float32]


def packages(root: Path) -> dict[str, list[Path]]:
    """The files of each package, in random order."""
    found = defaultdict(list)
    for path in find_audio(root).paths:
        parts = path.relative_to(root).parts[:-1][:2]
        found["/".join(parts)].append(path)
    rng = np.random.default_rng(0)
    return {
        name: [paths[index] for index in rng.permutation(len(paths))]
        for name, paths in sorted(found.items())
    }


def clips_of(paths: Sequence[Path], most: int) -> Iterator[Samples]:
    """Clips filled with sounds, one after another; what is left of the last is not used."""
    length, parts, made = round(CLIP_S * RATE), [], 0
    for path in paths:
        sound = np.concatenate(list(decode(path, RATE)) or [np.zeros(0, np.float32)])
        parts.append(sound[: round(STRETCH_S * RATE)])
        while sum(map(len, parts)) >= length and made < most:
            filled = np.concatenate(parts)
            yield filled[:length]
            parts, made = [filled[length:]], made + 1
        if made == most:
            return


def hear(teacher: Foreign, clips: Sequence[Samples]) -> NDArray[np.float64]:
    """The teacher's probabilities of its names [clips, names]."""
    rate = teacher.description.sample_rate
    found = []
    for start in range(0, len(clips), BATCH):
        sounds = [soxr.resample(clip, RATE, rate) for clip in clips[start : start + BATCH]]
        logits = teacher.hear(np.stack(sounds))[1]
        assert logits is not None
        found.append(expit(logits.astype(np.float64)))
    return np.concatenate(found)


def hold_out(counts: dict[str, int]) -> set[str]:
    """Packages with a fifth of each kind's clips, or of all where a kind has one package."""
    rng = np.random.default_rng(0)
    by_kind = defaultdict(list)
    for name in counts:
        by_kind[name.split("/")[0]].append(name)
    held: set[str] = set()
    for names in by_kind.values():
        wanted = HELD_OUT * sum(counts[name] for name in names)
        for index in rng.permutation(len(names)):
            if counts[names[index]] <= wanted:
                held.add(names[index])
                wanted -= counts[names[index]]
    return held


def main() -> None:
    """Write the clips and their labels, and say what they are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("audio_dir", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1600)
    options = parser.parse_args()
    teacher = open_foreign(options.teacher)
    sources = packages(options.audio_dir)
    # As many clips of each package, but for those that have fewer: no package is most of the set.
    most = options.clips
    made: dict[str, list[Samples]] = {name: [] for name in sources}
    streams = {name: clips_of(paths, most) for name, paths in sources.items()}
    while streams and sum(map(len, made.values())) < options.clips:
        for name in list(streams):
            clip = next(streams[name], None)
            if clip is None:
                del streams[name]
            elif sum(map(len, made.values())) < options.clips:
                made[name].append(clip)
    made = {name: clips for name, clips in made.items() if clips}
    held = hold_out({name: len(clips) for name, clips in made.items()})
    owners = [name for name, clips in made.items() for _ in clips]
    clips = [clip for parts in made.values() for clip in parts]
    heard = hear(teacher, clips) >= THRESHOLD
    there = np.array([name not in held for name in owners])
    kept = (heard.sum(axis=0) >= LEAST) & heard[there].any(axis=0) & heard[~there].any(axis=0)
    labels = np.array(teacher.labels)[kept]
    options.out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with (options.out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels", "split", "group"])
        for number, (clip, owner, names) in enumerate(
            zip(clips, owners, heard[:, kept], strict=True)
        ):
            if not names.any():
                continue
            split = "test" if owner in held else "train"
            soundfile.write(options.out / f"{number:05d}.flac", clip, RATE)
            writer.writerow([f"{number:05d}.flac", ";".join(labels[names]), split, owner])
            counts.update({split: 1, "labels": int(names.sum())})
    total = counts["train"] + counts["test"]
    print(
        f"{total} clips of {len(made)} packages ({counts['train']} to train, {counts['test']} of"
        f" {len(held)} packages held out), {len(labels)} names, {counts['labels'] / total:.1f} a"
        f" clip; {len(clips) - total} clips have no name and are left out"
    )


if __name__ == "__main__":
    main()
