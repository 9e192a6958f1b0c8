"""The explorer's server: its routes, and how each is answered."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.labels.answers import Answers
from embedkit.web import media, reveal, sound, take
from embedkit.web.asked import (
    Answer,
    HeardAs,
    Named,
    Number,
    Passed,
    Second,
    Shortlist,
    Sounds,
    Words,
)
from embedkit.web.collection import Collection
from embedkit.web.edition import API, ENTRY, Editions, edition_of
from embedkit.web.explorer import Explorer
from embedkit.web.limits import SmallBodies
from embedkit.web.page import page_files
from embedkit.web.plane import Plane
from embedkit.web.recording import recording_routes
from embedkit.web.uploads import MOST_BYTES, Uploads

UPLOAD_S = 30.0  # that a browser may take to send a sound
WAITING = 4  # uploads at once

Time = Annotated[Second, Query()]


def create_app(
    collection: Collection,
    answers: Answers,
    uploads: Uploads,
    *,
    model: Path | None = None,
    own: bool = False,
    plane: Plane | None = None,
) -> Editions:
    """The application; a `Guard` must stand before it.

    Args:
        collection: the collection to explore.
        answers: labels, read and written.
        uploads: embeds what is dropped on the page.
        model: the model that made the collection, if it has moved.
        own: whether the user sits at this machine.
        plane: the places on the map; by default PCA's.

    Returns:
        the application.
    """
    explorer = Explorer(collection, answers, uploads, model, plane)
    edition = edition_of(collection, answers.path)
    can_reveal = own and reveal.possible()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(EmbedkitError)
    async def refused(_: Request, error: EmbedkitError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not repeated: no JSON holds NaN.
        said = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"detail": "; ".join(said)}, 422)

    @app.get(ENTRY)
    def facts() -> dict[str, Any]:
        return {
            **collection.facts(),
            "labels_file": answers.path.name,
            "can_reveal": can_reveal,
            "edition": edition,
        }

    app.include_router(_routes(explorer, can_reveal), prefix=f"{API}{edition}")
    app.mount("/", page_files())
    return Editions(SmallBodies(app), edition)


def _routes(explorer: Explorer, can_reveal: bool) -> APIRouter:
    """The routes of one edition, whose numbers go out and come back."""
    routes, collection = APIRouter(), explorer.collection

    @routes.get("/clips")
    def clips() -> dict[str, Any]:
        return {"names": collection.clips, "seconds": collection.seconds.round(3).tolist()}

    @routes.get("/plane")
    def plane() -> dict[str, Any]:
        return explorer.plane.facts()

    @routes.get("/points/{how}")
    def points(how: str) -> Response:
        return _binary(explorer.plane.points(how))

    @routes.get("/segments")
    def segments() -> Response:
        table = np.stack([collection.clip, collection.start_s, collection.end_s], axis=1)
        return _binary(table.astype(np.float32))

    @routes.get("/regions/{how}")
    def regions(how: str) -> dict[str, Any]:
        return explorer.regions.of(how)

    @routes.get("/segment/{row}")
    def segment(row: Number) -> dict[str, Any]:
        return explorer.cards.segment(explorer.finder.row(row))

    @routes.post("/search")
    def search(asked: Sounds) -> dict[str, Any]:
        return explorer.finder.by_sounds(asked)

    @routes.post("/words")
    def listen(asked: Words) -> dict[str, Any]:
        return explorer.finder.by_words(asked)

    @routes.post("/named")
    def named(asked: Named) -> dict[str, Any]:
        return explorer.finder.by_name(asked)

    places = asyncio.Semaphore(WAITING)

    @routes.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        if places.locked():
            raise HTTPException(429, f"{WAITING} sounds are being embedded: try again")
        async with places:
            content = await _receive(request)
            return {"upload": await run_in_threadpool(explorer.uploads.add, content)}

    @routes.get("/clip/{clip}")
    def clip_facts(clip: Number, start_s: Time = 0.0) -> dict[str, Any]:
        return explorer.stretch(clip, start_s)

    @routes.get("/audio/{clip}")
    def audio(
        request: Request, clip: Number, heard: Annotated[HeardAs, Depends()],
        start_s: Time = 0.0, end_s: Time = sound.LONGEST_S,
    ) -> Response:  # fmt: skip
        return media.answer(request, "audio/wav", *explorer.wav(clip, start_s, end_s, heard))

    @routes.get("/spectrogram/{clip}")
    def spectrogram(
        request: Request, clip: Number, start_s: Time = 0.0, end_s: Time = sound.LONGEST_S
    ) -> Response:
        return media.answer(request, "image/png", *explorer.spectrogram(clip, start_s, end_s))

    @routes.get("/original/{clip}")
    def original(request: Request, clip: Number) -> Response:
        return media.answer_file(request, explorer.path(clip))

    @routes.get("/cut/{clip}")
    def cut(request: Request, clip: Number, start_s: Time, end_s: Time) -> Response:
        name = take.cut_name(explorer.name(clip), start_s, end_s)
        return media.answer(request, "audio/wav", *explorer.cut(clip, start_s, end_s), name=name)

    @routes.get("/path/{clip}")
    def path(clip: Number) -> dict[str, str]:
        return {"path": media.shown(explorer.path(clip))}

    @routes.post("/reveal/{clip}")
    def show(clip: Number) -> None:
        if not can_reveal:
            raise HTTPException(403, "there is no file manager here to show it in")
        reveal.reveal(explorer.path(clip))

    @routes.post("/shortlist/{form}")
    def shortlist(form: str, asked: Shortlist) -> Response:
        name, content = take.shortlist(explorer.cards, form, asked.items)
        return StreamingResponse(content, headers=media.attached(name), media_type=media.BYTES)

    @routes.get("/labels")
    def labels() -> Mapping[str, str]:
        return explorer.answers.labels

    @routes.post("/labels")
    def label(answer: Annotated[Answer, Body()]) -> Mapping[str, str]:
        explorer.label(answer.clip, answer.label)
        return explorer.answers.labels

    @routes.post("/refit")
    def refit(asked: Annotated[Passed | None, Body()] = None) -> dict[str, Any]:
        return explorer.learner.propose(asked.passed if asked else [])

    @routes.get("/export/{form}")
    def download(form: str) -> Response:
        from embedkit.web.exports import export  # what writes tracks brings what evaluates

        name, content = export(explorer, form)
        return Response(content, media_type=media.BYTES, headers=media.attached(name))

    @routes.get("/duplicates")
    def duplicates() -> list[dict[str, Any]]:
        return explorer.duplicates()

    routes.include_router(recording_routes(explorer))
    return routes


def _binary(values: NDArray[Any]) -> Response:
    return Response(values.tobytes(), media_type=media.BYTES)


async def _receive(request: Request) -> bytes:
    """The body of a request, if it is not too large and comes in time."""
    if not request.headers.get("content-type", "").startswith(media.BYTES):
        raise HTTPException(415, f"expected {media.BYTES}")

    async def read() -> bytes:
        parts, total = [], 0
        async for part in request.stream():
            total += len(part)
            if total > MOST_BYTES:
                raise HTTPException(413, f"a sound of at most {MOST_BYTES // 2**20} MB")
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), UPLOAD_S)
    except TimeoutError as error:
        raise HTTPException(408, "the sound did not come in time") from error
