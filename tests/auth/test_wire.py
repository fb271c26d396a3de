"""Raw bytes over a real connection to a real server: HTTP as nobody should speak it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.support.asgi import Answer
from tests.support.hostile import check, fuzz
from tests.support.owner import Connection, connect
from tests.support.process import Running
from tests.support.site import PASSWORD
from tests.support.wire import answers, exchange

HOST = b"Host: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\n" + HOST
LAST += b"Connection: close\r\n\r\n"
TOKEN = b"POST /token HTTP/1.1\r\n" + HOST + FORM
REGISTER = b"POST /register HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
AUTHORIZE = b"GET /authorize?client_id=x HTTP/1.1\r\n" + HOST + b"\r\n"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
MCP = b"POST /mcp HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"

EVENT = re.compile(r"^[0-9: -]+INFO +(\[[a-z_]+\]).*\n", re.MULTILINE)
BY_STRANGERS = {"[request_refused]", "[client_registered]", "[approval_asked]"}


@pytest.fixture(scope="module")
def served(
    rendered: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Connection]]:
    project = tmp_path_factory.mktemp("wire") / "my-server"
    server = Running(Path(shutil.copytree(rendered, project)), MCP_PASSWORD=PASSWORD)
    yield server, connect(server.url, PASSWORD)
    server.kill()


def stored(server: Running) -> dict[str, Any]:
    """Returns the state but for when the connection was last used, which every call changes."""
    state = json.loads((server.project / ".oauth-state" / "oauth_tokens.json").read_text())
    return {name: rows for name, rows in state["rows"].items() if name != "seen"}


@pytest.fixture
def port(served: tuple[Running, Connection]) -> Iterator[int]:
    """The server's; afterwards it works as before, and nothing was stored, said or broken."""
    server, connection = served
    before, log = stored(server), server.log
    yield server.port
    assert connection.post(CALL).status_code == 200
    assert stored(server) == before
    assert set(EVENT.findall(server.log.removeprefix(log))) <= BY_STRANGERS
    assert not EVENT.sub("", server.log.removeprefix(log)).strip()


def check_each(found: list[Answer]) -> None:
    """Every answer is one of ours, or the server's own word that this is no HTTP."""
    for answer in found:
        if answer.body == b"Invalid HTTP request received.":
            assert answer.status == 400
        elif answer.kind == "text/html":
            check(answer, "/authorize", [PASSWORD])
        else:
            check(answer, "", [PASSWORD])


def first_line(line: bytes) -> bytes:
    return line + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def chunked(body: bytes) -> bytes:
    return TOKEN + CHUNKED + b"\r\n" + body


CASES: dict[str, tuple[bytes, list[int] | None]] = {
    "HTTP/1.0": (b"GET /token HTTP/1.0\r\n" + HOST + b"\r\n", [405]),
    "HTTP/1.0 without a host": (b"GET /token HTTP/1.0\r\n\r\n", [421]),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [421, 400]),
    "HTTP/9.9": (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", [404]),
    "no version": (b"GET /token\r\n\r\n", [400]),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 99, [400]),
    "no HTTP at all": (b"\x00\xff\xfe\r\n\r\n", [400]),
    "nothing": (b"", []),
    "line ends only": (b"\r\n\r\n\r\n" + LAST, [400]),
    "no host": (b"GET /token HTTP/1.1\r\n\r\n", [400]),
    "two hosts": (b"GET /token HTTP/1.1\r\n" + HOST + HOST + b"\r\n", [400]),
    "two hosts, one foreign": (
        b"GET /token HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
        [400],
    ),
    "absolute form": (first_line(b"GET https://mcp.example.com/token") + LAST, [404, 200]),
    "absolute form, foreign": (first_line(b"GET http://evil.example/mcp") + LAST, [404, 200]),
    "asterisk": (first_line(b"OPTIONS *") + LAST, [404, 200]),
    "authority": (first_line(b"CONNECT evil.example:443") + LAST, [404, 200]),
    "target above 0x7f": (first_line(b"GET /t\xc3\xb6ken") + LAST, [400]),
    "target with a fragment": (first_line(b"GET /token#x") + LAST, [404, 200]),
    "method with odd characters": (first_line(b"G\x00T /token") + LAST, [400]),
    "method of signs": (first_line(b"!#$%&'*+-.^_`|~ /token") + LAST, [405, 200]),
    "header bytes above 0x7f": (
        b"GET /token HTTP/1.1\r\n" + HOST + b"X: \xff\xfe\xc3\x28\r\n\r\n" + LAST,
        [405, 200],
    ),
    "authorization above 0x7f": (
        MCP + b"Authorization: Bearer \xff\xfe\r\nContent-Length: 0\r\n\r\n" + LAST,
        [401, 200],
    ),
    "header with a NUL": (b"GET /token HTTP/1.1\r\n" + HOST + b"X: \x00\r\n\r\n" + LAST, [400]),
    "folded header": (b"GET /token HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n" + LAST, [405, 200]),
    "bare carriage return": (
        b"GET /token HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n" + LAST,
        [400],
    ),
    "space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n" + LAST, [400]),
    "huge header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200_000 + b"\r\n\r\n", None),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20_000 + b"\r\n", None),
    "huge target": (first_line(b"GET /" + b"a" * 20_000) + LAST, [414, 200]),
    "huge method": (first_line(b"G" * 100_000 + b" /") + LAST, None),
    "length not a number": (TOKEN + b"Content-Length: x\r\n\r\n" + LAST, [400]),
    "negative length": (TOKEN + b"Content-Length: -1\r\n\r\n" + LAST, [400]),
    "two lengths": (TOKEN + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + LAST, [400]),
    "length and chunks": (
        TOKEN + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + LAST,
        [401, 200],
    ),
    "unknown coding": (TOKEN + b"Transfer-Encoding: gzip\r\n\r\n" + LAST, [400]),
    "length of 10 digits": (TOKEN + b"Content-Length: 9999999999\r\n\r\n" + b"a" * 20_000, [413]),
    "chunks": (chunked(b"3\r\na=b\r\n0\r\n\r\n") + LAST, [401, 200]),
    "chunks with a trailer": (chunked(b"0\r\nX: y\r\n\r\n") + LAST, [401, 200]),
    "chunks of rubbish": (chunked(b"zz\r\nrubbish\r\n\r\n") + LAST, [400]),
    "endless chunk size": (chunked(b"f" * 400) + LAST, [400]),
    "pipelined": (
        AUTHORIZE * 5 + first_line(b"GET /token") * 5 + LAST,
        [400] * 5 + [405] * 5 + [200],
    ),
    "a request in a body": (
        TOKEN + b"Content-Length: %d\r\n\r\n" % len(AUTHORIZE) + AUTHORIZE + LAST,
        [401, 200],
    ),
    "upgrade": (
        b"GET /mcp HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + LAST,
        [401, 200],
    ),
    "expect": (
        TOKEN + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\na=b" + LAST,
        [401, 200],
    ),
    "deep JSON": (REGISTER + b"Content-Length: 16000\r\n\r\n" + b"[" * 16_000 + LAST, [400, 200]),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_http_is_answered_and_the_next_request_too(port: int, name: str) -> None:
    sent, statuses = CASES[name]

    patience = 0.05 if statuses == [] else 20
    received = exchange(port, sent, patience=patience, hang_up=not sent.endswith(LAST))

    if statuses is None:  # it may be cut: the server closes while we are still sending
        assert not received or received.startswith(b"HTTP/1.1 4")
        return
    found = answers(received)
    check_each(found)
    assert [answer.status for answer in found] == statuses


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_head_has_the_headers_of_get_and_no_body(port: int, method: str) -> None:
    paths = ["/.well-known/oauth-authorization-server", "/authorize", "/token", "/mcp", "/nothing"]
    asked = b"".join(first_line(f"{method} {path}".encode()) for path in paths) + LAST

    found = answers(exchange(port, asked, hang_up=False), [method] * len(paths))

    assert [answer.status for answer in found] == [200, 400, 405, 401, 404, 200]
    assert all(bool(answer.body) == (method == "GET") for answer in found[:-1])
    assert all(int(answer.header("content-length")) > 0 for answer in found)


