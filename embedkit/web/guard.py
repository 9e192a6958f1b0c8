"""Checks who asks: allowed hosts and origins, a token, and a strict policy for the page."""

import hmac
import re
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedkit.errors import UsageError
from embedkit.web.edition import API

EVERY = ("0.0.0.0", "::")  # all addresses of the machine
OWN = frozenset({"127.0.0.1", "localhost", "::1"})  # which nobody else can point here
SHORTEST, DIFFERENT = 16, 8  # of a token: characters, and how many of them differ
TOKEN = re.compile(r"[\w.~-]+", re.ASCII)  # what needs no quotes, in an address or in a cookie
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


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def check_token(token: str) -> None:
    """Refuse a token that can be guessed.

    Raises:
        UsageError: it is short, of few characters, a run of characters, or an address cannot hold
            it.
    """
    steps = {ord(one) - ord(other) for one, other in pairwise(token)}
    if len(token) < SHORTEST or min(len(set(token)), len(steps)) < DIFFERENT:
        raise UsageError(
            f"--token: it can be guessed; at least {SHORTEST} characters of which {DIFFERENT}"
            " differ and do not follow in order, or leave it out: one is drawn"
        )
    if not TOKEN.fullmatch(token):
        raise UsageError("--token: letters, digits, and . _ ~ - only: it stands in the address")


def served_as(host: str, allowed: Iterable[str] = ()) -> set[str]:
    """The names that browsers may give a server in their Host header, without ports.

    For a server at all addresses, these are also the machine's name and its addresses.

    Args:
        host: the address that it serves.
        allowed: further names, such as that of a machine which passes requests on.

    Returns:
        the names.

    Raises:
        UsageError: one of these is no name or address of a machine.
    """
    names = {*OWN, host}
    if host in EVERY:
        names |= {socket.gethostname(), socket.getfqdn()}
        with suppress(OSError):
            found = socket.getaddrinfo(socket.gethostname(), None)
            names |= {str(address[4][0]) for address in found}
    for name in allowed:
        bare = name.removeprefix("[").removesuffix("]")
        if not re.fullmatch(r"[\w.:-]+", bare) or (":" in bare and bare.count(":") < 2):
            raise UsageError(f"--allow-host {name}: expected a name or an address, without a port")
        names.add(bare)
    return {name.lower() for name in names}


class Guard:
    """Refuses what no page of ours asks, before anything else sees it.

    A page of another site that makes a browser ask this server sends its own Origin, or a Host that
    it has pointed here (DNS rebinding): both are checked on every request. There is no CORS. A link
    on such a page opens the explorer, as a link in a mail does.

    Ports are not checked: what comes through a tunnel names the port of its other end.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], token: str, entry: str | None = None
    ) -> None:
        """Guard an application.

        Args:
            app: answers.
            hosts: names, as `served_as` gives them.
            token: a request must carry it.
            entry: another token, which opens the explorer once. Programs that open a browser show
                it to everybody on the machine.
        """
        self._app = app
        self._hosts = frozenset(hosts)
        self._token, self._entry = token, entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused:
            await PlainTextResponse(refused, 403, HEADERS)(scope, receive, send)
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and self._opens(dict(query).get("token", "")):
            # From here on a cookie has it, so that it stands in no history and no log.
            left = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/\\")  # never another host's
            answer = RedirectResponse(f"{path}?{left}" if left else path, 303, HEADERS)
            # Lax, not strict: a link on another page leads in.
            answer.set_cookie(_cookie(headers), self._token, httponly=True, samesite="lax")
            await answer(scope, receive, send)
            return
        if not any(_same(value, self._token) for value in _brought(headers)):
            text = "a token is needed: open the address that `embedkit explore` printed"
            await PlainTextResponse(text, 401, HEADERS)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
                found.setdefault("Cache-Control", "no-cache")  # asked for again, if it may change
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refuse(self, scope: Scope, headers: Headers) -> str:
        host = headers.get("host", "").lower()
        name = _split(host)[0]
        if name not in self._hosts:
            return "this host is not served here; name it with --allow-host"
        own = {f"http://{host}"}
        if name not in OWN:  # a proxy before it may speak HTTPS
            own.add(f"https://{host}")
        if any(origin.lower() not in own for origin in headers.getlist("origin")):
            return "requests of other pages are not answered"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not (
            scope["method"] == "GET"
            and not scope["path"].startswith(API)
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        ):
            return "requests of other pages are not answered"
        return ""

    def _opens(self, asked: str) -> bool:
        if self._entry is not None and _same(asked, self._entry):
            self._entry = None
            return True
        return _same(asked, self._token)


def _split(host: str) -> tuple[str, str]:
    """A Host header's name and port; empty where it cannot be read."""
    try:
        found = urlsplit(f"//{host}")
        return found.hostname or "", str(found.port or 80)
    except ValueError:
        return "", ""


def _cookie(headers: Headers) -> str:
    """The cookie's name; a browser has one name for all ports of a machine."""
    return f"embedkit-{_split(headers.get('host', ''))[1]}"


def _brought(headers: Headers) -> Iterator[str]:
    """The values of this server's cookies; those of others may be anything."""
    for line in headers.getlist("cookie"):
        for cookie in line.split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == _cookie(headers):
                yield value


def _same(asked: str, token: str) -> bool:
    return hmac.compare_digest(asked.encode(), token.encode())
