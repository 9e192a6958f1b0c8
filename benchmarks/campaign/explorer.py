"""The explorer's server under requests that no page of its own makes, and uploads that hang."""

import http.client
import json
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from campaign.outcome import Case, Outcome
from campaign.runs import collection
from campaign.sounds import sound, write
from embedkit.config import DEFAULT_MODEL
from embedkit.extraction import Settings, extract

TOKEN = "only-for-the-campaign-0123"
SECRET = "root:x:0:0"  # what no answer may hold
ODD = (
    None, True, -1, 0, 1.5, 10**30, "", "x", "\0", "../" * 9 + "etc/passwd", "\ud800", "9" * 5000,
    [], {}, [[[]]], {"clip": 0}, [0] * 5000, float("nan"), float("inf"),
)  # fmt: skip
WAYS = (
    "/etc/passwd", "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/passwd",
    "....//....//etc/passwd", "%00", "%ff%fe", "\\..\\..\\etc\\passwd", "static/../../app.py", "%",
    "file:///etc/passwd", "//evil.example/x", "a" * 5000, "?" * 300, "index.html%00.js",
)  # fmt: skip
# What a page asks, by its address.
BODIES = {
    "/search": {"like": [0], "unlike": [1], "top": 5, "sort": "best", "size": None},
    "/words": {"text": "crow"},
    "/named": {"text": "00", "folder": "", "shortest_s": 0, "after": "", "hours": ""},
    "/labels": {"clip": 1, "label": "wren"},
    "/refit": {"passed": [0]},
    "/marks": {"clip": 0, "start_s": 0, "end_s": 1, "label": "crow", "sign": "+"},
    "/marks/table": {"name": "a.csv", "text": "path,start_s,end_s,label\n001.wav,0,1,wren\n"},
    "/shortlist/csv": {"items": [{"clip": 0, "start_s": 0, "end_s": 1}]},
}


class Server(NamedTuple):
    """A running explorer: where it is, its process, and below what its edition answers."""

    port: int
    process: subprocess.Popen[str]
    api: str
    audio: Path
    labels: Path


