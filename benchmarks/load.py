"""A load that costs little itself: requests that are bytes already, on connections that stay."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SILENCE_SECONDS = 30
PIECE = 65536
WORDS = "some words " * 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and the status of the answer that it is to have."""

    raw: bytes
    status: int = 200

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        port: int,
        body: bytes = b"",
        *,
        status: int = 200,
        **headers: str,
    ) -> Request:
        """Returns a request to a server on a port; a header's `_` stands for `-`."""
        head = {"Host": f"localhost:{port}", **headers}
        if body:
            head["Content-Length"] = str(len(body))
        fields = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
        lines = [f"{method} {target} HTTP/1.1", *fields]
        return cls("\r\n".join([*lines, "", ""]).encode() + body, status)


def message(
    port: int,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    token: str | None = None,
    number: int = 1,
    status: int = 200,
    **headers: str,
) -> Request:
    """Returns a JSON-RPC message with an id, to the MCP endpoint."""
    content = {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params or {})}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Request.of(
        "POST",
        "/mcp",
        port,
        json.dumps(content).encode(),
        status=status,
        Accept="application/json, text/event-stream",
        Content_Type="application/json",
        **headers,
    )


def calls(port: int, token: str | None, number: int) -> list[Request]:
    """Returns calls of the tool `echo` whose ids are numbered, made before the clock runs."""
    params = {"name": "echo", "arguments": {"text": WORDS}}
    return [
        message(port, "tools/call", params, token=token, number=each)
        for each in range(1, number + 1)
    ]


class Unexpected(Exception):
    """An answer had another status than its request is to have, or was cut short."""


def drive(ports: int | Sequence[int], requests: Iterable[Request], connections: int = 8) -> float:
    """Sends every request once, a new one on each connection as soon as the last is answered.

    The connections are shared out among the ports in turn. Returns the seconds that all took.

    Raises:
        OSError: Nothing listens, or nothing is answered for 30 seconds.
        Unexpected: An answer has another status, or ends early.
    """
    ports = [ports] if isinstance(ports, int) else ports
    waiting, lines = iter(requests), []
    with selectors.DefaultSelector() as selector:
        try:
            for number in range(connections):
                line = _Line(ports[number % len(ports)])
                lines.append(line)
                selector.register(line.socket, selectors.EVENT_READ, line)
            began = time.perf_counter()
            _exchange(selector, lines, waiting)
            return time.perf_counter() - began
        finally:
            for line in lines:
                line.socket.close()


def _exchange(
    selector: selectors.BaseSelector, lines: Sequence[_Line], waiting: Iterator[Request]
) -> None:
    busy = sum(line.send_next(waiting) for line in lines)
    while busy:
        ready = selector.select(SILENCE_SECONDS)
        if not ready:
            raise TimeoutError(f"no answer for {SILENCE_SECONDS} s")
        for key, _ in ready:
            line: _Line = key.data
            if line.is_answered() and not line.send_next(waiting):
                busy -= 1


class _Line:
    """One connection, on which at most one request waits for its answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self._asked = Request(b"")

    def send_next(self, waiting: Iterator[Request]) -> bool:
        """Sends the next request; False when there is none."""
        asked = next(waiting, None)
        if asked is None:
            return False
        self._asked = asked
        self.socket.sendall(asked.raw)
        return True

    def is_answered(self) -> bool:
        """Takes what has come; tells whether it is the whole answer."""
        piece = self.socket.recv(PIECE)
        self._got += piece
        head, end, body = self._got.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            if int(head[9:12]) != self._asked.status:
                raise Unexpected(self._got.decode(errors="replace"))
            self._got = b""
            return True
        if not piece:
            raise Unexpected("the server hung up: " + self._got.decode(errors="replace"))
        return False


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0
