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
    """List the audio below a folder, or the one file that `root` is.

    Linked folders are followed once, and only where they lead out of `root`. Files named like
    audio are listed even where they cannot be read, so that nothing is silently lost.

    Raises:
        UsageError: `root` does not exist.
    """
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    if not root.is_dir():
        return Listing(paths=[root], skipped=0)
    paths: list[Path] = []
    skipped = 0
    for path in _walk(root, unlistable=paths):
        if path.suffix.lower() in AUDIO_SUFFIXES or _has_audio_content(path):
            paths.append(path)
        else:
            skipped += 1
    return Listing(paths=sorted(paths, key=lambda path: clip_name(path, root)), skipped=skipped)


def clip_name(path: Path, root: Path) -> str:
    """The name of a file in the embedding folder: its path below the root.

    POSIX separators, suffix kept; bytes that are not UTF-8 are backslash-escaped.
    """
    relative = path.relative_to(root) if path != root else Path(path.name)
    return os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")


def _walk(root: Path, unlistable: list[Path]) -> Iterator[Path]:
    real_root = root.resolve()
    seen = {real_root}
    # A folder that cannot be listed is listed itself, to end as an error that names it.
    walk = os.walk(root, followlinks=True, onerror=lambda e: unlistable.append(Path(e.filename)))
    for folder, subfolders, names in walk:
        kept = []
        for name in sorted(subfolders):
            path = Path(folder, name)
            target = path.resolve()
            # Folders too, not only links: a link to the parent of `root` leads back into it.
            if target in seen or (path.is_symlink() and target.is_relative_to(real_root)):
                continue
            seen.add(target)
            kept.append(name)
        subfolders[:] = kept
        yield from (Path(folder, name) for name in names)


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
