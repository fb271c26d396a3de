"""A hostile server makes verify.py end soon, with a sentence, and without much memory."""

from __future__ import annotations

import contextlib
import gzip
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
from tests.verify.faults.making import Changing
from tests.verify.house import PASSWORD, House, Report, without_settings
from tests.verify.proxy import Answer, Fault

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


# ---- Behind the sign-in --------------------------------------------------------------------------


def told(change: Callable[[Answer], None], path: str, method: str = "") -> Fault:
    """Changes the answers at a path, or to one MCP method."""
    return Changing(
        lambda asked: asked.path == path and method in {"", asked.message.get("method")},
        change,
    )


def member(name: str, value: object) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if isinstance(answer.json, dict):
            answer.json = {**answer.json, name: value}

    return change


def result(**members: object) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if isinstance(answer.json, dict) and "result" in answer.json:
            answer.json = {**answer.json, "result": {**answer.json["result"], **members}}

    return change


def header(name: str, value: str) -> Callable[[Answer], None]:
    return lambda answer: answer.headers.update({name: value})


def form_to(address: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.body = answer.body.replace(b"<form", f'<form action="{address}"'.encode())

    return change


NESTED: dict[str, object] = {"type": "object"}
for _ in range(300):
    NESTED = {"type": "object", "properties": {"a": NESTED}}
TOOLS = [{"name": f"vault_{n}", "inputSchema": {"type": "object"}} for n in range(20_000)]
# Each with the check that fails, if one does.
FAULTS = {
    ("a session id that no header can hold", ""): told(
        header("mcp-session-id", "\xff\x01"), "/mcp"
    ),
    ("a token that no header can hold", "protocol.token"): told(
        member("access_token", "pat_é\n"), "/token"
    ),
    ("a life without end", "owner.token"): told(member("expires_in", 10**400), "/token"),
    ("a life that is no number", "owner.token"): told(member("expires_in", "1e999"), "/token"),
    ("a scope that is a list", "owner.token"): told(member("scope", ["tools"]), "/token"),
    ("a form that leads nowhere", "owner.sign_in"): told(form_to("http://[/"), "/authorize"),
    ("a form with signs in its address", "owner.sign_in"): told(
        form_to("/authorize\x01\x7f"), "/authorize"
    ),
    ("a redirect that leads nowhere", "owner.sign_in"): told(
        header("location", "http://[::1/\x01"), "/authorize"
    ),
    ("pages of tools without end", "protocol.tools"): told(
        result(nextCursor="again"), "/mcp", "tools/list"
    ),
    ("a cursor that is no text", "protocol.tools"): told(
        result(nextCursor={"a": [1]}), "/mcp", "tools/list"
    ),
    ("thousands of tools", "protocol.size"): told(result(tools=TOOLS), "/mcp", "tools/list"),
    ("tools that are none", "protocol.tools"): told(
        result(tools=[1, None, "a", []]), "/mcp", "tools/list"
    ),
    ("tools that are no list", "protocol.tools"): told(
        result(tools={"a": 1}), "/mcp", "tools/list"
    ),
    ("names that are numbers", "protocol.tools"): told(
        result(tools=[{"name": 7, "description": 8, "inputSchema": []}]), "/mcp", "tools/list"
    ),
    ("a deep schema", "protocol.described"): told(
        result(tools=[{"name": "vault_deep", "inputSchema": NESTED}]), "/mcp", "tools/list"
    ),
    ("instructions that are a list", "protocol.eras"): told(
        result(instructions=[1]), "/mcp", "initialize"
    ),
    ("signs that turn the text round", ""): told(
        result(serverInfo={"name": "\x1b[31m\u202e\u0007[bold]x"}), "/mcp", "initialize"
    ),
    ("an id of a client that is no text", "stranger.register"): told(
        member("client_id", {"a": 1}), "/register"
    ),
    ("an age beyond numbers", "reach.clock"): told(header("age", "9" * 5000), "/healthz"),
    ("a date of another world", ""): told(header("date", "Sat, 31 Dec 99999 99:99:99"), "/healthz"),
}


@pytest.mark.parametrize(("what", "check"), FAULTS)
def test_an_odd_answer_is_said_and_ends_nothing_else(
    house: House, verify_here: Verify, what: str, check: str
) -> None:
    house.proxy.fault = FAULTS[what, check]
    only = check or "grant.revoke"

    report = verify_here(house.url, "--json", "--only", only, MCP_PASSWORD=PASSWORD)

    assert report.checks[only]["status"] == ("fail" if check else "pass"), report.out
    assert "Traceback" not in report.err
    for said in report.checks.values():
        assert said["detail"].isprintable()
        assert "status 500" not in said["detail"], "the fault itself is made"


def test_who_answers_slowly_for_long_is_not_waited_for(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "WHOLE_SECONDS", 0.0)

    report = verify_here(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.with_status("fail") == ["reach.health"]
    assert report.checks["reach.health"]["detail"].startswith("The server answers so slowly")
