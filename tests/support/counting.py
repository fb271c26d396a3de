"""A way to a Redis or a PostgreSQL that counts what is asked there, and in how many steps.

A step is whatever is asked before anything of it is answered: commands that are sent together are
one step, a command that waits for the answer to another is one more. Every answer is held back for
a moment in which more may be asked. It has to run in the event loop of whoever asks.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

HOLD_SECONDS = 0.02
STARTUP = 3 << 16  # the protocol's version, in the first message that is no question for TLS
WORD = re.compile(r"[A-Z]+")


def redis_commands() -> Callable[[bytes], Iterator[str]]:
    """Returns what names the commands in the pieces of a stream to a Redis."""
    rest = b""

    def named(piece: bytes) -> Iterator[str]:
        nonlocal rest
        rest += piece
        while b"\r\n" in rest:
            count, _, after = rest.partition(b"\r\n")
            words = []
            for _ in range(int(count[1:])):
                size, mark, after = after.partition(b"\r\n")
                if not mark or len(after) < int(size[1:]) + 2:
                    return
                words.append(after[: int(size[1:])])
                after = after[int(size[1:]) + 2 :]
            rest = after
            yield words[0].decode()

    return named


def postgres_commands() -> Callable[[bytes], Iterator[str]]:
    """Returns what names the executed statements in the pieces of a stream to a PostgreSQL."""
    rest, begun, statement = b"", False, ""

    def named(piece: bytes) -> Iterator[str]:
        nonlocal rest, begun, statement
        rest += piece
        while len(rest) >= (head := 5 if begun else 4):
            size = int.from_bytes(rest[head - 4 : head]) + head - 4
            if len(rest) < size:
                return
            kind, body, rest = rest[: head - 4], rest[head:size], rest[size:]
            begun = begun or int.from_bytes(body[:4]) == STARTUP
            if kind == b"P":
                statement = body.split(b"\0")[1].decode()
            if kind in {b"E", b"Q"}:
                found = WORD.search(statement if kind == b"E" else body.decode())
                yield found[0] if found else "?"

    return named


class Counting:
    """The way to the store at a URL; `url` is the one that leads over it, once it is open."""

    def __init__(self, url: str) -> None:
        self._behind = urlsplit(url).port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self._behind}", f":{self._listener.getsockname()[1]}")
        self._commands = redis_commands if url.startswith("redis") else postgres_commands
        self._steps: list[list[str]] = []
        self._answered = True
        self._last = 0.0  # when something was asked, in the event loop's time
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def first(self, app: Any) -> Any:
        """Returns an ASGI app before whose start the way is open."""

        async def opened(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await self.open()
            await app(scope, receive, send)

        return opened

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listener)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def taken(self) -> list[list[str]]:
        """Returns the commands of each step since the last time."""
        steps, self._steps, self._answered = self._steps, [], True
        return steps

    async def _accept(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection("127.0.0.1", self._behind)
        for way in (self._ask(near, to_far), self._answer(far, to_near)):
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        named = self._commands()
        with suppress(ConnectionError):
            while piece := await source.read(1 << 16):
                if self._answered:
                    self._steps.append([])
                self._answered, self._last = False, asyncio.get_running_loop().time()
                self._steps[-1] += named(piece)
                sink.write(piece)
        sink.close()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while piece := await source.read(1 << 16):
                while (left := self._last + HOLD_SECONDS - loop.time()) > 0:
                    await asyncio.sleep(left)
                self._answered = True
                sink.write(piece)
        sink.close()
