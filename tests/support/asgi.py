"""A server without a socket: its ASGI app, asked directly, well-formed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from fastmcp import FastMCP

from personal_auth import PersonalAuthProvider
from tests.support.site import QUICK_HASH, URL, Clock, Visitor

HOST = urlsplit(URL).netloc.encode()
Header = tuple[bytes, bytes]


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        return self.header("content-type").partition(";")[0]

    def header(self, name: str) -> str:
        found = [value for key, value in self.headers if key.decode().lower() == name]
        assert len(found) < 2, f"the header {name} was sent {len(found)} times"
        return found[0].decode("latin-1") if found else ""

    @property
    def everything(self) -> bytes:
        return b"\n".join([*(b": ".join(header) for header in self.headers), self.body])


def http_scope(method: str, target: str, headers: Sequence[Header] = ()) -> dict[str, Any]:
    """Returns a scope as uvicorn makes it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8050),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode("utf-8", "surrogateescape"),
        "headers": list(headers),
        "state": {},
    }


async def ask(
    app: Any, scope: Any, chunks: Sequence[bytes] = (b"",), *, cut: bool = False
) -> Answer:
    """Sends one request to an ASGI app; `cut` breaks off before the body ends."""
    parts = [
        {"type": "http.request", "body": chunk, "more_body": cut or number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    answer, over = Answer(), asyncio.Event()

    async def receive() -> Any:
        if parts:
            return parts.pop(0)
        if not cut and scope["type"] == "http" and scope["method"] == "POST":
            await over.wait()  # a stream ends when its client goes away
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert not answer.status, "a second answer"
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                over.set()

    await app(scope, receive, send)
    return answer


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


class AppLoop:
    """An app on an event loop of its own that runs only while the app is asked."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._life = self._loop.create_task(self._live())
        assert self.run(self._said.get()) == "lifespan.startup.complete"

    def run(self, call: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(call, 60))

    def ask(self, scope: Any, chunks: Sequence[bytes] = (b"",), *, cut: bool = False) -> Answer:
        answer = self.run(ask(self.app, scope, chunks, cut=cut))
        assert isinstance(answer, Answer)
        return answer

    def stop(self, *last: Any) -> None:
        """Stops the server; `last` are calls for when it has stopped."""
        self._stop.set()
        assert self.run(self._said.get()) == "lifespan.shutdown.complete"
        self.run(self._life)
        for call in last:
            self.run(call)
        left = asyncio.all_tasks(self._loop)  # such as what watches over event streams
        for task in left:
            task.cancel()
        self.run(_ended(left))
        self.run(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _live(self) -> None:
        begin = iter([{"type": "lifespan.startup"}])

        async def receive() -> Any:
            for message in begin:
                return message
            await self._stop.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            self._said.put_nowait(message["type"])

        await self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


class AppServer(AppLoop):
    """A server with one tool, and what `add` adds to it; `http` is how it is served.

    `around` puts something before its app.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        add: Callable[[FastMCP[Any], PersonalAuthProvider], object] | None = None,
        http: Mapping[str, Any] = MappingProxyType({"stateless_http": True, "json_response": True}),
        around: Callable[[Any], Any] = lambda app: app,
        **options: Any,
    ) -> None:
        self.state_dir, self.clock = state_dir, Clock()
        given = {"base_url": URL, "password": QUICK_HASH, "clock": self.clock, **options}
        self.provider = PersonalAuthProvider(state_dir=state_dir, **given)
        server: FastMCP[Any] = FastMCP("test", auth=self.provider)
        server.tool(lambda: "pong", name="ping", description="Answers pong.")
        if add is not None:
            add(server, self.provider)
        super().__init__(around(server.http_app(**http)))

    def visitor(self, **headers: str) -> Visitor:
        return AppVisitor(self, headers)  # type: ignore[arg-type]


class AppVisitor(Visitor):
    """A visitor who comes to the app without a socket."""

    def send(self, method: str, path: str, headers: dict[str, str], **options: Any) -> Any:
        request = httpx.Request(method, URL + path, headers=headers, **options)
        target = request.url.raw_path.decode()
        raw = [(name.lower(), value) for name, value in request.headers.raw]
        server: Any = self.site
        answer = server.ask(http_scope(method, target, raw), [request.read()])
        return httpx.Response(
            answer.status, headers=answer.headers, content=answer.body, request=request
        )
