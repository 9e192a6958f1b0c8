"""embedkit info: what a folder or file is."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedkit.errors import EmbedkitError, UsageError

from ._app import app
from ._extraction import model_at
from ._output import Json, SoundTrack, print_json, print_table
from ._output import track as progress

if TYPE_CHECKING:
    from embedkit.store import EmbeddingTable


@app.command()
def info(
    path: Annotated[
        Path,
        typer.Argument(
            help="A model folder, the extractor.toml of another extractor, the name of either, an"
            " embedding folder or an audio file.",
            callback=model_at,
        ),
    ],
    track: SoundTrack = None,
    json: Json = False,
) -> None:
    """Say what a model folder, an extractor.toml, an embedding folder or an audio file is.

    Example: embedkit info embeddings
    """
    from embedkit.runtime.description import is_description

    if (path / "manifest.json").exists():
        found = _embeddings(path, json)
    elif (path / "config.json").exists():
        found = _model(path)
    elif is_description(path):
        found = _extractor(path)
    elif path.is_file():
        found = _audio(path, track)
    else:
        raise UsageError(f"{path}: neither a model folder, nor an embedding folder, nor a file")
    if json:
        print_json(found)
    else:
        print_table(["what", "value"], _flatten(found))


def _embeddings(path: Path, json: bool) -> dict[str, Any]:
    import pyarrow.compute as pc

    from embedkit.field.recordings import Recordings, cover
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(path)
    journal = table.journal_table()  # columns: records of a million files are a gigabyte
    failed = pc.not_equal(journal["kind"], "")
    known = cover(Recordings(table))
    provenance = asdict(table.provenance)
    if not provenance["extractor"]:  # of others; these vectors are of embedkit's own model
        del provenance["extractor"]
    kinds = Counter(journal["kind"].filter(failed).to_pylist())
    return {
        "kind": "embedding folder",
        "files": len(journal),
        "failed_or_damaged": dict(sorted(kinds.items())),
        "remarks": pc.sum(pc.and_not(pc.not_equal(journal["message"], ""), failed)).as_py() or 0,
        "audio_hours": round((pc.sum(journal["duration_s"]).as_py() or 0.0) / 3600, 4),
        "rows": len(table),
        "with_time": known.with_time,
        "with_site": known.with_site,
        "heard": _heard(table, json),
        **provenance,
    }


def _heard(table: "EmbeddingTable", json: bool) -> Any:
    """What is heard in it: for a person in words, or why that is not known."""
    from embedkit.names.bundled import load_names
    from embedkit.names.summary import summarise

    try:
        heard = summarise(table, load_names(table), progress)
    except EmbedkitError as error:
        return None if json else f"not known: {error}"
    return heard.rows() if json else str(heard)


def _model(path: Path) -> dict[str, Any]:
    from embedkit.checkpoint import count_parameters, fingerprint, load_config
    from embedkit.models.table import choose_size
    from embedkit.runtime.onnx import read_network

    config = load_config(path)
    network = read_network(path)
    sizes = config.model.dims or (network.embedding_size,)
    return {
        "kind": "model folder",
        "fingerprint": fingerprint(path),
        "parameters": count_parameters(path),
        "embedding_size": choose_size(sizes, config.size),
        "embedding_sizes": list(sizes),
        "macs": network.macs,
        "labels": list(config.labels),
        "activation": str(config.activation),
        "model": config.model.to_dict(),
        "features": config.features.to_dict(),
        "segments": config.segments.to_dict(),
        "training": config.training.to_dict(),
    }


def _extractor(path: Path) -> dict[str, Any]:
    from embedkit.runtime import prepare

    program = prepare(path)
    return {
        "kind": "extractor of others",
        "fingerprint": program.fingerprint,
        "embedding_size": program.embedding_size,
        "runtime": str(program.runtime),
        "segments": program.segments.to_dict(),
        **program.described,
    }


def _audio(path: Path, track: int | None) -> dict[str, Any]:
    from embedkit.audio.decode import probe

    return {"kind": "audio file", **asdict(probe(path, track))}


def _flatten(found: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            rows += _flatten(value, f"{prefix}{name}.") or [(prefix + name, "none")]
        elif isinstance(value, list):
            rows.append((prefix + name, ", ".join(map(str, value)) or "none"))
        else:
            rows.append((prefix + name, "none" if value in {"", None} else str(value)))
    return rows
