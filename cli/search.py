"""embedkit search: the segments nearest to a sound."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import AudioError

from ._app import app
from ._output import Device, Json, print_json, print_table, report_failures


@app.command()
def search(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    queries: Annotated[
        list[str],
        typer.Argument(help="Audio files, or clips of the collection.", metavar="QUERY..."),
    ],
    top: Annotated[int, typer.Option(help="How many clips to find.", min=1)] = 10,
    model: Annotated[
        Path | None,
        typer.Option(help="Embeds audio files.", show_default="the one that made the folder"),
    ] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Find the clips that sound most alike, each with the segment that does.

    Exact cosine between the query's mean vector and every segment. A clip of the collection as the
    query is itself left out.

    Example: embedkit search embeddings dog.wav
    """
    from embedkit.backends.search import CosineIndex
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(emb_dir)
    index = CosineIndex(table)
    embed = None
    if not all(index.has_clip(query) for query in queries):
        from embedkit.query import QueryEmbedder  # loads torch, which clips do not need

        embed = QueryEmbedder(table.provenance, model, device).embed
    answers, failures = [], []
    for query in queries:
        if embed is None or index.has_clip(query):
            vector, own = index.clip_vector(query), query
        else:
            try:
                vector, own = embed(Path(query)), ""
            except AudioError as error:
                failures.append((query, str(error.kind), str(error)))
                continue
        answers.append((query, index.search(vector, top, without=own)))
    if json:
        print_json(
            [{"query": query, "results": [vars(hit) for hit in hits]} for query, hits in answers]
        )
    for number, (query, hits) in enumerate([] if json else answers):
        if len(answers) > 1:
            print(("\n" if number else "") + f"{query}:")
        print_table(
            ["similarity", "start_s", "end_s", "clip"],
            [
                [f"{hit.similarity:.4f}", f"{hit.start_s:.2f}", f"{hit.end_s:.2f}", hit.clip]
                for hit in hits
            ],
        )
    report_failures(failures, of=len(queries))
