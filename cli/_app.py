"""The Typer app alone: every command file adds itself to it."""

import typer

app = typer.Typer(
    name="embedkit",
    help="Turn folders of sound into small vectors to search, classify and map on an ordinary CPU.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
