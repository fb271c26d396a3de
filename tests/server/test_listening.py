"""The port: taken before anything else starts, and answers leave at once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from personal_auth import StartRefused
from personal_server.app import listen
from tests.support.process import free_port


def test_accepted_connections_do_not_hold_small_answers_back() -> None:
    listener = listen("127.0.0.1", 0)
    seen: list[int] = []

    class Watching(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            seen.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def accept_one() -> None:
        server = await asyncio.get_running_loop().create_server(Watching, sock=listener)
        async with server:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(accept_one())

    assert seen == [1]


def test_a_port_that_is_taken_is_refused_with_a_sentence() -> None:
    port = free_port()
    with listen("127.0.0.1", port), pytest.raises(StartRefused, match=f"Port {port} .*MCP_PORT"):
        listen("127.0.0.1", port)
