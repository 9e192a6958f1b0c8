"""Shows a file in the file manager of the machine that the server runs on."""

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
    """Whether somebody who sits at the machine sees what this process opens."""
    if "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(path: Path, platform: str = sys.platform) -> list[str]:
    """The command that shows a file in its folder.

    The file is selected, except on Linux, which has no common command for that.

    Args:
        path: the file.
        platform: as `sys.platform`.

    Returns:
        the program and its arguments.
    """
    if platform == "darwin":
        return ["open", "-R", str(path)]
    if platform == "win32":
        return ["explorer", "/select,", str(path)]
    return ["xdg-open", str(path.parent)]


def reveal(path: Path) -> None:
    """Show a file in its folder, without waiting."""
    launch(command(path))
