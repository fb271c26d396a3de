"""No rendered proxy cuts an answer, however soon after its request it comes."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.deploy import answerer
from tests.deploy.fronts import PROXIES, front
from tests.deploy.rendering import deploy_alone
from tests.support.programs import free_port, need, wait_for

AT_ONCE, TIMES = 4, 150
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

    # A process of its own, which nothing holds up: Debian's Caddy cuts four answers in a hundred
    # then, without what the Caddyfile has against it.
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
