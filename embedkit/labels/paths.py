"""Which clips of an embedding folder the paths of labels mean, wherever the audio stands now."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from embedkit.datasets import Clip
from embedkit.datasets.manifest import Manifest
from embedkit.datasets.names import match, spell
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)


def join_by_path(
    names: list[str], manifest: Manifest, root: Path, audio_root: Path
) -> dict[str, Clip]:
    """The clips that labels are of, by their names in the folder.

    Args:
        names: of the folder's clips.
        manifest: the labels. Those of stretches are joined by less of a path too: without the
            suffix, and by the file's name alone, as the tables of other tools have it.
        root: the folder that its paths are compared in as text, where the audio has moved.
        audio_root: where the clips stood when they were embedded.

    Returns:
        the labelled clips by their names in the folder.

    Raises:
        DatasetError: some labels might join wrong clips.
    """
    by_place = {_place(clip.path): clip for clip in manifest.clips}
    by_text = {os.path.relpath(clip.path, root): clip for clip in manifest.clips}
    known = {}
    for name in names:
        clip = by_place.get(_place(audio_root / name)) or by_text.get(name)
        if clip is not None:
            known[name] = clip
    # What is spelled in another way joins where nothing joins as it is written.
    joined = {id(clip) for clip in known.values()}
    below = spell(str(audio_root)) + "/"  # of Windows too, which makes it no absolute path here
    rest = {
        spell(text).removeprefix(below) if spell(text).startswith(below) else text: clip
        for text, clip in by_text.items()
        if id(clip) not in joined
    }
    found = match(rest, [name for name in names if name not in known])
    known |= {name: rest[text] for text, name in found.items()}
    known = known or _join_below_another_root(names, manifest)
    if manifest.is_marked:
        joined = {id(clip) for clip in known.values()}
        rest = {text: clip for text, clip in by_text.items() if id(clip) not in joined}
        known |= _join_by_less(rest, [name for name in names if name not in known])
    return known


def _join_by_less(rest: dict[str, Clip], free: list[str]) -> dict[str, Clip]:
    """Join what is left by less and less of its path, where one label and one clip have that."""
    known: dict[str, Clip] = {}
    for label, clip in _LESS:
        free = [name for name in free if name not in known]
        candidates = _by_key(free, clip)
        for key, texts in _by_key(rest, label).items():
            if len(texts) == len(candidates.get(key, ())) == 1:
                known[candidates[key][0]] = rest.pop(texts[0])
    return known


def _by_key(names: Iterable[str], key: Callable[[str], str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[key(spell(name))].append(name)
    return found


def _whole(path: str) -> str:
    return path


def _last(path: str) -> str:
    return PurePosixPath(path).name


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


# What of a label's path, and of a clip's name, has to be the same.
_LESS = ((_whole, _without_suffix), (_last, _last), (_last, _stem))


def _join_below_another_root(names: list[str], manifest: Manifest) -> dict[str, Clip]:
    """Join the labels of a collection that has stood elsewhere: by the paths below that place.

    All labels stand below one folder, the one below which most of them find a clip of their path.

    Raises:
        DatasetError: two folders do equally well, so that some labels might join wrong clips.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in names:
        wanted[spell(name)].append(name)
    found: dict[str, dict[str, Clip]] = defaultdict(dict)  # by folder: clips by names below it
    for clip in manifest.clips:
        parts = spell(str(clip.path)).split("/")
        for depth in range(1, len(parts)):
            same = wanted.get("/".join(parts[depth:]), [])
            if len(same) == 1:
                found["/".join(parts[:depth]) or "/"][same[0]] = clip
    ranked = sorted(found, key=lambda folder: (-len(found[folder]), folder))
    if not ranked:
        return {}
    best = found[ranked[0]]
    if len(ranked) > 1 and len(found[ranked[1]]) == len(best):
        other = found[ranked[1]]
        raise DatasetError(
            f"the labels may be of a collection in {ranked[0]} or in {ranked[1]}: "
            f"{min(best)} is then {best[min(best)].path}, or {min(other)} is"
            f" {other[min(other)].path}. Write the paths below the collection's folder alone"
        )
    log.info("labels are joined by their paths below %s", ranked[0])
    return best


def _place(path: Path) -> str:
    """Where a file stands, however its folder is reached."""
    return os.path.join(os.path.realpath(path.parent), path.name)
