"""A file shown in the file manager of the machine that the server runs on."""

import os
import shutil
import sys
from pathlib import Path

from embedkit.processes import launch


def possible() -> bool:
    """Whether this machine has a screen, and a file manager that can be asked."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return has_screen() and shutil.which("xdg-open") is not None


def has_screen() -> bool:
    """Whether what this process opens is seen by somebody who sits at the machine."""
    if "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(path: Path, platform: str = sys.platform) -> list[str]:
    """What shows a file in its folder: selected, but for Linux, which has no common word for it."""
    if platform == "darwin":
        return ["open", "-R", str(path)]
    if platform == "win32":
        return ["explorer", "/select,", str(path)]
    return ["xdg-open", str(path.parent)]


def reveal(path: Path) -> None:
    """Show a file in its folder, and do not wait."""
    launch(command(path))
