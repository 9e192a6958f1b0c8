"""The files of the page itself."""

from importlib.resources import files

from starlette.staticfiles import StaticFiles


def page_files() -> StaticFiles:
    """The files that a browser loads first."""
    return StaticFiles(directory=str(files("embedkit.web") / "static"), html=True)
