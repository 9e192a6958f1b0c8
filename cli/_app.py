"""The Typer app, to which every command's file adds itself, and the options of all commands."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from embedkit import __version__

from ._settings import read_settings

app = typer.Typer(
    name="embedkit",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"auto_envvar_prefix": "EMBEDKIT"},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"embedkit {__version__}")
        raise typer.Exit


@app.callback()
def embedkit(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of options: it has a table for each command, such as"
            " `[extract]` or `[classify.fit]`, with the options' long names."
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Show no progress, and no message but of what failed."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Also show what libraries warn of and what led to an error, for a bug report.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn folders of sound into small vectors to search, classify and map on an ordinary CPU.

    The value of an option comes from the command line; else from the environment
    (`EMBEDKIT_EXTRACT_WORKERS` is `embedkit extract --workers`); else from the file of `--config`;
    else it is the default.

    Example: embedkit extract sounds --out embeddings
    """
    del version
    log = logging.getLogger("embedkit")
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if config is not None:
        context.default_map = read_settings(config, context.command)
