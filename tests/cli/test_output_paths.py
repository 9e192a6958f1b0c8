"""Every place that a command writes is looked at before its work begins."""

import inspect
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import run
from embedkit_cli import _outputs, app
from typer.models import OptionInfo, ParameterInfo

# Every other path that a command takes is one that it reads. A new option belongs to one of the
# kinds of `_outputs`, or here.
READ = {
    ("", "config"),
    ("bench extract", "audio_dir"), ("bench extract", "model"),
    ("bench extractors", "audio_dir"),
    ("bench paper", "data"), ("bench paper", "root"),
    ("bench sizes", "data"), ("bench sizes", "embeddings"), ("bench sizes", "root"),
    ("classify evaluate", "emb_dir"), ("classify fit", "emb_dir"),
    ("classify predict", "classifier"), ("classify predict", "emb_dir"),
    ("cluster", "emb_dir"),
    ("convert", "audio"), ("convert", "rows"), ("convert", "source"),
    ("describe", "audio"), ("describe", "emb_dir"), ("describe", "sites"),
    ("detect", "classifier"), ("detect", "emb_dir"), ("detect", "thresholds"),
    ("distil", "audio_dir"), ("distil", "init"), ("distil", "targets"), ("distil", "teacher"),
    ("duplicates", "emb_dir"),
    ("evaluate", "data"), ("evaluate", "model_dir"), ("evaluate", "root"),
    ("explore", "audio"), ("explore", "emb_dir"), ("explore", "model"),
    ("export", "calibration"), ("export", "model"),
    ("extract", "audio_dir"), ("extract", "audio_root"), ("extract", "model"),
    ("index", "emb_dir"), ("info", "path"), ("label", "emb_dir"),
    ("learn-names", "audio_dir"), ("learn-names", "model"), ("learn-names", "teacher"),
    ("map", "audio"), ("map", "emb_dir"),
    ("mix", "audio_dir"),
    ("models add", "file"), ("models add", "labels"),
    ("predict", "audio"), ("predict", "model_dir"),
    ("review", "classifier"), ("review", "emb_dir"),
    ("scene", "data"), ("scene", "root"), ("scene", "source"),
    ("search", "classifier"), ("search", "emb_dir"), ("search", "labels"), ("search", "model"),
    ("tag", "classifier"), ("tag", "emb_dir"), ("tag", "model"),
    ("train", "data"), ("train", "init"), ("train", "root"),
    ("verify", "classifier"), ("verify", "emb_dir"), ("verify", "model"), ("verify", "trials"),
}  # fmt: skip

KINDS = {_outputs.folder: "folder", _outputs.file: "file", _outputs.file_or_folder: "either"}


def functions() -> dict[str, Callable[..., Any]]:
    """Every command's function, by the command's name; that of `embedkit` itself has none."""
    assert app.registered_callback is not None
    groups = {"": app} | {f"{one.name} ": one.typer_instance for one in app.registered_groups}
    found = {
        prefix + (command.name or command.callback.__name__): command.callback
        for prefix, group in groups.items()
        for command in group.registered_commands
    }
    return {"": app.registered_callback.callback, **found}


def parameters(command: str) -> Iterator[tuple[str, str, Any, ParameterInfo]]:
    """Of a command the name, flag, type and declaration of each parameter."""
    for name, hint in typing.get_type_hints(functions()[command], include_extras=True).items():
        for declared in getattr(hint, "__metadata__", ()):
            if isinstance(declared, ParameterInfo):
                flags = declared.param_decls or [f"--{name.replace('_', '-')}"]
                yield name, flags[0], hint.__origin__, declared


def within(kind: Any) -> Iterator[Any]:
    """A type, and all that it is made of: `list[Path] | None` of Path too."""
    yield kind
    for part in typing.get_args(kind):
        yield from within(part)


def outputs() -> list[tuple[str, str, str]]:
    """Command, flag and kind of every output."""
    return [
        (command, flag, KINDS[declared.parser])
        for command in functions()
        for _, flag, _, declared in parameters(command)
        if declared.parser in KINDS
    ]


def test_every_path_is_read_or_is_a_checked_output() -> None:
    paths = {
        (command, name): declared
        for command in functions()
        for name, _, kind, declared in parameters(command)
        if Path in within(kind)
    }
    written = {place for place, declared in paths.items() if declared.parser in KINDS}
    assert len(written) >= 20
    assert set(paths) - written == READ


def arguments(command: str, option: str, place: str) -> list[str]:
    """A call of a command whose inputs are not there: the output is looked at before them."""
    defaults = inspect.signature(functions()[command]).parameters
    needed = []
    for name, flag, kind, declared in parameters(command):
        if defaults[name].default is inspect.Parameter.empty and flag != option:
            value = "1" if kind is float else "nowhere"
            needed += [flag, value] if isinstance(declared, OptionInfo) else [value]
    return [*command.split(), *needed, option, place]


def make_places(root: Path) -> dict[str, str]:
    """Places of every kind, by what is there."""
    root.mkdir()
    (root / "file").write_text("mine")
    (root / "folder").mkdir()
    (root / "dangling").symlink_to("gone")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe")
    return {
        "nothing": "",
        "file": str(root / "file"),
        "folder": str(root / "folder"),
        "dangling": str(root / "dangling"),
        "below dangling": str(root / "dangling" / "a" / "b"),
        "circle": str(root / "circle"),
        "pipe": str(root / "pipe"),
        "below a file": str(root / "file" / "a" / "b"),
        "too long": str(root / ("x" * 300)),
    }


WORDS = {
    "nothing": "empty name",
    "file": "a file is there",
    "folder": "a folder is there",
    "dangling": "a link to gone, which is not there",
    "below dangling": "a link to gone, which is not there",
    "circle": "Too many levels of symbolic links",
    "pipe": "a device, pipe or socket is there",
    "below a file": "file is a file, no folder",
    "too long": "name too long",
}
GOOD = {"folder": {"folder"}, "file": {"file"}, "either": {"folder", "file"}}


@pytest.mark.parametrize(("command", "option", "kind"), outputs())
def test_an_output_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, command: str, option: str, kind: str
) -> None:
    places = make_places(tmp_path / "places")
    before = sorted(tmp_path.rglob("*"))
    for name, place in places.items():
        if name in GOOD[kind]:
            continue
        done = run(*arguments(command, option, place))
        assert done.returncode == 2, (name, done.stderr)
        assert WORDS[name] in done.stderr, name
        assert "Traceback" not in done.stderr
        assert "nowhere" not in done.stderr  # which comes later
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "places" / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (_outputs.folder, "folder"), (_outputs.file, "file"), (_outputs.file_or_folder, "file"),
        (_outputs.file_or_folder, "folder"),
    ],
)  # fmt: skip
def test_an_output_that_can_be_is_taken_and_not_made(
    tmp_path: Path, kind: Callable[[str], Path], name: str
) -> None:
    place = make_places(tmp_path / "places")[name]
    (tmp_path / "link").symlink_to(place)
    for good in (place, f"{tmp_path}/new/and/newer", f"{tmp_path}/link", "a name in this folder"):
        assert kind(good) == Path(good)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    for kind in KINDS:
        with pytest.raises(Exception, match=f"{tmp_path} may not be written"):
            kind(str(tmp_path / "new" / "out"))


def test_a_settings_file_names_outputs_too(tmp_path: Path) -> None:
    config = tmp_path / "embedkit.toml"
    for value, words in (("''", "empty name"), ("true", "one place"), ("['a']", "one place")):
        config.write_text(f"[demo]\nout = {value}\n")
        done = run("--config", config, "demo")
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
