r"""How files are named in tables, and which files are meant.

A name means the file that is called exactly so. Where there is none, it means the one file whose
name differs only in its separators (`dog\a.wav` of Windows), in the form of its letters (`é` is one
character or two: Unicode's NFC or NFD), or in spaces around it. Capitals are never taken for small
letters.
"""

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

FEW = 2000  # names that are compared letter by letter


def spell(name: str) -> str:
    """A form of a name that is equal for all names that mean the same file."""
    return posixpath.normpath(unicodedata.normalize("NFC", name).replace("\\", "/").strip())


def match(names: Iterable[str], there: Collection[str]) -> dict[str, str]:
    """The files that some names mean.

    Args:
        names: names in a table.
        there: names of files.

    Returns:
        the file's name by the name in the table; no file is matched twice.
    """
    names = list(dict.fromkeys(names))
    exact = set(names).intersection(there)
    rest = [name for name in names if name not in exact]
    found = {name: name for name in exact}
    if rest:
        free = _by_spelling(name for name in there if name not in exact)
        for spelling, same in _by_spelling(rest).items():
            candidates = free.get(spelling, [])
            if len(same) == len(candidates) == 1:
                found[same[0]] = candidates[0]
    return found


def _by_spelling(names: Iterable[str]) -> dict[str, list[str]]:
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[spell(name)].append(name)
    return spellings


def nearest(name: str, there: Collection[str]) -> str | None:
    """The name that was perhaps meant: the same with other capitals, else one that looks like it.

    Args:
        name: a name in a table.
        there: names of files.

    Returns:
        one of these, or None.
    """
    wanted = spell(name)
    same = (other for other in there if spell(other).casefold() == wanted.casefold())
    close = get_close_matches(wanted, list(there)[:FEW], n=1, cutoff=0.8)
    return next(same, close[0] if close else None)


class Folder:
    """Finds the files of a folder by their names in a table; it lists each folder at most once."""

    def __init__(self, root: Path) -> None:
        """Take `root` as the folder that names are relative to, unless they are absolute."""
        self.root = root
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def file(self, name: str) -> Path:
        """The file that a name means, or its plain path where there is none."""
        path = self.root / name
        spellings = (name, name.replace("\\", "/"), name.strip(), name.replace("\\", "/").strip())
        if len({*spellings}) == 1 and name.isascii():
            return path  # there is no other spelling of it: no need to look
        found = (self._find(self.root / one) for one in dict.fromkeys(filter(None, spellings)))
        return next((place for place in found if place is not None), path)

    def _find(self, path: Path) -> Path | None:
        if os.path.lexists(path):  # unlike Path.exists, not an error if the name is too long
            return path
        parent = self._find(path.parent) if path != path.parent else None
        if parent is None:
            return None
        same = self._list(parent).get(unicodedata.normalize("NFC", path.name), [])
        return parent / same[0] if len(same) == 1 else None

    def _list(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listings:
            names: dict[str, list[str]] = defaultdict(list)
            try:
                for name in os.listdir(folder):
                    names[unicodedata.normalize("NFC", name)].append(name)
            except OSError:
                pass  # it is a file, or cannot be listed: what is in it is not there for us
            self._listings[folder] = names
        return self._listings[folder]
