"""No rendered proxy cuts an answer, however soon it comes; none keeps a long body for that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.deploy import answerer
from tests.deploy.fronts import PROXIES, front
from tests.deploy.rendering import deploy_alone
from tests.support.programs import free_port, need, wait_for

AT_ONCE, TIMES = 4, 500
REQUEST = b"x" * 20_000


async def ask(url: str, tls: ssl.SSLContext) -> list[bytes]:
    """Returns what arrives of many answers."""
    async with httpx.AsyncClient(verify=tls, timeout=20) as http:
        return [(await http.post(url, content=REQUEST)).content for _ in range(TIMES)]


async def ask_at_once(url: str, tls: ssl.SSLContext) -> list[bytes]:
    answers = await asyncio.gather(*(ask(url, tls) for _ in range(AT_ONCE)))
    return [answer for each in answers for answer in each]


@pytest.mark.parametrize("kind", PROXIES)
def test_every_answer_arrives_as_a_whole(tmp_path: Path, kind: str) -> None:
    tunnel, program = PROXIES[kind]
    need(program)
    port, url = free_port(), f"https://localhost:{free_port()}"
    deploy = deploy_alone(tmp_path, tunnel=tunnel, public_url=url, port=str(port))

    # A process of its own, which nothing holds up: Debian's Caddy cuts some in a thousand to some
    # in a hundred then, without what the Caddyfile has against it.
    with subprocess.Popen([sys.executable, answerer.__file__, str(port)]) as server:
        try:
            wait_for(port)
            with front(kind, deploy, tmp_path, url) as before:
                tls = ssl.create_default_context(cafile=before.authority)
                arrived = asyncio.run(ask_at_once(f"{url}/mcp", tls))
        finally:
            server.kill()

    whole = answerer.EVENT * answerer.EVENTS
    assert len(arrived) == AT_ONCE * TIMES
    assert [answer for answer in arrived if answer != whole] == []


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame of HTTP/2 (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def field(name: str, value: str) -> bytes:
    """Returns a field as HPACK writes it literally (RFC 7541 §6.2.2)."""
    return b"".join([b"\0", *(bytes([len(text)]) + text.encode() for text in (name, value))])


@contextlib.contextmanager
def begun(url: str, authority: Path, lengths: list[str]) -> Iterator[None]:
    """Sends ten bytes of a body over HTTP/2 that is said to have these lengths."""
    tls = ssl.create_default_context(cafile=authority)
    tls.set_alpn_protocols(["h2"])
    place = urlsplit(url)
    fields = {":method": "POST", ":scheme": "https", ":path": "/mcp", ":authority": place.netloc}
    head = [*fields.items(), *(("content-length", length) for length in lengths)]
    with (
        socket.create_connection(("127.0.0.1", place.port or 443), 10) as plain,
        tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, b"".join(field(*each) for each in head))
            + frame(0, 0, 1, b"x" * 10)
        )
        yield


@pytest.mark.parametrize(
    ("lengths", "is_passed_on"),
    [(["100"], False), (["60000000"], True), (["60000000", "5"], True)],
    ids=["short", "long", "long and short"],
)
def test_only_a_short_body_is_kept_until_it_ends(
    tmp_path: Path, lengths: list[str], is_passed_on: bool
) -> None:
    kind = "caddy-of-debian"
    need(PROXIES[kind][1])
    url = f"https://localhost:{free_port()}"
    heads: list[bytes] = []

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        deploy = deploy_alone(tmp_path, tunnel="caddy", public_url=url, port=str(port))
        with front(kind, deploy, tmp_path, url) as before, begun(url, before.authority, lengths):
            server.settimeout(10 if is_passed_on else 1)
            with contextlib.suppress(TimeoutError):
                arrived, _ = server.accept()
                with arrived:
                    heads.append(arrived.recv(9))

    assert heads == ([b"POST /mcp"] if is_passed_on else [])
