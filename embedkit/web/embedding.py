"""Embeds a folder of sound while its page is already open."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from embedkit.audio.decode import Channel
from embedkit.config import DEFAULT_MODEL
from embedkit.extraction import Extraction, Settings, extract
from embedkit.runtime import Runtime
from embedkit.runtime.origin import find_model
from embedkit.store import MANIFEST, read_manifest
from embedkit.web.edition import API, ENTRY
from embedkit.web.page import page_files

PATIENCE_S = 10.0  # for the work to end when it is to stop


class Embedding:
    """Tells how far the embedding is, and answers as the explorer once it is done.

    Attributes:
        error: what ended it early; empty if nothing did.
    """

    def __init__(
        self,
        sounds: Path,
        folder: Path,
        model: Path | None,
        explore: Callable[[], ASGIApp],
    ) -> None:
        """Prepare to embed a folder of sound.

        Args:
            sounds: the folder.
            folder: the embedding folder; it is made, or gone on with as it was begun.
            model: the model folder; by default what made the folder, and for a new folder
                embedkit's own.
            explore: makes the explorer of what is embedded.
        """
        self._arguments = (sounds, model, folder)
        self._explore = explore
        self._page: ASGIApp = page_files()
        self._explorer: ASGIApp | None = None
        self._run: Extraction | None = None
        self._stopped = threading.Event()
        self.error: Exception | None = None

    @contextmanager
    def under_way(self, end: Callable[[], None]) -> Iterator[None]:
        """Embed while it is open; afterwards what is embedded stays, and another run goes on.

        Args:
            end: is called when there will be no explorer.
        """
        thread = threading.Thread(target=self._work, args=(end,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join(PATIENCE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        path = scope.get("path", "")
        if self._explorer is not None:
            await self._explorer(scope, receive, send)
        elif path == ENTRY:
            await JSONResponse({"embedding": self.facts()})(scope, receive, send)
        elif path.startswith(API):
            answer = JSONResponse({"detail": "the sounds are still being embedded"}, 503)
            await answer(scope, receive, send)
        else:
            await self._page(scope, receive, send)

    def facts(self) -> dict[str, Any]:
        """The number of files that are done, and of all files; zeros before they are counted."""
        run = self._run
        if run is None:
            return {"done": 0, "total": 0, "failed": 0, "seconds_of_audio": 0.0}
        return {
            "done": run.already_done + run.failed_before + run.files,
            "total": run.already_done + run.failed_before + run.total_files,
            "failed": run.failed_before + run.errors.total(),
            "seconds_of_audio": run.audio_s,
        }

    def _work(self, end: Callable[[], None]) -> None:
        try:
            sounds, model, folder = self._arguments
            made_by, settings = _begun(folder, model)
            with suppress(_Stopped):
                extract(sounds, made_by, folder, settings, self._report)
                self._explorer = self._explore()
        except Exception as error:
            self.error = error
            end()

    def _report(self, run: Extraction) -> None:
        self._run = run
        if self._stopped.is_set():
            raise _Stopped


class _Stopped(Exception):  # noqa: N818 - no error
    """The person has stopped the server."""


def _begun(folder: Path, named: Path | None) -> tuple[Path, Settings]:
    """The model and the settings that an embedding folder was begun with, if it was."""
    if not (folder / MANIFEST).exists():
        return named or DEFAULT_MODEL, Settings()
    found = read_manifest(folder)
    return find_model(found, Runtime.that_made(found), named), Settings(
        dim=found.embedding_size,
        hop_s=found.hop_s,
        channel=Channel.parse(found.channel),
        track=None if found.track == 1 else found.track,
    )