@contextmanager
def served(place: Path) -> Iterator[Server]:
    """An explorer of a few sounds."""
    audio, emb, labels = collection(place, 6), place / "emb", place / "labels.csv"
    extract(audio, DEFAULT_MODEL, emb, Settings(workers=1))
    labels.write_text("path,label\n000.wav,crow\n")
    program = Path(sys.executable).with_name("embedkit")
    command = [program, "explore", emb, "--labels", labels, "--port", "0", "--token", TOKEN]
    log = (place / "log").open("w")
    process = subprocess.Popen(
        [*command, "--projection", "pca"], stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert process.stdout is not None
    port = urlsplit(process.stdout.readline().strip()).port
    assert port is not None
    _, _, facts = ask(port, "GET", "/api/collection", good(port))
    yield Server(port, process, f"/api/{json.loads(facts)['edition']}", audio, labels)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    log.close()


def good(port: int) -> dict[str, str]:
    """The headers of a page of its own."""
    return {"Host": f"127.0.0.1:{port}", "Cookie": f"embedkit-{port}={TOKEN}"}


def ask(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Ask, and return status, headers and content of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def hostile(place: Path, share: float) -> Outcome:
    """Requests by strangers and by broken programs: refused, and the server lives on."""
    outcome = Outcome(tried="hostile requests: hosts, origins, tokens, paths, JSON, ranges, bytes")
    draw = random.Random(0)
    with served(place) as server:
        before = server.labels.read_bytes()
        headers = good(server.port) | {"Content-Type": "application/json"}
        for path in BODIES.keys() - {"/labels"}:
            body = json.dumps(BODIES[path]).encode()
            status, _, answer = ask(server.port, "POST", f"{server.api}{path}", headers, body)
            outcome.check(status == 200, path, f"status {status}: {answer[:99]!r}", "page's own")
        kinds = (_stranger, _path, _json, _range, _bytes, _query)
        for number in range(round(1000 * share)):
            kind = kinds[number % len(kinds)]
            try:
                case = kind(server, draw)
            except OSError as error:  # a connection that is closed is an answer too
                case = Case("connection closed")
                if isinstance(error, TimeoutError):
                    case = Case("no answer", "no answer in 60 s")
            if server.process.poll() is not None:
                case = Case("dead", f"the server ended: {server.process.returncode}")
                outcome.add(case, f"{kind.__name__[1:]} {number}")
                return outcome
            outcome.add(case, f"{kind.__name__[1:]} {number}")
        status, _, content = ask(server.port, "GET", f"{server.api}/clips", good(server.port))
        outcome.check(status == 200 and len(json.loads(content)["names"]) == 6, "end", "no answer")
        outcome.check(server.labels.read_bytes() == before, "labels", "they have changed")
        outcome.check((place / "log").read_text().find("Traceback") < 0, "log", "a traceback in it")
    return outcome


def _judged(status: int, content: bytes, allowed: range = range(400, 500)) -> Case:
    if SECRET.encode() in content:
        return Case("leaked", "it shows a file of the machine")
    if status >= 500:
        return Case(str(status), f"status {status}: {content[:100]!r}")
    if status not in allowed:
        return Case(str(status), f"status {status}, and it should be refused: {content[:60]!r}")
    return Case(f"status {status}")


def _stranger(server: Server, draw: random.Random) -> Case:
    headers = good(server.port)
    change = draw.choice(
        [{"Host": "evil.example"}, {"Host": ""}, {"Host": "["},
         {"Host": f"127.0.0.1:{server.port}.x"},
         {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
         {"Cookie": ""}, {"Cookie": f"embedkit-{server.port}={TOKEN[:-1]}"},
         {"Cookie": "\xff=\xff"}, {"Cookie": "a=b;" * 1000},
         {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1"}]
    )  # fmt: skip
    path = draw.choice(["/", f"{server.api}/clips", f"{server.api}/labels", "/nothing"])
    method = draw.choice(["GET", "POST", "DELETE", "OPTIONS", "TRACE", "BREW"])
    body = b'{"clip": 0, "label": "wren"}' if method == "POST" else None
    status, _, content = ask(server.port, method, path, headers | change, body)
    return _judged(status, content)


def _path(server: Server, draw: random.Random) -> Case:
    base = draw.choice(["/", f"{server.api}/", f"{server.api}/original/", f"{server.api}/path/",
                        f"{server.api}/export/", f"{server.api}/points/"])  # fmt: skip
    path = base + draw.choice(WAYS).replace(" ", "%20")
    status, _, content = ask(server.port, "GET", path, good(server.port))
    return _judged(status, content, range(200, 500))


def _json(server: Server, draw: random.Random) -> Case:
    """Bodies in which something is odd; some are right by chance, but no label is set by one."""
    path = draw.choice(list(BODIES))
    values: object = dict(BODIES[path])
    assert isinstance(values, dict)
    values[draw.choice([*values, "other"])] = draw.choice(ODD)
    if path == "/labels":
        values["clip"] = draw.choice([-1, 10**9, "x", None, 2.5, [], "0x0", 6])
    content = json.dumps(draw.choice([values, values, values, draw.choice(ODD)])).encode()
    if draw.random() < 0.2:
        content = content[: len(content) // 2] + draw.choice([b"", b"\xff\xfe", b"[" * 50_000])
    headers = good(server.port) | {"Content-Type": "application/json"}
    status, _, answer = ask(server.port, "POST", f"{server.api}{path}", headers, content)
    return _judged(status, answer, range(200, 500))


def _range(server: Server, draw: random.Random) -> Case:
    wanted = draw.choice(
        ["bytes=0-", "bytes=-1", "bytes=99999999-", "bytes=5-1", "bytes=a-b", "x", "bytes=--1",
         "bytes=0-0,1-1," * 500, f"bytes=0-{10**30}", "bytes= 0 - 1"]
    )  # fmt: skip
    path = draw.choice(["/original/0", "/audio/0", "/spectrogram/0", "/original/99", "/cut/0"])
    query = draw.choice(
        ["", "?start_s=0&end_s=1", "?start_s=1e9&end_s=-1", "?start_s=nan", "?start_s=1e400",
         "?speed=0", "?speed=1e9&band=1-2", "?band=9-1"]
    )  # fmt: skip
    headers = good(server.port) | {"Range": wanted}
    status, _, content = ask(server.port, "GET", f"{server.api}{path}{query}", headers)
    return _judged(status, content, range(200, 500))


def _query(server: Server, draw: random.Random) -> Case:
    number = draw.choice(
        ["-1", "9" * 40, "1.5", "nan", "0x1", "%00", "1e3", "٣", "true", "2147483648"]
    )
    place = draw.choice(["segment", "clip", "audio", "spectrogram", "original", "path", "cut"])
    path = f"{server.api}/{place}/{number}".encode("ascii", "ignore").decode()
    status, _, content = ask(server.port, "GET", path, good(server.port))
    return _judged(status, content, range(300, 500))


def _bytes(server: Server, draw: random.Random) -> Case:
    """What is no HTTP, or half of it."""
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    sent = draw.choice(
        [b"\0" * 100, draw.randbytes(500), b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
         b"\x16\x03\x01\x02\0",
         b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n", b"G" * 100_000,
         b"GET / HTTP/1.1\r\n" + host.encode() + b"Content-Length: -5\r\n\r\n",
         b"POST / HTTP/1.1\r\n" + host.encode() + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
         b"GET / HTTP/1.1\r\n" + host.encode() + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n",
         b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]
    )  # fmt: skip
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            answer = connection.recv(4096)
            if answer:
                return _judged(int(answer.split(maxsplit=2)[1]), answer)
    return Case("connection closed")


def uploads(place: Path, share: float) -> Outcome:
    """Uploads that hang: the page answers meanwhile, and they are ended."""
    outcome = Outcome(tried="4 uploads that stop midway; what the page asks meanwhile, and after")
    with served(place) as server:
        held = [_hang(server) for _ in range(4)]
        time.sleep(2)
        started, slowest = time.monotonic(), 0.0
        for _ in range(50):
            asked = time.monotonic()
            status, _, _ = ask(server.port, "GET", f"{server.api}/clips", good(server.port))
            slowest = max(slowest, time.monotonic() - asked)
            outcome.check(status == 200, "page", f"status {status}", "page answered")
        outcome.check(slowest < 5, "page", f"an answer took {slowest:.1f} s", "page in time")
        content = write(place / "new.wav", sound(2)).read_bytes()
        headers = good(server.port) | {"Content-Type": "application/octet-stream"}
        asked_of = (server.port, "POST", f"{server.api}/upload", headers, content)
        status, _, _ = ask(*asked_of)
        outcome.check(
            status == 429, "fifth", f"status {status}, expected 429", "fifth told to wait"
        )
        for connection in held:
            left = max(1.0, 60 - (time.monotonic() - started))
            ready = select.select([connection], [], [], left)[0]
            answer = connection.recv(100) if ready else b""
            outcome.check(b" 408 " in answer, "hanging", repr(answer), "hanging one ended with 408")
            connection.close()
        status, _, _ = ask(*asked_of)
        outcome.check(status == 200, "after", f"status {status}", "a good one embedded after")
    return outcome


def _hang(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=90)
    headers = good(server.port) | {
        "Content-Type": "application/octet-stream",
        "Content-Length": "9999",
    }
    lines = [
        f"POST {server.api}/upload HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    connection.sendall("\r\n".join([*lines, "", "half of"]).encode())
    return connection
