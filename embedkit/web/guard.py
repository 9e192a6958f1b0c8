"""Who may ask: hosts and origins of an allow-list, a token on other addresses, a strict policy."""

import hmac
import socket
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "embedkit"
EVERY = ("0.0.0.0", "::")  # all addresses of the machine
# The one style sheet that the vendored wavesurfer.js writes into its own shadow tree.
WAVESURFER = "'sha256-Y/8t1dAKa3ay+RZEiEFEDr8dFiQhpaFvYXXUfT3p6ZU='"
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", f"style-src 'self' {WAVESURFER}",
        "img-src 'self' blob:", "media-src 'self' blob:", "connect-src 'self' blob:",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def served_as(host: str, port: int) -> list[str]:
    """What browsers may call a server in their Host header: this machine's own names, and its own.

    Of one that serves all addresses, the machine's name and the addresses that it stands for.
    """
    names = {"127.0.0.1", "localhost", "::1", host}
    if host in EVERY:
        names |= {socket.gethostname(), socket.getfqdn()}
        with suppress(OSError):
            found = socket.getaddrinfo(socket.gethostname(), None)
            names |= {str(address[4][0]) for address in found}
    return [f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in sorted(names)]


class Guard:
    """Refuses what no page of ours asks, before anything else sees it.

    A page of another site that makes a browser ask this server sends its own Origin, or a Host that
    it has pointed here (DNS rebinding): both are checked on every request. There is no CORS.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: str | None = None) -> None:
        """Guard an application.

        Args:
            app: what answers.
            hosts: with their ports, as browsers write them: `127.0.0.1:8000`.
            token: that a request must carry, if any.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refused = self._refuse(headers)
        if refused:
            await PlainTextResponse(refused, 403, HEADERS)(scope, receive, send)
            return
        if self._token is not None and not self._knows_token(headers):
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if not _same(asked, self._token):
                text = "a token is needed: open the address that `embedkit explore` printed"
                await PlainTextResponse(text, 401, HEADERS)(scope, receive, send)
                return
            # From here on a cookie has it, so that it stands in no history and no log.
            answer = RedirectResponse("/", 303, HEADERS)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            await answer(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
                found.setdefault("Cache-Control", "no-cache")  # asked for again, if it may change
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refuse(self, headers: Headers) -> str:
        if headers.get("host", "").lower() not in self._hosts:
            return "this host is not served here"
        if any(origin.lower() not in self._origins for origin in headers.getlist("origin")):
            return "requests of other pages are not answered"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return "requests of other pages are not answered"
        return ""

    def _knows_token(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        cookies.load(headers.get("cookie", ""))
        return COOKIE in cookies and _same(cookies[COOKIE].value, self._token or "")


def _same(asked: str, token: str) -> bool:
    return hmac.compare_digest(asked.encode(), token.encode())
