"""The work of a run: the collection on the disk compared with the folder's journal."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from embedkit.audio.files import Skipped, clip_name, walk
from embedkit.errors import UsageError
from embedkit.numbering import Places
from embedkit.scratch import into_scratch


@dataclass(frozen=True)
class Shard:
    """One share of a collection, by a hash of the clips' names: the `number`th of `count`."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `2/8`.

        Raises:
            UsageError: it is not such a text, or not from 1/N to N/N.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UsageError(f"shard {text!r}: expected I/N with I from 1 to N, as in 1/8")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def owns(self, clip: str) -> bool:
        """Whether a clip is in this share."""
        digest = hashlib.blake2b(clip.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.number - 1


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class Task:
    """A file to embed, with its size and time; both are zero if it could not be looked at."""

    path: Path
    clip: str
    size: int
    mtime_ns: int


@dataclass(kw_only=True)
class Survey:
    """A collection compared with the journal.

    Attributes:
        listing: the file that lists what may be embedded: all files but those that are good in the
            journal.
        new: number of files that are not in the journal.
        new_bytes: their bytes.
        known: number of files that are in the journal.
        skipped: what is not audio.
        failed: sizes of known files whose record has a kind, by clip.
        changed: sizes of known files that have changed since they were embedded, by clip.
        vanished: clips whose file is gone.
    """

    listing: Path
    new: int = 0
    new_bytes: int = 0
    known: int = 0
    skipped: Skipped = field(default_factory=Skipped)
    failed: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    vanished: list[str] = field(default_factory=list)

    def tasks(self, again: Collection[str]) -> Iterator[Task]:
        """The new files, and of the failed or changed ones those of these clips."""
        with self.listing.open(encoding="ascii") as file:
            for line in file:
                path, *facts, new = json.loads(line)
                task = Task(Path(path), *facts)
                if new or task.clip in again:
                    yield task


class AudioCollection:
    """The audio below a folder, or the one file that it is; one share of it."""

    def __init__(self, root: Path, shard: Shard, base: Path | None = None) -> None:
        """Take the audio below a folder.

        Args:
            root: the folder, or a file.
            shard: the share to take.
            base: the folder above it that clips are named relative to; by default `root`.

        Raises:
            UsageError: `root` is not in `base`.
        """
        self.root = root if base is None else _below(root, base)
        self.base = base or (root if root.is_dir() else root.parent)
        self.shard = shard

    def survey(self, journal: pa.Table, scratch: Path) -> Survey:
        """List it, and compare it with a journal.

        A list of a million files takes much memory, so that it is kept as a file.

        Args:
            journal: columns clip, size, mtime_ns, kind.
            scratch: folder for the file.

        Returns:
            what there is to do.

        Raises:
            UsageError: there is no such folder or file.
        """
        import pyarrow.compute as pc

        places = Places(journal["clip"])
        sizes, times = (journal[name].to_numpy() for name in ("size", "mtime_ns"))
        failed = pc.not_equal(journal["kind"], "").to_numpy()
        seen = np.zeros(len(journal), bool)
        found = Survey(listing=scratch / "listing.jsonl")
        closed = []  # folders that cannot be listed: what is below them has not vanished
        with into_scratch(), found.listing.open("w", encoding="ascii") as listing:
            for task in self._walk(found):
                if task.path.is_dir():
                    closed.append(f"{task.clip}/")
                index = places.find(task.clip)
                if index is None:
                    found.new += 1
                    found.new_bytes += task.size
                    _note(listing, task, new=True)
                    continue
                found.known += 1
                seen[index] = True
                changed = (task.size, task.mtime_ns) != (sizes[index], times[index])
                if failed[index]:
                    found.failed[task.clip] = task.size
                if changed:
                    found.changed[task.clip] = task.size
                if failed[index] or changed:
                    _note(listing, task, new=False)
        if self.root.is_dir():  # one file says nothing of the others
            below = "" if self.root == self.base else f"{clip_name(self.root, self.base)}/"
            gone = journal["clip"].filter(pa.array(~seen))
            found.vanished = [
                clip
                for clip in gone.to_pylist()
                if clip.startswith(below)
                and self.shard.owns(clip)
                and not clip.startswith(tuple(closed))
            ]
        return found

    def _walk(self, found: Survey) -> Iterator[Task]:
        for file in walk(self.root, self._owns):
            if not file.is_audio:
                found.skipped.add(file)
                continue
            clip = clip_name(file.path, self.base)
            try:
                status = os.stat(file.path)
            except OSError:
                yield Task(file.path, clip, 0, 0)  # decoding says why
            else:
                yield Task(file.path, clip, status.st_size, status.st_mtime_ns)

    def _owns(self, path: Path) -> bool:
        return self.shard.owns(clip_name(path, self.base))


def _below(root: Path, base: Path) -> Path:
    """The path of `root` by way of `base`."""
    for form in (os.path.abspath, os.path.realpath):
        path, above = Path(form(root)), Path(form(base))
        if path.is_relative_to(above):
            return base / path.relative_to(above)
    raise UsageError(f"{root}: not in the audio root {base}")


def _note(listing: TextIO, task: Task, *, new: bool) -> None:
    # JSON escapes the bytes of a name that are not UTF-8.
    line = [str(task.path), task.clip, task.size, task.mtime_ns, new]
    listing.write(json.dumps(line) + "\n")
