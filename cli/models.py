"""embedkit models: the networks, embedkit's own models, and extractors of others."""

import json as json_format
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from embedkit.config import OWN_MODELS
from embedkit.errors import EmbedkitError, UsageError

from ._app import app
from ._output import Json, message, print_json, print_table

models = typer.Typer(help="List the models, or add an extractor of others.")
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    classes: Annotated[
        int, typer.Option(help="The number of outputs of the network; AudioSet has 527.", min=1)
    ] = 527,
    json: Json = False,
) -> None:
    """List the networks: parameters, embedding size, multiply-accumulates a segment.

    Below them stand embedkit's own models: `default`, which is used where none is named, and
    `fast`, which does half the work. Each is listed by the size of its vectors: megabytes for an
    hour of audio, and how many of ESC-10's clips a logistic regression on them gets right. Last
    come the extractors of others that `models add` has installed.

    Example: embedkit models --classes 10
    """
    if context.invoked_subcommand is not None:
        return
    from embedkit.models.table import COUNTS

    rows = []
    for name, counts in COUNTS.items():
        found = counts.with_classes(classes)
        rows.append(
            {
                "name": name,
                "parameters": found.parameters,
                "embedding_size": found.embedding_size,
                "macs": found.macs,
            }
        )
    own = {name: _own(folder) for name, folder in OWN_MODELS.items()}
    others = _installed()
    if json:
        print_json({"networks": rows, **own, "installed": others})
        return
    print_table(
        ["name", "parameters", "embedding size", "MACs a segment"],
        [
            [row["name"], *(f"{row[key]:,}" for key in ("parameters", "embedding_size", "macs"))]
            for row in rows
        ],
    )
    network, size = own["default"]["network"], own["default"]["embedding_size"]
    print(f"\nembedkit's own models: {network}, distilled; {size} numbers by default")
    print_table(
        ["numbers", "MB an hour", *(f"{name}, ESC-10" for name in own)],
        [
            [
                str(row["size"]),
                f"{row['bytes_an_hour'] / 1e6:.1f}",
                *(f"{one['sizes'][at]['esc10_accuracy']:.1%}" for one in own.values()),
            ]
            for at, row in enumerate(own["default"]["sizes"])
        ],
    )
    if others:
        print("\ninstalled: --model takes their names")
        header = ["name", "what", "Hz", "seconds of a vector", "labels", "licence"]
        keys = ("name", "what", "sample_rate", "window_s", "labels", "licence")
        print_table(header, [[str(row[key]) for key in keys] for row in others])


