"""Who may ask the explorer's server, and how."""

import http.client
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from browser import Server, browse, needs_browser, serve
from pages import COOKIE, HOST, TOKEN, open_page
from patience import until

from embedkit.errors import UsageError
from embedkit.web.collection import Collection
from embedkit.web.guard import check_token, new_token, served_as
from embedkit.web.uploads import Uploads

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8765"}, 200),
        ({"Origin": f"http://{HOST}"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1"}, 401),  # --port 80, and a tunnel's other end: other cookies
        ({"Host": "localhost:9000"}, 401),
        ({"Host": "127.0.0.1:8765.evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"https://{HOST}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost:9000", "Origin": f"http://{HOST}"}, 403),
        ({"Host": "["}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/collection", "/nothing"])
def test_only_pages_of_ours_are_answered(
    stranger: Any, path: str, headers: dict[str, str], status: int
) -> None:
    done = stranger.get(path, headers=headers)
    assert done.status_code == (404 if status == 200 and path == "/nothing" else status)
    policy = done.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert done.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in done.headers


def test_another_origin_cannot_label(client: Any, collection: Collection) -> None:
    answer = {"clip": 0, "label": "x"}
    assert client.post("/labels", json=answer, headers={"Origin": "null"}).status_code == 403
    # Nor can a form, which sends no JSON.
    assert client.post("/labels", data=answer).status_code == 422
    assert client.get("/labels").json() == {}
    assert client.options("/labels").status_code == 405


def bare(collection: Collection, uploads: Uploads, tmp_path: Path, **options: Any) -> Any:
    """A client without the cookie."""
    client = open_page(collection, uploads, tmp_path / "l.csv", **options)[1]
    client.headers.pop("cookie")
    client.follow_redirects = False
    return client


@pytest.fixture
def visitor(collection: Collection, uploads: Uploads, tmp_path: Path) -> Any:
    return bare(collection, uploads, tmp_path)


def test_a_token_is_asked_for_once(visitor: Any) -> None:
    for path in ("/", "/api/collection", f"/?token={TOKEN[:-1]}", "/?token=", "/?token=%ff"):
        assert visitor.get(path).status_code == 401
    assert visitor.post(f"/?token={TOKEN}").status_code == 401
    entered = visitor.get("/", params={"token": TOKEN})
    assert (entered.status_code, entered.headers["Location"]) == (303, "/")
    cookie = entered.headers["Set-Cookie"].lower()
    assert cookie.startswith("embedkit-8765=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert visitor.get("/api/collection").status_code == 200
    assert visitor.get("/api/collection", headers={"Host": "evil.example"}).status_code == 403
    # What else stands in an address stays; the token does not, and none leads away from here.
    for path, place in (
        (f"/?token={TOKEN}&like=a%26b", "/?like=a%26b"),
        (f"//evil.example/?token={TOKEN}", "/evil.example/"),
        (f"/%5C%5Cevil.example?token={TOKEN}", "/evil.example"),
    ):
        assert visitor.get(f"http://{HOST}{path}").headers["Location"] == place


def test_a_browser_that_is_opened_enters_once_by_a_token_of_its_own(
    collection: Collection, uploads: Uploads, tmp_path: Path
) -> None:
    entry = new_token()
    visitor = bare(collection, uploads, tmp_path, entry=entry)
    assert visitor.get("/", params={"token": entry}).status_code == 303
    assert visitor.get("/").status_code == 200
    visitor.cookies.clear()
    assert visitor.get("/", params={"token": entry}).status_code == 401
    assert visitor.get("/", params={"token": TOKEN}).status_code == 303


def test_a_link_on_another_page_leads_in_and_nowhere_else(
    visitor: Any, client: Any, collection: Collection
) -> None:
    entered = visitor.get("/", params={"token": TOKEN}, headers=LINK)
    assert entered.status_code == 303
    assert visitor.get("/", headers=LINK).status_code == 200
    visitor.cookies.clear()
    assert visitor.get("/", headers=LINK).status_code == 401
    for path in ("/labels", "/original/0", "/audio/0"):
        assert client.get(path, headers=LINK).status_code == 403
    assert client.post("/labels", json={"clip": 0, "label": "x"}, headers=LINK).status_code == 403
    for other in (
        {"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Origin": "null"},
        {"Host": "evil.example"},
    ):  # fmt: skip
        headers = {**LINK, **COOKIE, **other}
        assert visitor.get("/", headers=headers).status_code == 403, other
        assert visitor.get(f"/?token={TOKEN}", headers=headers).status_code == 403, other


@needs_browser
def test_a_click_on_another_page_opens_the_explorer(folder: Path) -> None:
    with serve(folder / "emb") as address, browse() as page:
        for link in (
            f"{address}?token={TOKEN}#/search",
            f"{address}#/collection",
        ):  # then by the cookie
            page.goto(f"data:text/html,<a href='{quote(link)}'>Sounds</a>")
            page.click("a")
            page.wait_for_selector("body[data-view]")
            assert page.url == address + link[link.index("#") :]


def test_the_browser_is_opened_by_a_token_that_is_good_for_once(
    folder: Path, tmp_path: Path
) -> None:
    told, program = tmp_path / "told", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}\n')
    program.chmod(0o755)
    server = Server(folder / "emb", "--open", BROWSER=f"{program} %s")
    until(lambda: told.exists() and told.read_text(), "no browser is opened")
    address, _, token = told.read_text().partition("?token=")
    assert address == server.address
    assert token != TOKEN
    entered = [answer_to(told.read_text()) for _ in range(2)]
    assert entered == [303, 401]
    server.interrupt()
    told.unlink()
    Server(folder / "emb", BROWSER=f"{program} %s").interrupt()  # no terminal: nobody looks
    assert not told.exists()


def answer_to(address: str) -> int:
    """The status of an answer, as it is."""
    found = urlsplit(address)
    connection = http.client.HTTPConnection(found.netloc)
    connection.request("GET", f"{found.path}?{found.query}")
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ("host", "cookie"),
    [
        ("127.0.0.1:8765", "embedkit-8765"),
        ("localhost:9000", "embedkit-9000"),  # ssh -L 9000:localhost:8765
        ("127.0.0.1", "embedkit-80"),  # --port 80
        ("[::1]:1234", "embedkit-1234"),
    ],
)
def test_each_port_has_a_cookie_of_its_own(visitor: Any, host: str, cookie: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    entered = visitor.get("/", params={"token": TOKEN}, headers=headers)
    assert entered.headers["Set-Cookie"].startswith(f"{cookie}=")
    visitor.cookies.clear()
    mine = {**headers, "Cookie": f"embedkit-1=of-another-explorer; {cookie}={TOKEN}"}
    assert visitor.get("/", headers=mine).status_code == 200
    others = {**headers, "Cookie": f"embedkit-1={TOKEN}; embedkit={TOKEN}; {cookie}x={TOKEN}"}
    assert visitor.get("/", headers=others).status_code == 401


@pytest.mark.parametrize(
    "cookies",
    ["a[b]=c", "{}", "=", ";;", 'x="', "a=b=c", "\xe9=\xff", "embedkit-8765=", "a,b=c", "x" * 5000],
)
def test_odd_cookies_of_others_are_nothing_to_us(visitor: Any, cookies: str) -> None:
    raw = cookies.encode("latin-1")
    assert visitor.get("/", headers={"Cookie": raw}).status_code == 401
    for order in (raw + b"; " + COOKIE["Cookie"].encode(), COOKIE["Cookie"].encode() + b";" + raw):
        assert visitor.get("/", headers={"Cookie": order}).status_code == 200


def test_the_names_of_a_server_are_its_own() -> None:
    assert served_as("127.0.0.1") == {"127.0.0.1", "localhost", "::1"}
    assert "192.0.2.7" in served_as("192.0.2.7")
    assert socket.gethostname().lower() in served_as("0.0.0.0")
    assert "birds.example" in served_as("127.0.0.1", ["Birds.example"])
    assert "2001:db8::1" in served_as("127.0.0.1", ["[2001:db8::1]"])
    for name in ("*", "birds.example:8000", "http://birds.example", "", "a b"):
        with pytest.raises(UsageError, match="without a port"):
            served_as("127.0.0.1", [name])


@pytest.mark.parametrize(
    "token",
    ["x", "1234567", "aaaaaaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnopqrst", "1234567812345678",
     "secretsecretsecret", "a b c d e f 1 3 9 7 5 2", "päßword-äöü-1948-xyz"],
)  # fmt: skip
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="--token: "):
        check_token(token)


def test_a_token_that_is_drawn_is_good() -> None:
    drawn = {new_token() for _ in range(100)}
    assert len(drawn) == 100
    for token in drawn:
        check_token(token)


def test_a_proxy_may_speak_https_under_a_name_that_was_allowed(client: Any) -> None:
    guard = client.app
    guard._hosts |= {"birds.example"}
    for origin, host, status in (
        ("https://birds.example", "birds.example", 200),
        ("http://birds.example", "birds.example", 200),
        ("https://birds.example", "localhost", 403),
        ("https://localhost", "localhost", 403),  # another server of this machine
    ):
        headers = {"Host": host, "Origin": origin, "Cookie": f"embedkit-80={TOKEN}"}
        assert client.get("/labels", headers=headers).status_code == status


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1", "1" * 30, "1" * 5000, "1e308", "{}", "[]"]


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_is_too_odd_for_an_answer(client: Any, number: str) -> None:
    for path, body in (
        ("search", '{"like": [%s]}'), ("search", '{"like": [0], "shortest_s": %s}'),
        ("search", '{"like": [0], "longest_s": %s}'), ("search", '{"like": [0], "top": %s}'),
        ("search", '{"like": [0], "offset": %s}'), ("search", '{"like": [0], "size": %s}'),
        ("search", '{"uploads": [%s]}'), ("labels", '{"clip": %s, "label": ""}'),
        ("shortlist/csv", '{"items": [{"clip": 0, "start_s": %s, "end_s": %s}]}'),
        ("shortlist/zip", '{"items": [{"clip": %s}]}'),
    ):  # fmt: skip
        content = body.replace("%s", number)
        headers = {"Content-Type": "application/json"}
        done = client.post(f"/{path}", content=content, headers=headers)
        assert done.status_code in {400, 404, 422}, (path, body, done.text)
        assert done.json()["detail"]
    for path in (
        "audio/0?end_s=",
        "spectrogram/0?start_s=",
        "clip/0?start_s=",
        "cut/0?start_s=0&end_s=",
    ):
        assert client.get(f"/{path}{number}").status_code == 422, path
    for path in ("audio", "original", "path", "segment", "clip"):
        assert client.get(f"/{path}/{number}").status_code in {404, 422}


def test_json_has_a_limit(client: Any) -> None:
    for sent in (b" " * (2**20 + 1), iter([b" " * 2**18] * 5)):
        done = client.post("/labels", content=sent, headers={"Content-Type": "application/json"})
        assert (done.status_code, done.json()["detail"]) == (413, "at most 1 MB of JSON")
    nested = b"[" * 2**19
    done = client.post("/search", content=nested, headers={"Content-Type": "application/json"})
    assert done.status_code in {400, 422}
