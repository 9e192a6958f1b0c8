"""Answers with sounds, pictures and files, in ranges and with what browsers need to cache them."""

import hashlib
import mimetypes
import os
import re
from collections.abc import Callable, Hashable, Iterator
from io import FileIO
from pathlib import Path
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from embedkit.audio.decode import open_file

BYTES = "application/octet-stream"
CHUNK = 2**20
RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")


def shown(path: str | Path) -> str:
    """A path as text: a byte of it that is not UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def attached(name: str) -> dict[str, str]:
    """The header by which a browser saves an answer as a file."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def answer(
    request: Request, kind: str, key: Hashable, make: Callable[[], bytes], name: str = ""
) -> Response:
    """Answer with the whole content, with one range of it, or that nothing has changed.

    Args:
        request: may say what the browser has (If-None-Match) and which range it lacks.
        kind: the media type.
        key: changes when the content does.
        make: makes the content.
        name: the name to save it under; empty: it is not saved.

    Returns:
        the response.
    """
    headers = _headers(key) | (attached(name) if name else {})
    tag = headers["ETag"]
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    content = make()
    asked = _asked(request, tag, len(content))
    if asked is None:
        return Response(content, 200, headers, kind)
    if not asked:
        return _none_of(len(content))
    headers["Content-Range"] = _place(asked, len(content))
    return Response(content[asked.start : asked.stop], 206, headers, kind)


def answer_file(request: Request, path: Path) -> Response:
    """Answer with a file to save, or with one range of it.

    Args:
        request: may say which range it lacks.
        path: the file.

    Returns:
        the response.

    Raises:
        AudioError: it is no regular file, has no byte, or cannot be opened.
    """
    file = open_file(path)
    status = os.fstat(file.fileno())
    headers = _headers((str(path), status.st_size, status.st_mtime_ns))
    headers |= attached(shown(path.name))
    asked = _asked(request, headers["ETag"], status.st_size)
    if asked is not None and not asked:
        file.close()
        return _none_of(status.st_size)
    part = range(status.st_size) if asked is None else asked
    if asked is not None:
        headers["Content-Range"] = _place(asked, status.st_size)
    headers["Content-Length"] = str(len(part))
    kind = mimetypes.guess_type(path.name)[0] or BYTES
    return StreamingResponse(_read(file, part), 200 if asked is None else 206, headers, kind)


def _read(file: FileIO, part: range) -> Iterator[bytes]:
    with file:
        file.seek(part.start)
        left = len(part)
        while left and (data := file.read(min(CHUNK, left))):
            left -= len(data)
            yield data


def _headers(key: Hashable) -> dict[str, str]:
    tag = f'"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"'
    return {"Accept-Ranges": "bytes", "Cache-Control": "private, no-cache", "ETag": tag}


def _asked(request: Request, tag: str, total: int) -> range | None:
    """The range that was asked for; None: all."""
    found = RANGE.fullmatch(request.headers.get("range", ""))
    changed = request.headers.get("if-range", tag) != tag  # since the browser got the rest
    if changed or not found or found[0] == "bytes=-":  # or several ranges, or nonsense
        return None
    if found[1]:
        return range(int(found[1]), min(int(found[2] or total), total - 1) + 1)
    return range(max(0, total - int(found[2])), total)


def _place(asked: range, total: int) -> str:
    return f"bytes {asked.start}-{asked.stop - 1}/{total}"


def _none_of(total: int) -> Response:
    return Response(None, 416, {"Content-Range": f"bytes */{total}"})