@models.command()
def add(
    file: Annotated[Path, typer.Argument(help="The network: an .onnx or a .tflite file.")],
    name: Annotated[
        str, typer.Option(help="The name to install it under.", show_default="the file's")
    ] = "",
    sample_rate: Annotated[
        int | None,
        typer.Option(
            help="The sample rate that the network takes, in Hz.", show_default="asks for it"
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="The seconds of sound that one vector stands for.",
            show_default="what the file says, else 1",
        ),
    ] = None,
    embedding: Annotated[
        str,
        typer.Option(
            help="The name of the output that is the vector.", show_default="seen, if it can be"
        ),
    ] = "",
    logits: Annotated[
        str,
        typer.Option(
            help="With --labels: the name of the output with a number for each label.",
            show_default="as embedding",
        ),
    ] = "",
    labels: Annotated[
        Path | None, typer.Option(help="A CSV file with the names of the logits, in their order.")
    ] = None,
    label_column: Annotated[
        str, typer.Option(help="The column of --labels that holds the names.")
    ] = "display_name",
    licence: Annotated[str, typer.Option(help="The licence of its weights.")] = "",
    source: Annotated[str, typer.Option(help="The address that it comes from.")] = "",
) -> None:
    """Look into a network of others, describe it, prove it on a second of noise, and install it.

    What is copied lies in the user's data folder, with an extractor.toml to correct by hand;
    `--model NAME` takes it everywhere from then on.

    Example: embedkit models add birds.onnx --sample-rate 48000 --licence CC-BY-4.0
    """
    from embedkit.runtime.installed import install, known, look

    facts, samples = look(file)
    sha256 = _sha256(file)
    about: dict[str, object] = {}
    if ready := known(sha256):
        about = ready[""]
        facts |= {table: dict(ready[table]) for table in ("input", "output")}
        message(f"known: {about['name']}, {about['licence']}")
        sample_rate = sample_rate or int(str(ready["input"]["sample_rate"]))
        window = window or float(str(ready["input"]["window_s"]))
    if sample_rate is None:
        if not sys.stdin.isatty():
            raise UsageError(f"{file}: does not say its sample rate; name it with --sample-rate")
        sample_rate = typer.prompt("The sample rate that it takes, in Hz", type=int, err=True)
    seconds = window or (samples / sample_rate if samples else 1.0)
    facts["input"] |= {"sample_rate": sample_rate, "window_s": seconds}
    given = facts["output"]
    if embedding:
        for key in ("pool", "axis"):  # were of another one
            given.pop(key, None)
        given["embedding"] = embedding
    if logits:
        given["logits"] = logits
    if "embedding" not in given:
        raise UsageError(f"{file}: which of its outputs is the vector? Name it with --embedding")
    if labels is None:
        for key in ("logits", "activation"):
            given.pop(key, None)
    elif "logits" in given:
        given |= {"labels": labels.name, "label_column": label_column}
    else:
        raise UsageError(f"{file}: which of its outputs is of the labels? Name it with --logits")
    called = name or file.stem
    said = {"name": name, "licence": licence, "source": source}
    about = {"name": called} | about | {key: value for key, value in said.items() if value}
    facts = {"": about, **facts}
    facts["network"]["sha256"] = sha256
    place = install(called, file, facts, labels, _prove)
    print(f"{called}: installed in {place}; use it as --model {called}")


def _sha256(file: Path) -> str:
    import hashlib

    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _prove(folder: Path) -> None:
    """Hear a second of noise, and say what came of it."""
    from embedkit.runtime.description import read_description
    from embedkit.runtime.foreign import open_foreign
    from embedkit.runtime.head import Head
    from embedkit.runtime.installed import a_second

    foreign = open_foreign(folder, threads=1)
    described = foreign.description
    length, _ = described.segments.samples(described.sample_rate)
    noise = a_second(described.sample_rate, length)
    started = time.perf_counter()
    foreign.hear(noise)
    elapsed = time.perf_counter() - started
    speed = noise.size / described.sample_rate / elapsed
    message(
        f"takes {described.input_name!r} ({described.layout}), {length} samples at"
        f" {described.sample_rate} Hz; gives {described.embedding!r}, {foreign.embedding_size}"
        f" numbers for {described.segments.duration_s:g} s; noise in {elapsed * 1000:.0f} ms,"
        f" {speed:.0f} times real time on one thread"
    )
    if foreign.labels:
        try:
            Head(read_description(folder))
        except EmbedkitError as error:
            message(f"without names: {error}")
        else:
            message(f"names its vectors with {len(foreign.labels)} labels")


def _installed() -> list[dict[str, Any]]:
    from embedkit.runtime.description import read_description
    from embedkit.runtime.installed import installed

    rows = []
    for folder in installed():
        try:
            found = read_description(folder)
        except EmbedkitError as error:
            message(f"left out: {error}")
            continue
        rows.append(
            {
                "name": folder.name,
                "what": found.name,
                "sample_rate": found.sample_rate,
                "window_s": found.segments.duration_s,
                "labels": len(found.labels),
                "licence": found.licence or "not stated",
                "path": str(folder),
            }
        )
    return rows


def _own(folder: Path) -> dict[str, Any]:
    from embedkit.checkpoint import load_config

    config = load_config(folder)
    # benchmarks/default_model.py wrote them.
    measured = json_format.loads((folder / "figures.json").read_bytes())
    return {
        "network": config.model.name,
        "embedding_size": config.size,
        "sizes": [
            {"size": size, "bytes_an_hour": 4 * 3600 * size, **measured[str(size)]}
            for size in config.model.dims
        ],
    }
