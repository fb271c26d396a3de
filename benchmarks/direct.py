"""An ASGI app that is asked without a socket: what a request costs behind the HTTP server.

Every app is given the same scope by the same code, so that what asking costs is in both figures of
a pair. It is little, about two microseconds, and hides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from benchmarks.measure import CPU, Way
from tests.support.asgi import HOST, Answer, AppLoop, Header, ask, http_scope

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end on the event loop of what is measured."""

AS_GENERATED: dict[str, Any] = {
    "stateless_http": True,
    "json_response": True,
    "host_origin_protection": False,
}
"""How a rendered server serves: the provider looks at the Host and Origin itself."""

JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
MCP = (JSON, (b"accept", b"application/json, text/event-stream"))


def scope_of(method: str, target: str, *headers: Header) -> dict[str, Any]:
    """Returns the scope of a request to the public name."""
    return http_scope(method, target, [(b"host", HOST), *headers])


async def statuses(app: Any, scope: dict[str, Any], number: int) -> set[int]:
    """Sends the same request without a body many times; returns the statuses of the answers."""
    seen: set[int] = set()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.add(message["status"])

    for _ in range(number):
        await app(dict(scope), receive, send)
    return seen


def asking(loop: AppLoop, scope: dict[str, Any], status: int, number: int) -> Way:
    """Returns a way that sends a request many times and answers what one takes, in µs of CPU."""

    def run() -> float:
        began = CPU()
        seen = loop.run(statuses(loop.app, scope, number))
        taken = CPU() - began
        if seen != {status}:
            raise AssertionError(f"answered {seen}, not {status}")
        return taken / number * 1_000_000

    return run


async def send(
    app: Any, status: int, method: str, target: str, body: bytes = b"", *headers: Header
) -> Answer:
    """Sends one request; returns its answer, which has to have that status."""
    length = (b"content-length", b"%d" % len(body))
    answer = await ask(app, scope_of(method, target, length, *headers), [body])
    if answer.status != status:
        raise AssertionError(f"{target} answered {answer.status}: {answer.body[:200]!r}")
    return answer


def json_of(value: object) -> bytes:
    """Returns a body of JSON."""
    return json.dumps(value).encode()


def form_of(**fields: str) -> bytes:
    """Returns the body of a form."""
    return urlencode(fields).encode()
