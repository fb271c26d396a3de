"""A web site, which has a page for whatever is not there."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

METHODS = ["GET", "POST", "DELETE"]


def app(url: str) -> ASGIApp:
    async def home(request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>My garden</title>")

    async def nothing(request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>Not found</title>", status_code=404)

    return Starlette(
        routes=[Route("/", home), Route("/{path:path}", nothing, methods=METHODS)],
    )
