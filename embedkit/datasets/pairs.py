"""Which sound a label file is of that names none: the one that is called as it is."""

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
    """The sound beside a label file; where there is not one, what it would be called there.

    Without a suffix, as a rule: joined to an embedding folder, it still finds its clip.
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
    """Whether a file is called as a name without a suffix, and like audio."""
    stem, suffix = os.path.splitext(file)
    return stem == name and suffix.lower() in AUDIO_SUFFIXES
