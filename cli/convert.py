"""embedkit convert: vectors to and from the formats of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._output import message
from ._outputs import OutPlace


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="An embedding folder; with --from, another tool's vectors.")
    ],
    out: Annotated[Path, OutPlace(help="The file or folder to write.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="The format to write: npy, npz, csv, lance, hf, tensorboard,"
            " audacity, raven or hoplite."
        ),
    ] = None,
    source_format: Annotated[
        str | None, typer.Option("--from", help="The format to read: npy, parquet or hoplite.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="With --from: the name of the extractor that made the vectors.")
    ] = "",
    rows: Annotated[
        Path | None,
        typer.Option(
            help="With --from npy: a CSV or Parquet file with the path, start and"
            " end of each vector."
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="With --from: the length of a segment in seconds.", min=0.001),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(help="With --from: the seconds from one segment to the next.", min=0.001),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio-root", "--audio", help="With --from: the folder that the clips lie in."
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="With --to hoplite: labels to write as annotations. With --from hoplite: a"
            " .csv file to write the annotations to."
        ),
    ] = "",
) -> None:
    """Write vectors for other tools, or bring another extractor's into an embedding folder.

    Vectors of OpenL3, PANNs, YAMNet, BirdNET or any other extractor are then searched, classified
    and compared like embedkit's own. `parquet` has the columns clip (or path), start_s, end_s and
    embedding (or vector). `npy` is one file with --rows, or a folder with a file for each clip.
    `hoplite` is perch-hoplite's folder (SQLite and USearch), which BirdNET-Analyzer and
    OpenSoundscape read.

    Example: embedkit convert embeddings --to npy --out vectors
    """
    from embedkit.exchange import Foreign, export, import_vectors
    from embedkit.exchange.hoplite import read_annotations, write_annotations, write_hoplite
    from embedkit.store import EmbeddingTable

    if (to is None) == (source_format is None):
        raise UsageError("name one of --to and --from")
    if labels and "hoplite" not in {to, source_format}:
        raise UsageError("--labels goes with hoplite, whose folder holds annotations too")
    if to == "hoplite":
        windows, annotations = write_hoplite(EmbeddingTable.open(source), out, labels)
        message(f"{out}: {windows:,} windows and {annotations:,} annotations")
        return
    if to is not None:
        table = EmbeddingTable.open(source)
        export(table, to, out)
        message(f"{out}: {len(table):,} rows of {table.embedding_size} numbers")
        return
    assert source_format is not None
    if not name:
        raise UsageError("name the extractor that made the vectors with --name, such as OpenL3")
    foreign = Foreign(name=name, window_s=window, hop_s=hop, rows=rows, audio=audio)
    clips, count = import_vectors(source, source_format, foreign, out)
    message(f"{out}: {count:,} rows of {clips:,} clips by {name}")
    if labels:
        stretches = read_annotations(source)
        write_annotations(stretches, Path(labels))
        message(f"{labels}: {len(stretches):,} annotations")
