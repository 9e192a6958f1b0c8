"""Finds the sound of a label file that names none: the sound whose name it has."""

import os
import re
from pathlib import Path

from embedkit.audio.formats import AUDIO_SUFFIXES

# What programs add to a sound's name: `a.Table.1.selections.txt`, `a.BirdNET.results.csv`.
ADDED = re.compile(
    r"(\.Table\.\d+)?(\.selections?)?(\.BirdNET)?(\.results|\.selection\.table|\.selections)?"
    r"\.(txt|tsv|csv|parquet)$",
    re.IGNORECASE,
)


def paired(table: Path) -> Path:
    """The sound beside a label file; if there is none, the name that it would have there.

    As a rule that name has no suffix; joined to an embedding folder, it still finds its clip.
    """
    name = ADDED.sub("", table.name)
    whole = table.with_name(name)
    if whole.is_file() and whole != table:
        return whole
    try:
        there = os.listdir(table.parent)
    except OSError:
        return whole
    sounds = [other for other in there if is_sound_of(other, name)]
    return table.with_name(sounds[0]) if len(sounds) == 1 else whole


def is_sound_of(file: str, name: str) -> bool:
    """Whether a file has a given name, and a suffix like audio.

    Args:
        file: name of the file.
        name: the name without a suffix.

    Returns:
        whether it has.
    """
    stem, suffix = os.path.splitext(file)
    return stem == name and suffix.lower() in AUDIO_SUFFIXES
