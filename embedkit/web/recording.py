"""What is asked of whole recordings: pictures of them, marks in them, and what is detected."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from embedkit.web import media
from embedkit.web.asked import (
    Answered,
    BroughtTable,
    Detections,
    Drawn,
    GivenMark,
    HeardAs,
    Number,
    Second,
)
from embedkit.web.explorer import Explorer

Time = Annotated[Second, Query()]


def recording_routes(explorer: Explorer) -> APIRouter:
    """The routes."""
    routes, marking = APIRouter(), explorer.marking

    @routes.get("/recording/{clip}")
    def recording(clip: Number) -> dict[str, Any]:
        return explorer.recording(clip)

    @routes.get("/view/{clip}")
    def view(
        request: Request, clip: Number, heard: Annotated[HeardAs, Depends()], start_s: Time,
        end_s: Time,
    ) -> Response:  # fmt: skip
        return media.answer(request, "image/png", *explorer.view(clip, start_s, end_s, heard))

    @routes.get("/marks")
    def marks() -> list[dict[str, Any]]:
        return marking.all()

    @routes.post("/marks")
    def mark(asked: GivenMark) -> list[dict[str, Any]]:
        return marking.mark(asked)

    @routes.post("/marks/table")
    def bring(asked: BroughtTable) -> dict[str, Any]:
        return marking.bring(asked)

    @routes.get("/detector")
    def detector() -> dict[str, Any]:
        return marking.facts()

    @routes.post("/detector/fit")
    def fit() -> dict[str, Any]:
        return marking.fit()

    @routes.get("/detector/scores/{clip}")
    def scores(clip: Number) -> Response:
        return Response(marking.scores(clip), media_type=media.BYTES)

    @routes.post("/detector/found")
    def found(asked: Detections) -> dict[str, Any]:
        return marking.found(asked)

    @routes.post("/detector/found/{clip}")
    def along(clip: Number, asked: Detections) -> dict[str, Any]:
        return marking.along(clip, asked)

    @routes.post("/detector/file/{form}")
    def file(form: str, asked: Detections) -> Response:
        name, content = marking.file(form, asked)
        return Response(content, media_type=media.BYTES, headers=media.attached(name))

    @routes.post("/detector/review")
    def review(asked: Drawn) -> dict[str, Any]:
        return marking.review(asked.label, asked.count)

    @routes.post("/detector/answer")
    def answer(asked: Answered) -> dict[str, Any]:
        return marking.answer(asked.label, asked.number, asked.sign, asked.other)

    return routes
