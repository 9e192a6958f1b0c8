"""embedkit explore: a collection in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._extraction import model_at
from ._output import message
from ._outputs import OutFile, OutFolder

if TYPE_CHECKING:
    import socket
    from contextlib import ExitStack

    from embedkit.pages.projection import Projection
    from embedkit.web.edition import Editions


@app.command()
def explore(
    emb_dir: Annotated[
        Path,
        typer.Argument(help="The embedding folder; or a folder of audio, which is embedded first."),
    ],
    out: Annotated[
        Path | None,
        OutFolder(
            help="The embedding folder that a folder of audio is or was embedded to.",
            show_default="EMB_DIR-embeddings, beside it",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio-root",
            "--audio",
            help="The folder that the sounds are in.",
            show_default="where they were embedded",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        OutFile(
            help="The CSV file that labels are saved in, with the columns path and label.",
            show_default="EMB_DIR-labels.csv, beside the folder",
        ),
    ] = None,
    projection: Annotated[
        str | None,
        typer.Option(
            help="How the map is arranged: pca, tsne, or umap (embedkit[umap]).",
            show_default="umap where it is installed, else pca",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The model that made the vectors, if it has moved; for a new folder, the one to"
            " make them.",
            callback=model_at,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to serve at; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port to serve at; 0 takes any that is free.", min=0, max=65535)
    ] = 8765,
    token: Annotated[
        str,
        typer.Option(
            help="The token that a browser must bring: 16 characters at least.",
            show_default="drawn",
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name that browsers may call this server by, such as a proxy's."),
    ] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open the browser, or do not.",
            show_default="if this terminal is at a screen",
        ),
    ] = None,
) -> None:
    """See, hear, search and label a collection in the browser.

    Nothing leaves the machine. The page asks only this server, which answers only this machine, and
    only a browser that brings the token; the address that is printed holds it. With --host it
    serves another address too. For a folder of audio without vectors, the page shows how far the
    embedding is; a run that was stopped goes on. Each label is written to the disk at once. Ctrl-C
    stops it.

    Example: embedkit explore embeddings
    """
    import sys
    import webbrowser
    from contextlib import ExitStack

    from embedkit.pages.projection import Projection
    from embedkit.web.guard import OWN, Guard, check_token, new_token, served_as
    from embedkit.web.reveal import has_screen
    from embedkit.web.serving import Server

    if projection is None:
        projection = Projection.UMAP if Projection.UMAP.installed else Projection.PCA
    if projection not in set(Projection):
        raise UsageError(f"no projection {projection!r}{choices(projection, Projection)}")
    Projection(projection).check()
    if token:
        check_token(token)
    hosts = served_as(host, allow_host or ())
    token = token or new_token()
    own = host in OWN and not allow_host
    if open_browser is None:
        open_browser = own and sys.stdout.isatty() and has_screen()
    entry = new_token() if open_browser else None
    embedded = _is_embedded(emb_dir)
    if embedded and out is not None:
        raise UsageError(f"--out is for a folder of audio; {emb_dir} has its vectors")
    if not embedded and audio is not None:
        raise UsageError(f"--audio-root is for an embedding folder; {emb_dir} has the sounds")
    place = emb_dir.absolute()
    folder = emb_dir if embedded else out or place.with_name(f"{place.name}-embeddings")

    with _listen(host, port) as listener, ExitStack() as stack:

        def explorer() -> "Editions":
            return _explorer(folder, labels, audio, Projection(projection), model, own, stack)

        embedding = None
        if not embedded:
            from embedkit.web.embedding import Embedding

            embedding = Embedding(emb_dir, folder, model, explorer)
            message(f"embedding the sounds to {folder}; Ctrl-C stops, and another run goes on")
        server = Server(Guard(embedding or explorer(), hosts, token, entry), stack.close)
        address = _address(host, listener.getsockname()[1])
        print(f"{address}?token={token}", flush=True)
        if entry is not None:
            webbrowser.open(f"{address}?token={entry}")
        if embedding is not None:
            stack.enter_context(embedding.under_way(server.stop))
        server.run([listener])
    if embedding is not None and embedding.error is not None:
        raise embedding.error


def _is_embedded(folder: Path) -> bool:
    """Whether it is an embedding folder, or none, and not audio."""
    from embedkit.audio.files import is_audio, require_audio
    from embedkit.store import MANIFEST

    if not folder.exists() or (folder / MANIFEST).exists():
        return True
    try:
        require_audio(folder)  # takes any file that a person names
        is_sound = folder.is_dir() or is_audio(folder)
    except UsageError:
        is_sound = False
    if not is_sound:
        raise UsageError(
            f"{folder}: neither an embedding folder, which has a {MANIFEST}, nor a folder of audio"
            " or an audio file"
        )
    return False


def _explorer(
    folder: Path,
    labels: Path | None,
    audio: Path | None,
    projection: "Projection",
    model: Path | None,
    own: bool,
    stack: "ExitStack",
) -> "Editions":
    """The application of an embedding folder; the stack ends what it started."""
    from embedkit.labels.answers import Answers
    from embedkit.store import EmbeddingTable
    from embedkit.web.app import create_app
    from embedkit.web.collection import Collection
    from embedkit.web.plane import Plane
    from embedkit.web.uploads import Uploads

    table = EmbeddingTable.open(folder)
    collection = Collection(table, audio)
    plane = Plane(collection, projection)
    stack.callback(plane.close)
    place = folder.absolute()
    answers = Answers(
        labels or place.with_name(f"{place.name}-labels.csv"), frozenset(collection.clips)
    )
    uploads = Uploads(table.provenance, model)
    stack.callback(uploads.end)
    uploads.warm()
    failed = sum(collection.facts()["errors"].values())
    message(
        f"{len(collection.clips):,} clips, {len(collection.clip):,} segments"
        + (f"; {failed:,} files failed or are damaged" if failed else "")
        + f"; labels go to {answers.path}; Ctrl-C stops"
    )
    return create_app(collection, answers, uploads, model=model, own=own, plane=plane)


@contextmanager
def _listen(host: str, port: int) -> "Iterator[socket.socket]":
    """A socket on which a browser waits, and is not refused, until it is served."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}, port {port}: {error.strerror}; name another port with --port"
            ) from error
        listener.listen()
        yield listener


def _address(host: str, port: int) -> str:
    """What to type into a browser."""
    import socket

    from embedkit.web.guard import EVERY

    shown = socket.gethostname() if host in EVERY else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
