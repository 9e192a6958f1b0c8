"""The server, and how it ends."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """Serves an application until Ctrl-C, which first ends what is under way."""

    def __init__(self, app: ASGIApp, end: Callable[[], None]) -> None:
        """Serve an application.

        Args:
            app: the application.
            end: ends its work, and may be called twice.
        """
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,  # a new one would close the handlers of others, and their streams
            log_level="warning",
            access_log=False,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=16384,
            timeout_graceful_shutdown=2,  # whatever a browser still asks
        )
        super().__init__(config)
        self._end = end

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and raise KeyboardInterrupt in the end if it was Ctrl-C."""
        with self.capture_signals():  # or Ctrl-C may leave an event loop that is half made
            super().run(sockets)

    def stop(self) -> None:
        """End, from any thread."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, once nothing more is to be answered."""
        self._end()
        await super().shutdown(sockets)
