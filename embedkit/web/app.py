"""The explorer's server: numbers of clips and segments in, what the library says of them out."""

import asyncio
import io
import re
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.cluster import MiniBatchKMeans

from embedkit.backends.active import suggest
from embedkit.backends.answers import Answers
from embedkit.backends.classifier import Classifier
from embedkit.backends.duplicates import find_duplicates
from embedkit.backends.predictions import Span, Track, merge, track_text
from embedkit.errors import EmbedkitError
from embedkit.web import sound
from embedkit.web.collection import Collection
from embedkit.web.guard import Guard
from embedkit.web.uploads import MOST_BYTES, Uploads

CLUSTERS = 12
UPLOAD_S = 30.0  # that a browser may take to send a sound
WAITING = 4  # uploads at once
RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")

Number = Annotated[int, Field(ge=0)]
Second = Annotated[float, Query(ge=0, allow_inf_nan=False)]


class Asked(BaseModel):
    """A search: segments and uploads that it is to be like, or unlike, and filters."""

    model_config = ConfigDict(extra="forbid")

    like: list[Number] = Field(default=[], max_length=50)
    unlike: list[Number] = Field(default=[], max_length=50)
    uploads: list[Number] = Field(default=[], max_length=10)
    size: int | None = None
    top: int = Field(default=30, ge=1, le=200)
    folder: str = Field(default="", max_length=1000)
    label: str = Field(default="", max_length=100)
    shortest_s: float = Field(default=0.0, ge=0)
    longest_s: float | None = None
    elsewhere: bool = False  # in no clip of a segment that it is to be like


class Answer(BaseModel):
    """A clip and its label; empty: none."""

    model_config = ConfigDict(extra="forbid")

    clip: Number
    label: str = Field(max_length=100)


