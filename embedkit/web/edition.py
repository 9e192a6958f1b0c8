"""Numbers of clips and segments only mean something in one edition of a collection.

A page holds numbers for hours, and a browser holds answers. The edition therefore stands in every
address except the first, and in every answer; a request for another edition is told so before
anything else is looked at.
"""

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedkit.web.collection import Collection

API = "/api/"
ENTRY = f"{API}collection"  # where a page learns the edition
HEADER = "X-Edition"
STALE = "the server shows another collection by now, or this one has changed: load the page again"
DRAINED, DRAIN_S = 64 * 2**20, 30.0  # of a stale request: bytes and seconds that are waited for


def edition_of(collection: Collection, labels: Path) -> str:
    """The edition: a digest of what the numbers mean, and of where labels go.

    Args:
        collection: the collection.
        labels: the file of labels.

    Returns:
        16 hexadecimal digits.
    """
    about = [
        str(collection.audio), str(labels.absolute()), asdict(collection.table.provenance),
        collection.clips,
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(about).encode())
    for column in (collection.clip, collection.start_s, collection.end_s):
        digest.update(column.tobytes())
    return digest.hexdigest()[:16]


class Editions:
    """Answers requests of only one edition: below /api/, all routes but the entry begin with it."""

    def __init__(self, app: ASGIApp, edition: str) -> None:
        """Put it before an application whose routes begin with `/api/<edition>/`.

        Args:
            app: the application.
            edition: its edition.
        """
        self._app, self._edition = app, edition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say 409."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(API):
            await self._app(scope, receive, send)
            return

        async def with_edition(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = self._edition
            await send(message)

        if path == ENTRY or path.startswith(f"{API}{self._edition}/"):
            await self._app(scope, receive, with_edition)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(_drain(receive), DRAIN_S)
        answer = JSONResponse({"detail": STALE, "edition": self._edition}, 409)
        await answer(scope, receive, with_edition)


async def _drain(receive: Receive) -> None:
    """Take the body, since a browser that is still sending it would see the connection break."""
    total, message = 0, await receive()
    while message.get("more_body") and total < DRAINED:
        total += len(message.get("body", b""))
        message = await receive()
