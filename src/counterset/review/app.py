"""The page's server: what it answers, and whom.

It listens on 127.0.0.1 only, and everything is below a token that each start draws anew, so that no other page or
user of the machine can ask it anything. Only names of this machine are answered (a name that was bound to it from
outside is not). The page may load its own script, style and pictures, and nothing else; pictures are drawn anew, so
no byte of a file goes to the browser as it was.
"""

from __future__ import annotations

import functools
import hmac
import importlib.resources
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from counterset.errors import PictureError, ReviewError, WorkspaceError
from counterset.pictures import small_jpeg
from counterset.review.desk import Desk, Said
from counterset.review.gallery import LEFT, MAX_SHOWN, Gallery, Sheet, Use
from counterset.review.schemas import reject_reasons

MAX_BODY_BYTES = 4_000_000
MAX_BATCH = 5_000
THUMBNAIL_PX, PHOTO_PX, QUALITY = 256, 1_200, 80
MAX_THUMBNAILS = 4_096
"""In memory, of 10 to 20 kB each."""

STATIC = {"": "text/html", "review.js": "text/javascript", "review.css": "text/css"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Next = Callable[[Request], Awaitable[Response]]
Text = Annotated[str, Field(max_length=200)]


class _Said(BaseModel):
    """A decision of the page, see `desk.Said`."""

    number: int
    decision_id: Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")]
    answer: Text
    said_name: Text | None = None
    reason: Text | None = None
    undoes: Text | None = None


class _Batch(BaseModel):
    reviewer: Text
    decisions: Annotated[list[_Said], Field(max_length=MAX_BATCH)]


def make_app(gallery: Gallery, desk: Desk | None, token: str, port: int) -> FastAPI:
    """The page of one gallery.

    Args:
        gallery: what is shown.
        desk: who takes decisions; None = the page is read only.
        token: the first part of every address.
        port: that it is served at.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    @app.middleware("http")
    async def guard(request: Request, call_next: Next) -> Response:
        answer = _refusal(request, hosts, token) or await call_next(request)
        answer.headers.update(HEADERS)
        return answer

    @app.exception_handler(ReviewError)
    @app.exception_handler(WorkspaceError)
    async def told(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=422 if isinstance(error, ReviewError) else 507)

    root = f"/{token}"
    for name in STATIC:
        app.add_api_route(f"{root}/{name}", functools.partial(_static, name), methods=["GET"])
    _add_photos(app, root, gallery)
    _add_sheets(app, root, gallery, desk)
    if desk is not None:
        _add_decisions(app, root, gallery, desk)
    return app


def _refusal(request: Request, hosts: set[str], token: str) -> Response | None:
    """Why a request is not answered; None = it is."""
    if request.headers.get("host", "") not in hosts:
        return JSONResponse({"detail": "this page answers at 127.0.0.1 only"}, status_code=421)
    origin = request.headers.get("origin")
    if origin is not None and origin.removeprefix("http://") not in hosts:
        return JSONResponse({"detail": "this page is for itself only"}, status_code=403)
    given = request.url.path.split("/")[1]
    if not hmac.compare_digest(given.encode(), token.encode()):
        return JSONResponse({"detail": "open the address that the command has printed"}, status_code=404)
    length = request.headers.get("content-length", "0" if request.method == "GET" else "none")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return JSONResponse({"detail": f"a request may have {MAX_BODY_BYTES} bytes"}, status_code=413)
    return None


def _static(name: str) -> Response:
    file = importlib.resources.files("counterset.review") / "static" / (name or "review.html")
    return Response(file.read_bytes(), media_type=f"{STATIC[name]}; charset=utf-8")


def _add_photos(app: FastAPI, root: str, gallery: Gallery) -> None:
    @functools.lru_cache(maxsize=MAX_THUMBNAILS)
    def thumbnail(number: int) -> bytes:
        return picture(number, THUMBNAIL_PX, False)

    def picture(number: int, side_px: int, may_fetch: bool) -> bytes:
        content = gallery.read(_photo(gallery, number).photo_id, may_fetch)
        if content is None:
            raise HTTPException(404, "the photo is not on this machine")
        try:
            return small_jpeg(content, side_px, QUALITY)
        except PictureError as error:
            raise HTTPException(404, f"the photo cannot be shown ({error})") from error

    @app.get(root + "/thumb/{number}")
    def small(number: int) -> Response:
        return Response(thumbnail(number), media_type="image/jpeg")

    @app.get(root + "/photo/{number}")
    def large(number: int, fetch: bool = False) -> Response:
        return Response(picture(number, PHOTO_PX, fetch), media_type="image/jpeg")

    @app.get(root + "/about/{number}")
    def about(number: int) -> dict[str, str]:
        photo = _photo(gallery, number)
        known = {} if gallery.use is Use.AUDIT else gallery.about(photo.photo_id)
        return {"id": photo.photo_id} | {name: text[:MAX_SHOWN] for name, text in known.items()}


def _photo(gallery: Gallery, number: int) -> Any:
    if not 0 <= number < len(gallery.photos):
        raise HTTPException(404, "there is no such photo")
    return gallery.photos[number]


def _add_sheets(app: FastAPI, root: str, gallery: Gallery, desk: Desk | None) -> None:
    def described(class_id: str) -> dict[str, Any]:
        return {
            "id": class_id,
            "name": gallery.classes[class_id],
            "note": gallery.notes.get(class_id, ""),
            "sheets": [_sheet(sheet) for sheet in gallery.sheets(class_id)],
        }

    @app.get(root + "/api/start")
    def start() -> dict[str, Any]:
        return {
            "title": gallery.title,
            "use": gallery.use.value,
            "names": list(gallery.names),
            "reasons": [[reason.value, meaning] for reason, meaning in reject_reasons().items()],
            "classes": [described(class_id) for class_id in gallery.classes],
            "reviewers": desk.reviewers() if desk else [],
        }

    @app.get(root + "/api/sheet")
    def sheet(class_id: str, kind: str, name: str = "") -> dict[str, Any]:
        numbers = gallery.on_sheet(class_id, kind, name)
        if kind == LEFT and desk is not None:
            left = set(desk.left(class_id))
            numbers = [number for number in numbers if number in left]
        return {"numbers": numbers, "names": [gallery.photos[number].name for number in numbers]}


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {"kind": sheet.kind, "name": sheet.name, "count": sheet.num_photos, "note": sheet.note}


def _add_decisions(app: FastAPI, root: str, gallery: Gallery, desk: Desk) -> None:
    @app.get(root + "/api/words")
    def words(reviewer: str, class_id: str) -> dict[str, Any]:
        return {"words": desk.words(reviewer, class_id)}

    @app.get(root + "/api/place")
    def place(reviewer: str) -> dict[str, Any]:
        last = desk.last(reviewer)
        if last is None:
            return {"place": None, "progress": desk.progress()}
        photo = gallery.photos[last[0]]
        found = {"number": last[0], "class_id": photo.class_id, "name": photo.name, "decision_id": last[1]}
        return {"place": found, "progress": desk.progress()}

    @app.post(root + "/api/decisions")
    def say(batch: _Batch) -> dict[str, Any]:
        kept = desk.say(batch.reviewer, [Said(**one.model_dump()) for one in batch.decisions])
        return {"kept": kept, "progress": desk.progress()}
