"""Sounds and pictures as answers: browsers keep them, and ask each time whether they still hold."""

import hashlib
import re
from collections.abc import Callable, Hashable

from fastapi import Request, Response

RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")


def answer(request: Request, kind: str, key: Hashable, make: Callable[[], bytes]) -> Response:
    """The whole, the one range of its bytes that was asked for, or that nothing has changed.

    Args:
        request: may say what the browser has (If-None-Match) and which range it lacks.
        kind: the media type.
        key: changes when the content does.
        make: the content.
    """
    tag = f'"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"'
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-cache", "ETag": tag}
    asked = request.headers
    if tag in asked.get("if-none-match", ""):
        return Response(None, 304, headers)
    content = make()
    found = RANGE.fullmatch(asked.get("range", ""))
    changed = asked.get("if-range", tag) != tag  # since the browser got the rest
    if changed or not found or found[0] == "bytes=-":  # or several ranges, or nonsense
        return Response(content, 200, headers, kind)
    total = len(content)
    if found[1]:
        start, end = int(found[1]), min(int(found[2] or total), total - 1)
    else:
        start, end = max(0, total - int(found[2])), total - 1
    if start > end:
        return Response(None, 416, {"Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return Response(content[start : end + 1], 206, headers, kind)