def test_rubbish_after_an_early_answer_is_no_error_of_the_server(port: int) -> None:
    for rubbish in [b"zz\r\n", b"f" * 400, b"\x00\xff"]:
        body = b"4e20\r\n" + b"a" * 20_000 + b"\r\n"

        found = answers(exchange(port, chunked(body), rubbish, rubbish))

        check_each(found)
        assert found[0].status in {400, 413}


def test_a_connection_that_ends_anywhere_is_no_error_of_the_server(port: int) -> None:
    whole = TOKEN + b"Content-Length: 30\r\n\r\ngrant_type=refresh_token&a=b"

    for end in range(0, len(whole), 7):
        exchange(port, whole[:end], patience=0.001)


def test_whatever_is_spoilt_on_the_way_is_answered(port: int) -> None:
    requests = [sent for sent, _ in CASES.values() if len(sent) < 5000]
    requests += [TOKEN + b"Content-Length: 3\r\n\r\na=b", AUTHORIZE, LAST]

    def attack(sent: bytes, at: float, spoilt: bytes, drop: int, split: float) -> None:
        where = int(at * len(sent))
        sent = sent[:where] + spoilt + sent[where + drop :] + LAST
        middle = int(split * len(sent))

        found = answers(exchange(port, sent[:middle], sent[middle:], patience=0.05), cut=True)

        check_each(found)

    odd = st.sampled_from(
        [b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b" ", b":", b"HTTP/1.1\r\n", HOST]
    )
    places = st.floats(0, 1)
    fuzz(
        attack,
        st.sampled_from(requests),
        places,
        st.binary(max_size=6) | odd,
        st.integers(0, 40),
        places,
        examples=1200,
    )


def test_rubbish_from_many_holds_nobody_up(served: tuple[Running, Connection], port: int) -> None:
    for number in range(60):
        exchange(port, TOKEN + CHUNKED + b"\r\n" + bytes([number]) * 9, patience=0.001)
        if number % 20 == 0:
            assert served[1].post(CALL).status_code == 200


def test_what_a_connected_client_says_wrong_is_answered(
    served: tuple[Running, Connection], port: int
) -> None:
    bearer = MCP + f"Accept: */*\r\nAuthorization: Bearer {served[1].access_token}\r\n".encode()
    bodies = [b"", b"[", b"null", b"\xff", b"[" * 9_000, b'{"jsonrpc":"2.0","id":1e999}']
    bodies += [json.dumps({**CALL, "method": method}).encode() for method in ["", "x" * 999]]

    for body in bodies:
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        (found,) = answers(exchange(port, bearer + length + body))
        assert 200 <= found.status < 500
        assert b"Traceback" not in found.body