class Explorer:
    """What stands behind the pages: the collection, the labels, and what was learned of them."""

    def __init__(self, collection: Collection, answers: Answers, uploads: Uploads) -> None:
        self.collection, self.answers, self.uploads = collection, answers, uploads
        self.cache = sound.Cache()
        self.number = {name: index for index, name in enumerate(collection.clips)}
        self.seconds = np.maximum.reduceat(collection.end_s, collection.first[:-1])
        self.folders = np.array(
            [name.rpartition("/")[0] for name in collection.clips], dtype=object
        )
        self.classifier: Classifier | None = None

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Of each segment, by k-means on its vector, int64 [n]."""
        vectors = self.collection.search.vectors
        count = min(CLUSTERS, len(vectors))
        found: NDArray[np.int64] = MiniBatchKMeans(count, random_state=0, n_init=1).fit_predict(
            vectors
        )
        return found

    def search(self, asked: Asked) -> list[dict[str, Any]]:
        """The segments nearest to what was asked, but for those of the queries' own."""
        collection = self.collection
        size = asked.size or collection.table.embedding_size
        if size not in collection.sizes:
            raise HTTPException(422, f"size {size}: one of {collection.sizes}")
        like = [collection.search.vectors[self.row(row)] for row in asked.like]
        for number in asked.uploads:
            vector = self.uploads.vector(number)
            if vector is None:
                raise HTTPException(404, "that sound is no longer kept: drop it again")
            like.append(vector)
        if not like:
            raise HTTPException(422, "name a segment or a sound to search for")
        unlike = [collection.search.vectors[self.row(row)] for row in asked.unlike]
        query = collection.search.contrast(like, unlike, size)
        among = self.allowed(asked)
        among[[*asked.like, *asked.unlike]] = False
        if asked.elsewhere:
            among &= ~np.isin(collection.clip, collection.clip[asked.like])
        values, rows = collection.search.search(query, asked.top, size=size, among=among)
        return [self.card(int(row), float(value)) for value, row in zip(values, rows, strict=True)]

    def allowed(self, asked: Asked) -> NDArray[np.bool_]:
        """Which segments fit the filters, bool [n]."""
        fits = self.seconds >= asked.shortest_s
        if asked.longest_s is not None:
            fits &= self.seconds <= asked.longest_s
        if asked.folder:
            inside = [f"{folder}/".startswith(f"{asked.folder}/") for folder in self.folders]
            fits &= np.array(inside)
        if asked.label:
            known = self.answers.labels
            fits &= np.array([known.get(name) == asked.label for name in self.collection.clips])
        return fits[self.collection.clip]

    def card(self, row: int, similarity: float | None = None) -> dict[str, Any]:
        """What a page shows of a segment."""
        collection = self.collection
        clip = int(collection.clip[row])
        return {
            "row": row,
            "clip": clip,
            "name": collection.clips[clip],
            "start_s": float(collection.start_s[row]),
            "end_s": float(collection.end_s[row]),
            "label": self.answers.labels.get(collection.clips[clip], ""),
            "similarity": similarity,
        }

    def row(self, row: int) -> int:
        """A segment's number, or 404."""
        if row >= len(self.collection.clip):
            raise HTTPException(404, "no such segment")
        return row

    def path(self, clip: int) -> Path:
        """A clip's file, or 404."""
        if clip >= len(self.collection.clips):
            raise HTTPException(404, "no such clip")
        return self.collection.path(clip)

    def refit(self, count: int) -> dict[str, Any]:
        """Learn from the labels there are, and propose clips to label."""
        clips = self.collection.clips
        known = {clip: label for clip, label in self.answers.labels.items() if clip in self.number}
        skipped = [clip for clip in self.answers.skipped if clip in self.number]
        vectors = self.collection.clip_vectors
        proposal, self.classifier = suggest(clips, vectors, known, skipped, count)
        proposed = [
            {**self.card(int(self.collection.first[self.number[clip]])), "guess": guess,
             "margin": margin}
            for clip, guess, margin in proposal.proposed
        ]  # fmt: skip
        return {**asdict(proposal), "proposed": proposed, "clips": len(clips)}

    def stretch(self, clip: int, start_s: float) -> dict[str, Any]:
        """Two minutes of a clip: its peaks, its segments, and their scores."""
        path, collection = self.path(clip), self.collection

        def measure() -> bytes:
            samples = sound.read_span(path, start_s, start_s + sound.LONGEST_S)
            length = np.float32(len(samples) / sound.RATE)
            return np.append(length, sound.peaks(samples)).tobytes()

        kept = self.cache.get(("peaks", clip, start_s), measure)
        length, *peaks = np.frombuffer(kept, np.float32).round(4).tolist()
        end_s = start_s + length
        rows = collection.rows_of(clip)
        rows = rows[(collection.end_s[rows] > start_s) & (collection.start_s[rows] < end_s)]
        return {
            "clip": clip,
            "name": collection.clips[clip],
            "duration_s": max(end_s, float(self.seconds[clip])),
            "start_s": start_s,
            "end_s": end_s,
            "peaks": peaks,
            "segments": [self.card(int(row)) for row in rows],
            **self.scores(rows),
        }

    def scores(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Of segments, by the classifier that the labels led to, if any."""
        if self.classifier is None:
            return {"labels": [], "scores": []}
        scores = self.classifier.scores(self.collection.search.vectors[rows])
        return {"labels": list(self.classifier.labels), "scores": scores.round(4).tolist()}


def create_app(
    collection: Collection,
    answers: Answers,
    uploads: Uploads,
    *,
    hosts: Iterable[str],
    token: str | None = None,
) -> Guard:
    """The application, guarded.

    Args:
        collection: to explore.
        answers: labels, read and written.
        uploads: embeds what is dropped on the page.
        hosts: under which it is served, with their ports.
        token: that is asked for, if any.
    """
    explorer = Explorer(collection, answers, uploads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        uploads.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(EmbedkitError)
    async def refused(_: Request, error: EmbedkitError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/api/collection")
    def facts() -> dict[str, Any]:
        return {**collection.facts(), "labels_file": answers.path.name}

    @app.get("/api/clips")
    def clips() -> dict[str, Any]:
        return {"names": collection.clips, "seconds": explorer.seconds.round(3).tolist()}

    @app.get("/api/points")
    def points() -> Response:
        return _binary(collection.points)

    @app.get("/api/segments")
    def segments() -> Response:
        table = np.stack([collection.clip, collection.start_s, collection.end_s], axis=1)
        return _binary(table.astype(np.float32))

    @app.get("/api/clusters")
    def clusters() -> Response:
        return _binary(explorer.clusters.astype(np.int32))

    @app.get("/api/segment/{row}")
    def segment(row: Number) -> dict[str, Any]:
        return explorer.card(explorer.row(row))

    @app.post("/api/search")
    def search(asked: Asked) -> list[dict[str, Any]]:
        return explorer.search(asked)

    places = asyncio.Semaphore(WAITING)

    @app.post("/api/upload")
    async def upload(request: Request) -> dict[str, int]:
        if places.locked():
            raise HTTPException(429, f"{WAITING} sounds are being embedded: try again")
        async with places:
            content = await _receive(request)
            return {"upload": await run_in_threadpool(uploads.add, content)}

    @app.get("/api/clip/{clip}")
    def clip_facts(clip: Number, start_s: Second = 0.0) -> dict[str, Any]:
        return explorer.stretch(clip, start_s)

    @app.get("/api/audio/{clip}")
    def audio(
        request: Request,
        clip: Number,
        start_s: Second = 0.0,
        end_s: Second = sound.LONGEST_S,
    ) -> Response:
        path = explorer.path(clip)
        key = ("wav", clip, round(start_s, 3), round(end_s, 3))
        content = explorer.cache.get(key, lambda: sound.wav(sound.read_span(path, start_s, end_s)))
        return _ranged(content, request.headers.get("range"))

    @app.get("/api/spectrogram/{clip}")
    def spectrogram(
        clip: Number,
        start_s: Second = 0.0,
        end_s: Second = sound.LONGEST_S,
    ) -> Response:
        path = explorer.path(clip)
        key = ("png", clip, round(start_s, 3), round(end_s, 3))
        content = explorer.cache.get(
            key, lambda: sound.spectrogram(sound.read_span(path, start_s, end_s))
        )
        return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    @app.get("/api/labels")
    def labels() -> Mapping[str, str]:
        return answers.labels

    @app.post("/api/labels")
    def label(answer: Annotated[Answer, Body()]) -> Mapping[str, str]:
        explorer.path(answer.clip)
        answers.set(collection.clips[answer.clip], answer.label)
        return answers.labels

    @app.post("/api/refit")
    def refit() -> dict[str, Any]:
        return explorer.refit(12)

    @app.get("/api/export/{form}")
    def export(form: str) -> Response:
        return _export(explorer, form)

    @app.get("/api/duplicates")
    def duplicates() -> list[dict[str, Any]]:
        pairs = find_duplicates(collection.table, 0.98)[:500]
        first = {name: int(collection.first[index]) for name, index in explorer.number.items()}
        return [
            {"similarity": pair.similarity, "one": explorer.card(first[pair.clip]),
             "other": explorer.card(first[pair.other])}
            for pair in pairs
        ]  # fmt: skip

    app.mount("/", StaticFiles(directory=str(files("embedkit.web") / "static"), html=True))
    return Guard(app, hosts, token)


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


def _ranged(content: bytes, asked: str | None) -> Response:
    """A WAV file, or the one range of its bytes that was asked for."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "max-age=3600"}
    found = RANGE.fullmatch(asked or "")
    if not found or found[0] == "bytes=-":  # several ranges, or nonsense: the whole is an answer
        return Response(content, media_type="audio/wav", headers=headers)
    total = len(content)
    if found[1]:
        start, end = int(found[1]), min(int(found[2] or total), total - 1)
    else:
        start, end = max(0, total - int(found[2])), total - 1
    if start > end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return Response(content[start : end + 1], 206, headers, "audio/wav")


def _export(explorer: Explorer, form: str) -> Response:
    """The labels as a CSV, or as one track over the clips in their order."""
    answers, collection = explorer.answers, explorer.collection
    if form == "csv":
        content = answers.path.read_bytes() if answers.path.exists() else b"path,label\n"
        return _download(content, "labels.csv")
    if form not in set(Track):
        raise HTTPException(404, "csv, audacity or raven")
    spans = []
    for clip, label in answers.labels.items():
        if clip in explorer.number:
            number = explorer.number[clip]
            collection.path(number)  # refuses a name that leads out of where it is unpacked
            spans.append(Span(clip, 0.0, float(explorer.seconds[number]), label, 1.0))
    rate = collection.table.provenance.sample_rate
    return _download(_zip(merge(spans), Track(form), rate), f"{form}.zip")


def _zip(spans: list[Span], form: Track, rate: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for span in spans:
            archive.writestr(f"{span.clip}.txt", track_text([span], form, rate))
    return stream.getvalue()


def _download(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)
