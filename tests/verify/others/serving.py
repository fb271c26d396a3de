"""Serving an ASGI application on the loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.support.programs import free_port
from tests.support.serving import Serving


class Watched:
    """Notes what an application is asked."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.asked: list[tuple[str, str, str]] = []  # method, path, everything that was sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = [scope["query_string"], *(value for _, value in scope["headers"])]

        async def receiving() -> Message:
            message = await receive()
            sent.append(message.get("body", b""))
            return message

        await self.app(scope, receiving, send)
        whole = b"\n".join(sent).decode("latin-1")
        self.asked.append((scope["method"], scope["path"], whole))


@contextmanager
def serving(make: Callable[[str], ASGIApp]) -> Iterator[tuple[str, Watched]]:
    """Serves what `make` returns for the URL it will have."""
    port = free_port()
    url = f"http://localhost:{port}"
    app = Watched(make(url))
    server = Serving(app, host="127.0.0.1", port=port)
    yield url, app
    server.end()
