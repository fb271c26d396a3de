"""A hostile server makes verify.py end soon, with a sentence, and without much memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from personal_verify import patience
from tests.generate.project import ROOT
from tests.verify.faults.making import Answering, Changing
from tests.verify.house import PASSWORD, House, Report, without_settings
from tests.verify.proxy import Answer, Asked, Fault, json_answer, redirect

Verify = Callable[..., Report]
Sent = Iterator[bytes]

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
PATIENCE_SECONDS = 2.0


@contextlib.contextmanager
def answering(sent: Callable[[], Sent]) -> Iterator[str]:
    """Serves on the loopback, and answers each request with pieces that may have no end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in sent():
                connection.sendall(piece)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def forever(start: bytes, piece: bytes, pause: float = 0.0) -> Callable[[], Sent]:
    def sent() -> Sent:
        yield start
        while True:
            yield piece
            time.sleep(pause)

    return sent


def once(*pieces: bytes) -> Callable[[], Sent]:
    return lambda: iter(pieces)


BOMB = gzip.compress(gzip.compress(b"[" * 200_000_000, 1))
DEEP = b"[" * 100_000 + b"]" * 100_000
ANSWERS = {
    "a body without end": forever(OK + b"\r\n", b"x" * 65536),
    "a body that drips": forever(OK + b"\r\n", b"x", 0.3),
    "a head that drips": forever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.3),
    "a head without end": forever(b"HTTP/1.1 200 OK\r\n", b"a: " + b"b" * 65536),
    "beginnings without end": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001),
    "events without end": forever(
        OK + b"content-type: text/event-stream\r\n\r\n", b": ping\n\n", 0.01
    ),
    "silence": forever(b"", b"", 0.3),
    "nothing": once(b""),
    "no HTTP": once(b"\x00\xff\x1b[31m SSH-2.0\r\n\r\n"),
    "a bomb": once(OK + b"content-encoding: gzip, gzip\r\n\r\n", BOMB),
    "a broken bomb": once(OK + b"content-encoding: gzip\r\n\r\n", BOMB[9:]),
    "deep JSON": once(OK + b"content-type: application/json\r\n\r\n", DEEP),
    "an unknown character set": once(OK + b"content-type: text/html; charset=zlib\r\n\r\n<a>"),
    "an odd encoding": once(OK + b"content-type: text/html; charset=punycode\r\n\r\n" + b"-" * 99),
    "no UTF-8": once(OK + b"content-type: application/json\r\n\r\n", b'{"issuer": "\xff\xfe"}'),
    "a redirect to itself": once(b"HTTP/1.1 302 Found\r\nlocation: /\r\nconnection: close\r\n\r\n"),
    "a redirect to no address": once(
        b"HTTP/1.1 302 Found\r\nlocation: http://[\r\nconnection: close\r\n\r\n"
    ),
    "titles without end": once(OK + b"content-type: text/html\r\n\r\n", b"<title" * 500_000),
    "words that look like addresses": once(OK + b"\r\n", b"a." * 1_000_000),
}


def program(url: str, *arguments: str, **settings: str) -> tuple[Report, float, int]:
    """Runs it as a program of little patience; returns its report, seconds and megabytes too."""
    impatient = (
        "import pathlib, sys; from personal_verify import cli, patience;"
        f"patience.WHOLE_SECONDS = patience.LAST_SECONDS = {PATIENCE_SECONDS};"
        "code = cli.main(sys.argv[1:]);"
        "print(pathlib.Path('/proc/self/status').read_text(), file=sys.stderr); sys.exit(code)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", impatient, url, *arguments],
        env=without_settings(PYTHONPATH=str(ROOT / "template" / "src"), **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    err, _, status = done.stderr.partition("Name:\t")
    most = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert most is not None, done.stderr
    report = Report(done.returncode, done.stdout, err)
    return report, time.monotonic() - began, int(most[1]) // 1024


@pytest.mark.parametrize("what", ANSWERS)
def test_it_ends_soon_with_sentences_whatever_answers(what: str) -> None:
    with answering(ANSWERS[what]) as url:
        report, seconds, megabytes = program(url, "--json", MCP_PASSWORD=PASSWORD)

    assert (report.code, report.err) == (1, "")
    assert seconds < 3 * PATIENCE_SECONDS + 5
    assert megabytes < 300
    for check in report.json["checks"]:
        assert check["detail"].isprintable()
        assert "Traceback" not in check["detail"]
