"""Options from a TOML file, checked against the commands that exist."""

import tomllib
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError, choices


def read_settings(path: Path, command: Any) -> dict[str, Any]:
    """The defaults that a file gives to the options of commands.

    Args:
        path: the file, with tables such as `[extract]` and lines such as `workers = 2`.
        command: the root of the commands.

    Returns:
        the `default_map` of a click context: values by command, then by parameter.

    Raises:
        UsageError: the file cannot be read, or names a command or an option that does not exist.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from error
    return _defaults(values, command, str(path))


def _defaults(values: dict[str, Any], command: Any, place: str) -> dict[str, Any]:
    commands = getattr(command, "commands", {})
    options = {}
    if not commands or command.invoke_without_command:  # a group may do something by itself
        options = {
            name.removeprefix("--"): parameter.name
            for parameter in command.params
            for name in [*parameter.opts, *parameter.secondary_opts]
            if name.startswith("--")
        }
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in commands:
            if not isinstance(value, dict):
                raise UsageError(f"{place}: {name} is a command: expected a table [{name}]")
            found[name] = _defaults(value, commands[name], f"{place}, {name}")
        elif name in options:
            # Several values of an option are a list, and those with commas a text.
            found[options[name]] = value if isinstance(value, list | bool) else str(value)
        else:
            kind = "option" if options else "command"
            there = sorted([*commands, *options])
            raise UsageError(f"{place}: no {kind} {name!r}{choices(name, there)}")
    return found
