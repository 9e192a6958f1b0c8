"""Which files of a folder are audio: by name or by content, never trapped by links or pipes."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from embedkit.audio.formats import AUDIO_SUFFIXES, HEAD, is_sound
from embedkit.errors import UsageError

# Folders in which systems keep what was deleted, what they know of the files, or old states of all
# of them. One trash more, of freedesktop.org, ends with the user's number: `.Trash-1000`.
LEFT_ALONE = frozenset(
    name.casefold()
    for name in (
        *("$RECYCLE.BIN", "RECYCLER", "#recycle", "@Recycle", "@Recently-Snapshot", ".Trash"),
        *(".Trashes", ".AppleDouble", ".AppleDesktop", ".Spotlight-V100", ".TemporaryItems"),
        *(".DocumentRevisions-V100", ".fseventsd", "@eaDir", ".@__thumb", "lost+found"),
        *("System Volume Information", "#snapshot", ".snapshot", ".snapshots", ".zfs"),
    )
)

APPLE_DOUBLE = b"\x00\x05\x16\x07"  # RFC 1740: what a file's name has before it as `._`

# A backslash before what makes an escape of it, as `store.clip_path` reads them.
LIKE_ESCAPE = re.compile(rb"\\(?=x(?:[89a-f][0-9a-f]|5c))")

MOST = 100  # suffixes that are counted apart
NAMED = 8  # suffixes that a message names


class Found(NamedTuple):
    """A file, or a folder that is not entered.

    Attributes:
        path: its path.
        is_audio: whether it is named like audio or begins like it.
        left_alone: the name under which it is counted as left alone; empty if it is not.
    """

    path: Path
    is_audio: bool
    left_alone: str = ""


@dataclass(kw_only=True)
class Skipped:
    """Counts of what a folder holds besides audio. The names are printable.

    Attributes:
        not_audio: files, by suffix.
        left_alone: what systems leave beside files, by its name: trash, thumbnails, AppleDouble.
    """

    not_audio: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)

    def add(self, found: Found) -> None:
        """Count something that is not audio."""
        if found.left_alone:
            self.left_alone[found.left_alone] += 1
        else:
            self.not_audio[_suffix(found.path, self.not_audio)] += 1

    def __add__(self, other: "Skipped") -> "Skipped":
        """The sums of both."""
        return Skipped(
            not_audio=self.not_audio + other.not_audio,
            left_alone=self.left_alone + other.left_alone,
        )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The contents of a folder.

    Attributes:
        paths: files named like audio (whatever they are) or with the content of audio or video,
            sorted by their path below the root; at least one.
        skipped: everything else.
    """

    paths: list[Path]
    skipped: Skipped


def find_audio(root: Path) -> Listing:
    """List the audio below a folder, or the one file that `root` is; see `walk`.

    Raises:
        UsageError: `root` does not exist, or there is no audio below it.
    """
    paths, skipped = [], Skipped()
    for found in walk(root):
        if found.is_audio:
            paths.append(found.path)
        else:
            skipped.add(found)
    if not paths:
        raise _no_audio(root, skipped)
    return Listing(paths=paths, skipped=skipped)


def require_audio(root: Path) -> None:
    """Make sure that there is audio below a folder.

    The first file that is named like audio is enough.

    Raises:
        UsageError: as for `find_audio`.
    """
    if not any(found.is_audio for found in walk(root, _is_named)):
        find_audio(root)  # opens the others


def is_audio(path: Path) -> bool:
    """Whether a suffix that only audio has, or else the content, makes a file audio."""
    return _look_at(path).is_audio


def walk(root: Path, wanted: Callable[[Path], bool] = lambda path: True) -> Iterator[Found]:
    """The files below a folder in the order of their paths, and whether each is audio.

    A suffix that only audio has, or else the content, makes a file audio, so that files that cannot
    be read are not silently lost. Linked folders are followed once, and only where they lead out of
    `root`. The folders of systems are not entered.

    Args:
        root: the folder, or one file.
        wanted: whether a file should be opened; by default all are.

    Returns:
        one entry for each file, and for each folder that is not entered.

    Raises:
        UsageError: `root` does not exist.
    """
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    if not root.is_dir():
        if wanted(root):
            yield Found(root, is_audio=True)
        return
    real_root = root.resolve()
    for path in _files(root, real_root, {real_root}):
        if wanted(path):
            yield _look_at(path)


def count_text(counts: Counter[str]) -> str:
    """The most frequent of some things with their counts, as in `2 .txt, 1 .pdf`."""
    named = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    parts = [f"{count} {name}" for name, count in named]
    if len(counts) > NAMED:
        parts.append(f"{counts.total() - sum(count for _, count in named)} more")
    return ", ".join(parts)


def clip_name(path: Path, root: Path) -> str:
    """The name of a file in the embedding folder: its path below the root.

    It has POSIX separators and its suffix. Bytes that are not UTF-8 are backslash-escaped, and so
    is a backslash that would look like the beginning of such an escape.

    Args:
        path: the file.
        root: the root of the collection.

    Returns:
        the name.
    """
    relative = path.relative_to(root) if path != root else Path(path.name)
    name = LIKE_ESCAPE.sub(rb"\\x5c", os.fsencode(relative.as_posix()))
    return name.decode("utf-8", "backslashreplace")


def _files(folder: Path, real_root: Path, seen: set[Path]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            # Folders as if their names ended with the separator: so all paths come in order.
            names = sorted(entry.name + "/" * os.path.isdir(entry.path) for entry in entries)
    except OSError:
        yield folder
        return
    for name in names:
        path = folder / name
        if not name.endswith("/"):
            yield path
            continue
        if _left_alone_as(name[:-1]):
            yield path
            continue
        target = path.resolve()
        # Folders too, not only links: a link to the parent of `root` leads back into it.
        if target in seen or (path.is_symlink() and target.is_relative_to(real_root)):
            continue
        seen.add(target)
        yield from _files(path, real_root, seen)


def _left_alone_as(name: str) -> str:
    if name.startswith(".Trash-"):
        return ".Trash-*"
    return name if name.casefold() in LEFT_ALONE else ""


def _is_named(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _look_at(path: Path) -> Found:
    if (name := _left_alone_as(path.name)) and path.is_dir():
        return Found(path, is_audio=False, left_alone=name)
    if path.name.startswith("._") and _read_head(path)[0].startswith(APPLE_DOUBLE):
        return Found(path, is_audio=False, left_alone="AppleDouble")
    # A folder here is one that cannot be listed: it ends as an error that names it.
    named = _is_named(path) or path.is_dir()
    return Found(path, is_audio=named or is_sound(*_read_head(path)))


def _read_head(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file and its size; nothing for what is no file or cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", 0
        with path.open("rb") as file:
            return file.read(HEAD), status.st_size
    except OSError:
        return b"", 0


def _suffix(path: Path, counted: Counter[str]) -> str:
    """The suffix under which a file is counted, unless that is odd or there are too many."""
    raw = os.fsencode(path.suffix.lower()).decode("utf-8", "backslashreplace")
    suffix = "".join(char if char.isprintable() else repr(char)[1:-1] for char in raw)
    if not suffix:
        return "without a suffix"
    few = len(counted) < MOST and len(suffix) <= 20
    return suffix if few or suffix in counted else "with other suffixes"


def _no_audio(root: Path, skipped: Skipped) -> UsageError:
    there = [count_text(counts) for counts in (skipped.not_audio, skipped.left_alone) if counts]
    what = f"there are {'; '.join(there)}" if there else "it is empty; is the disk mounted?"
    return UsageError(f"no audio file below {root}: {what}")
