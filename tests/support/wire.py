"""Raw bytes to a server and the answers taken apart, without an HTTP library's politeness."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from contextlib import suppress

from tests.support.asgi import Answer

STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Z][A-Za-z' -]*\Z")


def exchange(port: int, *pieces: bytes, patience: float = 20.0, hang_up: bool = True) -> bytes:
    """Sends pieces over one connection; returns what comes until it ends.

    Waits `patience` seconds for the first bytes. Once there is a whole answer it hangs up, unless
    the server is to end the connection by itself; what else was on its way may be cut by that.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(ConnectionError):  # it may have been closed on us meanwhile
            for piece in pieces:
                connection.sendall(piece)
        connection.settimeout(patience)
        with suppress(TimeoutError, ConnectionError):
            while some := connection.recv(65536):
                received += some
                connection.settimeout(20)
                if hang_up and _has_an_answer(received, b"".join(pieces)):
                    hang_up = False
                    with suppress(OSError):  # it may have ended already
                        connection.shutdown(socket.SHUT_WR)
    return received


def _has_an_answer(received: bytes, sent: bytes) -> bool:
    methods = ["HEAD"] if sent.startswith(b"HEAD ") else []
    try:
        return bool(answers(received, methods, cut=True))
    except AssertionError:  # which is for the test to say
        return True


class Cut(AssertionError):
    """An answer is not whole."""


def answers(received: bytes, methods: Sequence[str] = (), *, cut: bool = False) -> list[Answer]:
    """Takes a stream of answers apart; `methods` says which of them were asked by HEAD.

    The last may be `cut`, where the test has hung up: then it is left out.
    """
    found: list[Answer] = []
    try:
        _take_apart(received, methods, found)
    except Cut:
        if not cut:
            raise
    return found


def _take_apart(received: bytes, methods: Sequence[str], found: list[Answer]) -> None:
    while received:
        head, mark, received = received.partition(b"\r\n\r\n")
        if not mark:
            raise Cut(f"the head of an answer does not end: {head!r}")
        first, *lines = head.split(b"\r\n")
        status = STATUS.match(first)
        assert status, first
        headers = []
        for line in lines:
            name, colon, value = line.partition(b": ")
            assert colon, line
            headers.append((name.lower(), value))
        answer = Answer(int(status[1]), headers)
        if answer.status == 100:
            continue
        head_only = len(found) < len(methods) and methods[len(found)] == "HEAD"
        if not head_only and answer.status != 204:
            answer.body, received = _body(answer, received)
        found.append(answer)


def _body(answer: Answer, rest: bytes) -> tuple[bytes, bytes]:
    if answer.header("transfer-encoding") != "chunked":
        length = answer.header("content-length")
        size = int(length) if length else len(rest)  # as long as the connection lasts
        if len(rest) < size:
            raise Cut("the answer was cut")
        return rest[:size], rest[size:]
    body = b""
    while True:
        size_line, mark, rest = rest.partition(b"\r\n")
        if not mark:
            raise Cut("the answer was cut")
        size = int(size_line, 16)
        chunk, end, rest = rest[:size], rest[size : size + 2], rest[size + 2 :]
        if len(end) < 2:
            raise Cut("the answer was cut")
        assert end == b"\r\n"
        body += chunk
        if not size:
            return body, rest
