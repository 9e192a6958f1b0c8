"""Limits what a request may send, before anything reads it."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2**20  # of JSON: a shortlist of 1,000 has a tenth of it


class SmallBodies:
    """Refuses larger bodies than a page sends, except sounds, which have a limit of their own."""

    def __init__(self, app: ASGIApp) -> None:
        """Put it before an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say 413."""
        if scope["type"] != "http" or scope["path"].endswith("/upload"):
            await self._app(scope, receive, send)
            return
        left = MOST_BYTES

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"at most {MOST_BYTES // 2**20} MB of JSON")
            return message

        await self._app(scope, counted, send)
