"""ESC-50 and its part ESC-10, as in their GitHub repository."""

from pathlib import Path

from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.published import (
    audio_path,
    in_order,
    part_missing,
    read_columns,
    require_audio,
)

ORIGIN = "ESC-50, https://github.com/karolpiczak/ESC-50"
COLUMNS = ("filename", "fold", "category", "src_file", "target", "esc10")


def read_esc50(root: Path) -> Manifest:
    """Read all clips; their classes are in the order of the published numbers.

    Raises:
        DatasetError: the table is missing or not as published, or no clip has audio.
    """
    table = _table(root)
    rows = read_columns(table, COLUMNS, ORIGIN)
    classes = in_order(((target, category) for _, _, category, _, target, _ in rows), table)
    return _manifest(root, rows, classes, "ESC-50")


def read_esc10(root: Path) -> Manifest:
    """Read the clips of the ten classes of ESC-10.

    Raises:
        DatasetError: the table is missing or not as published, or no clip has audio.
    """
    rows = read_columns(_table(root), COLUMNS, ORIGIN)
    return _manifest(root, [row for row in rows if row[-1] == "True"], (), "ESC-10")


def _table(root: Path) -> Path:
    return root / "meta" / "esc50.csv"


def _manifest(
    root: Path, rows: list[tuple[str, ...]], classes: tuple[str, ...], source: str
) -> Manifest:
    table, audio = _table(root), root / "audio"
    clips, left_out = part_missing(
        Clip(
            path=audio_path(audio, name, table),
            labels=(category,),
            fold=fold,
            # Several clips may be cut from one Freesound recording.
            group=recording,
        )
        for name, fold, category, recording, *_ in rows
    )
    manifest = Manifest(
        clips, several_labels=False, classes=classes, left_out=left_out, source=source
    )
    return require_audio(manifest, [table], root, "audio/<filename>")
