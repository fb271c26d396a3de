"""A proxy in front of a real server, which breaks one thing at a time."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from starlette.types import Receive, Scope, Send

from tests.support.serving import Serving

Query = dict[str, str]


@dataclass
class Asked:
    """A request on its way to the server."""

    method: str
    path: str
    query: Query
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> Query:
        return pairs(self.body.decode("latin-1"))

    @form.setter
    def form(self, values: Query) -> None:
        self.body = urlencode(values).encode()

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message that it carries."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @message.setter
    def message(self, value: dict[str, Any]) -> None:
        self.body = json.dumps(value).encode()


@dataclass
class Answer:
    """An answer on its way back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()
        self.headers["content-type"] = "application/json"


def json_answer(status: int, value: Any) -> Answer:
    answer = Answer(status)
    answer.json = value
    return answer


def html_answer(status: int, title: str = "Just a moment...") -> Answer:
    page = f"<!doctype html><title>{title}</title><p>Checking your browser.</p>".encode()
    return Answer(status, {"content-type": "text/html; charset=utf-8"}, page)


def redirect(status: int, location: str) -> Answer:
    return Answer(status, {"location": location})


class Fault:
    """What the proxy does to the requests and the answers; nothing, unless it is overridden."""

    def before(self, asked: Asked) -> Answer | None:
        """Alters a request, or answers it in the server's place."""

    def after(self, asked: Asked, answer: Answer) -> None:
        """Alters an answer."""


class Hold(Fault):
    """Holds answers back until it is told to go on, and says when the first one is there."""

    def __init__(self, held: Callable[[Asked], bool]) -> None:
        self.held = held
        self.came, self.go_on = threading.Event(), threading.Event()


class Proxy:
    """Serves on a free port of the loopback, and asks the server behind it."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.fault = Fault()
        self.port_behind = 0
        self._serving = Serving(
            self, host="127.0.0.1", port=0, lifespan="off", date_header=False, server_header=False,
            ssl_certfile=certificate,
        )  # fmt: skip
        self.port = self._serving.port
        self.url = f"http://localhost:{self.port}"

    def stop(self) -> None:
        self._serving.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await read(scope, receive)
        fault = self.fault
        answer = fault.before(asked)
        if answer is None:
            answer = await self._forward(asked)
            fault.after(asked, answer)
        if isinstance(fault, Hold) and fault.held(asked):
            fault.came.set()
            await asyncio.to_thread(fault.go_on.wait, 30)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _forward(self, asked: Asked) -> Answer:
        # By hand: an HTTP client would take most of the time that a run of verify.py takes.
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port_behind)
        query = f"?{urlencode(asked.query)}" if asked.query else ""
        headers = {**asked.headers, "connection": "close", "content-length": str(len(asked.body))}
        lines = [f"{asked.method} {quote(asked.path)}{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        status, *given = head.decode("latin-1").split("\r\n")
        answer = Answer(int(status.split()[1]), body=body)
        for line in given:
            name, _, value = line.partition(": ")
            assert name != "transfer-encoding", "the answer has a length"
            if name not in {"content-length", "connection"}:
                answer.headers[other_spelling(name, answer.headers)] = value
        return answer


async def read(scope: Scope, receive: Receive) -> Asked:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Asked(
        method=scope["method"],
        path=scope["path"],
        query=pairs(scope["query_string"].decode("latin-1")),
        headers={name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


def pairs(encoded: str) -> Query:
    return {name: values[0] for name, values in parse_qs(encoded, keep_blank_values=True).items()}


def other_spelling(name: str, taken: dict[str, str]) -> str:
    """Returns a name in letters that are not taken yet, for cookies, which cannot be joined."""
    spellings = (name[:index] + name[index:].upper() for index in range(len(name), -1, -1))
    return next(spelling for spelling in spellings if spelling not in taken)
