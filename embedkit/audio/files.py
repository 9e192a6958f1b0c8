"""Which files of a folder are audio: by name or by content, never trapped by links or pipes."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filetype

from embedkit.errors import UsageError

AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "flac", "m4a", "m4b"),
        *("mka", "mp2", "mp3", "oga", "ogg", "opus", "rf64", "snd", "tta", "w64", "wav", "wave"),
        *("weba", "wma", "wv"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder holds.

    Attributes:
        paths: files named like audio (whatever they are) or with the content of audio or video,
            sorted by their path below the root.
        skipped: how many other files there are.
    """

    paths: list[Path]
    skipped: int


def find_audio(root: Path) -> Listing:
    """List the audio below a folder, or the one file that `root` is; see `walk`.

    Raises:
        UsageError: `root` does not exist.
    """
    found = list(walk(root))
    paths = [path for path, is_audio in found if is_audio]
    return Listing(paths=paths, skipped=len(found) - len(paths))


def walk(root: Path) -> Iterator[tuple[Path, bool]]:
    """The files below a folder in the order of their paths, and whether each is audio.

    Linked folders are followed once, and only where they lead out of `root`. Files named like
    audio are audio even where they cannot be read, so that nothing is silently lost.

    Raises:
        UsageError: `root` does not exist.
    """
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    if not root.is_dir():
        yield root, True
        return
    real_root = root.resolve()
    for path in _files(root, real_root, {real_root}):
        # A folder here is one that cannot be listed: it ends as an error that names it.
        named = path.suffix.lower() in AUDIO_SUFFIXES or path.is_dir()
        yield path, named or _has_audio_content(path)


def clip_name(path: Path, root: Path) -> str:
    """The name of a file in the embedding folder: its path below the root.

    POSIX separators, suffix kept; bytes that are not UTF-8 are backslash-escaped.
    """
    relative = path.relative_to(root) if path != root else Path(path.name)
    return os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")


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
        target = path.resolve()
        # Folders too, not only links: a link to the parent of `root` leads back into it.
        if target in seen or (path.is_symlink() and target.is_relative_to(real_root)):
            continue
        seen.add(target)
        yield from _files(path, real_root, seen)


def _has_audio_content(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(8192)
    except OSError:
        return False
    guess = filetype.guess(head)
    return guess is not None and guess.mime != "audio/midi" and guess.mime[:5] in {"audio", "video"}
