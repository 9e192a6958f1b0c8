"""embedkit explore: a collection in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._output import message
from ._outputs import OutFile


@app.command()
def explore(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio-root",
            "--audio",
            help="Where the sounds are.",
            show_default="where they were embedded",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        OutFile(
            help="The CSV that labels are saved in: path, label.",
            show_default="EMB_DIR-labels.csv, beside the folder",
        ),
    ] = None,
    projection: Annotated[
        str, typer.Option(help="Of the map: pca, tsne, or umap (embedkit[umap]).")
    ] = "pca",
    model: Annotated[
        Path | None, typer.Option(help="The model that made the vectors, if it has moved.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8765,
    token: Annotated[
        str,
        typer.Option(
            help="That a browser must bring: 16 characters at least.", show_default="drawn"
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name that browsers call it by, such as a proxy's."),
    ] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open the browser.",
            show_default="if this terminal is at a screen",
        ),
    ] = None,
) -> None:
    """See, hear, search and label a collection in the browser.

    Nothing leaves the machine: the page asks this server alone, and it answers this machine alone,
    and there who brings the token, which stands in the address that it prints. With --host it
    serves another address too. Labels are on the disk at every stroke. Stop it with Ctrl-C.

    Example: embedkit explore embeddings
    """
    import secrets
    import socket
    import sys
    import webbrowser

    import uvicorn

    from embedkit.labels.answers import Answers
    from embedkit.pages.projection import Projection
    from embedkit.store import EmbeddingTable
    from embedkit.web.app import create_app
    from embedkit.web.collection import Collection
    from embedkit.web.guard import EVERY, OWN, check_token, new_token, served_as
    from embedkit.web.reveal import has_screen
    from embedkit.web.uploads import Uploads

    if projection not in set(Projection):
        raise UsageError(f"no projection {projection!r}{choices(projection, Projection)}")
    if token:
        check_token(token)
    hosts = served_as(host, allow_host or ())
    table = EmbeddingTable.open(emb_dir)
    collection = Collection(table, audio, Projection(projection))
    place = emb_dir.absolute()
    saved = labels or place.with_name(f"{place.name}-labels.csv")
    answers = Answers(saved, frozenset(collection.clips))
    token = token or new_token()
    own = host in OWN and not allow_host
    if open_browser is None:
        open_browser = own and sys.stdout.isatty() and has_screen()
    entry = secrets.token_urlsafe(24) if open_browser else None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}, port {port}: {error.strerror}; another with --port"
            ) from error
        listener.listen()  # from here on a browser waits, and is not refused
        port = listener.getsockname()[1]
        explorer = create_app(
            collection,
            answers,
            Uploads(table.provenance, model),
            hosts=hosts,
            token=token,
            entry=entry,
            model=model,
            own=own,
        )
        shown = socket.gethostname() if host in EVERY else f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}/"
        print(f"{address}?token={token}", flush=True)
        message(
            f"{len(collection.clips):,} clips, {len(collection.clip):,} segments; labels go to"
            f" {answers.path}; Ctrl-C stops"
        )
        if entry is not None:
            webbrowser.open(f"{address}?token={entry}")
        config = uvicorn.Config(
            explorer,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=16384,
            timeout_graceful_shutdown=2,  # whatever a browser still asks when Ctrl-C stops it
        )
        uvicorn.Server(config).run([listener])
