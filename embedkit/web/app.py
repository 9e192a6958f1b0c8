"""The explorer's server: what may be asked, and how it is answered."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedkit.errors import EmbedkitError
from embedkit.labels.answers import Answers
from embedkit.web import media, sound
from embedkit.web.collection import Collection
from embedkit.web.edition import API, ENTRY, Editions, edition_of
from embedkit.web.explorer import Asked, Explorer, Number, Words
from embedkit.web.exports import export
from embedkit.web.guard import Guard
from embedkit.web.uploads import MOST_BYTES, Uploads

UPLOAD_S = 30.0  # that a browser may take to send a sound
WAITING = 4  # uploads at once

Second = Annotated[float, Query(ge=0, allow_inf_nan=False)]


class Answer(BaseModel):
    """A clip and its label; empty: none."""

    model_config = ConfigDict(extra="forbid")

    clip: Number
    label: str = Field(max_length=100)


class Passed(BaseModel):
    """Clips that a person has passed over, and does not want to be asked for now."""

    model_config = ConfigDict(extra="forbid")

    passed: list[Number] = Field(default=[], max_length=10_000)


def create_app(
    collection: Collection,
    answers: Answers,
    uploads: Uploads,
    *,
    hosts: Iterable[str],
    token: str | None = None,
    model: Path | None = None,
) -> Guard:
    """The application, guarded.

    Args:
        collection: to explore.
        answers: labels, read and written.
        uploads: embeds what is dropped on the page.
        hosts: under which it is served, with their ports.
        token: that is asked for, if any.
        model: that made the collection, if it has moved.
    """
    explorer = Explorer(collection, answers, uploads, model)
    edition = edition_of(collection, answers.path)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        uploads.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(EmbedkitError)
    async def refused(_: Request, error: EmbedkitError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get(ENTRY)
    def facts() -> dict[str, Any]:
        return {**collection.facts(), "labels_file": answers.path.name, "edition": edition}

    app.include_router(_routes(explorer), prefix=f"{API}{edition}")
    app.mount("/", StaticFiles(directory=str(files("embedkit.web") / "static"), html=True))
    return Guard(Editions(app, edition), hosts, token)


def _routes(explorer: Explorer) -> APIRouter:
    """What one edition is asked: its numbers go out and come back."""
    routes, collection = APIRouter(), explorer.collection

    @routes.get("/clips")
    def clips() -> dict[str, Any]:
        return {"names": collection.clips, "seconds": explorer.seconds.round(3).tolist()}

    @routes.get("/points")
    def points() -> Response:
        return _binary(collection.points)

    @routes.get("/segments")
    def segments() -> Response:
        table = np.stack([collection.clip, collection.start_s, collection.end_s], axis=1)
        return _binary(table.astype(np.float32))

    @routes.get("/clusters")
    def clusters() -> Response:
        return _binary(explorer.clusters.astype(np.int32))

    @routes.get("/segment/{row}")
    def segment(row: Number) -> dict[str, Any]:
        return explorer.card(explorer.row(row))

    @routes.post("/search")
    def search(asked: Asked) -> list[dict[str, Any]]:
        return explorer.search(asked)

    @routes.post("/words")
    def listen(asked: Words) -> dict[str, Any]:
        return explorer.listen(asked)

    places = asyncio.Semaphore(WAITING)

    @routes.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        if places.locked():
            raise HTTPException(429, f"{WAITING} sounds are being embedded: try again")
        async with places:
            content = await _receive(request)
            return {"upload": await run_in_threadpool(explorer.uploads.add, content)}

    @routes.get("/clip/{clip}")
    def clip_facts(clip: Number, start_s: Second = 0.0) -> dict[str, Any]:
        return explorer.stretch(clip, start_s)

    @routes.get("/audio/{clip}")
    def audio(
        request: Request, clip: Number, start_s: Second = 0.0, end_s: Second = sound.LONGEST_S
    ) -> Response:
        return media.answer(request, "audio/wav", *explorer.wav(clip, start_s, end_s))

    @routes.get("/spectrogram/{clip}")
    def spectrogram(
        request: Request, clip: Number, start_s: Second = 0.0, end_s: Second = sound.LONGEST_S
    ) -> Response:
        return media.answer(request, "image/png", *explorer.spectrogram(clip, start_s, end_s))

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
        name, content = export(explorer, form)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)

    @routes.get("/duplicates")
    def duplicates() -> list[dict[str, Any]]:
        return explorer.duplicates()

    return routes


def _binary(values: NDArray[Any]) -> Response:
    return Response(values.tobytes(), media_type="application/octet-stream")


async def _receive(request: Request) -> bytes:
    """The body, if it is not too large and comes in time."""
    if not request.headers.get("content-type", "").startswith("application/octet-stream"):
        raise HTTPException(415, "expected application/octet-stream")

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
