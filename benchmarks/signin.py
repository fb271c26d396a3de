"""What a whole sign-in costs: from a client's registration to the answer of its first tool call.

Ours is asked through the whole ASGI app: POST /register, GET /authorize, which shows the page, POST
/authorize with the password, POST /token, and what a client says then: initialize, initialized,
tools/list and tools/call. FastMCP's in-memory provider approves by itself, so it is asked once
less, keeps nothing on disk and shows nobody anything. The password's hash is configured with the
least that Argon2id can do, some microseconds; the 40 ms that it takes in earnest are in no figure.
The state is on a disk: what is granted is written and synced before it is answered. Each run begins
with a new server. One row is the processor's time, one the time that passes, and one how often the
state is written.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import html
import json
import re
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlencode, urlsplit

from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions

from benchmarks.direct import AS_GENERATED, FORM, JSON, MCP, form_of, json_of, send
from benchmarks.measure import CPU, WALL, Goal, Row, Scale, in_turns, ratios, row
from personal_auth.statedir import StateDir
from tests.support.asgi import Answer, AppLoop, AppServer
from tests.support.site import CALLBACK, PASSWORD, URL

PART = "signin"
NAME, PEER = "a sign-in to the first call", "FastMCP's in-memory provider"
SIGN_INS = 20
ON_DISK = "/var/tmp"  # noqa: S108 - unlike /tmp it is never kept in memory
CLIENT = {
    "client_name": "Measured",
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "none",
}
VERSION = "2025-11-25"
FIRST = {
    "protocolVersion": VERSION,
    "capabilities": {},
    "clientInfo": {"name": "m", "version": "1"},
}
SESSION = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": FIRST},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
    {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "ping"}},
)
"""What a client says as soon as it has a token, up to its first call."""

Authorize = Callable[[Any, str], Awaitable[Answer]]
"""Takes an app and the address of its page; returns the redirect that carries the code."""


def rows(scale: Scale) -> Iterator[Row]:
    number = scale.of(SIGN_INS, 2)
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
        for clock, what in ((CPU, "processor"), (WALL, "time that passes")):
            own, others = in_turns(
                scale,
                partial(_signing_in, partial(_ours, Path(folder)), _by_the_owner, number, clock),
                partial(_signing_in, _theirs, _by_itself, number, clock),
            )
            yield row(PART, f"{NAME}, {what}", PEER, ratios(own, others), Goal(most=1.5))
        yield row(
            PART, f"{NAME}, writes of the state", "counted", [_writes(Path(folder))], Goal(), ""
        )


def _ours(folder: Path) -> AppServer:
    return AppServer(folder / secrets.token_hex(8), http=AS_GENERATED)


def _theirs() -> AppLoop:
    options = ClientRegistrationOptions(enabled=True)
    peer: FastMCP[Any] = FastMCP(
        "peer", auth=InMemoryOAuthProvider(base_url=URL, client_registration_options=options)
    )
    peer.tool(lambda: "pong", name="ping", description="Answers pong.")
    return AppLoop(peer.http_app(**AS_GENERATED))


def _signing_in(
    serve: Callable[[], AppLoop], authorize: Authorize, number: int, clock: Callable[[], float]
) -> float:
    """Returns how many microseconds a sign-in takes on a new server."""
    loop = serve()

    async def sign_in() -> None:
        for _ in range(number):
            await _sign_in(loop.app, authorize)

    try:
        loop.run(_sign_in(loop.app, authorize))  # the first one also sets things up
        gc.collect()  # what other runs left is not this one's to clear away
        began = clock()
        loop.run(sign_in())
        return (clock() - began) / number * 1_000_000
    finally:
        loop.stop()


async def _sign_in(app: Any, authorize: Authorize) -> None:
    registered = await send(app, 201, "POST", "/register", json_of(CLIENT), JSON)
    client, verifier = json.loads(registered.body)["client_id"], secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    query = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": CALLBACK,
        "state": "some state",
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
        "resource": f"{URL}/mcp",
    }
    sent = await authorize(app, f"/authorize?{urlencode(query)}")
    form = form_of(
        grant_type="authorization_code",
        code=parse_qs(urlsplit(sent.header("location")).query)["code"][0],
        client_id=client,
        redirect_uri=CALLBACK,
        code_verifier=verifier,
    )
    tokens = json.loads((await send(app, 200, "POST", "/token", form, FORM)).body)
    bearer = b"authorization", f"Bearer {tokens['access_token']}".encode()
    for message in SESSION:
        status = 200 if "id" in message else 202
        answer = await send(app, status, "POST", "/mcp", json_of(message), *MCP, bearer)
    if b"pong" not in answer.body:
        raise AssertionError(answer.body)


async def _by_the_owner(app: Any, address: str) -> Answer:
    page = await send(app, 200, "GET", address)
    found = re.search(rb'name="ticket" value="([^"]+)"', page.body)
    if found is None:
        raise AssertionError(page.body)
    ticket = html.unescape(found[1].decode())
    form = form_of(ticket=ticket, password=PASSWORD, decision="approve")
    cookie = page.header("set-cookie").partition(";")[0].encode()
    own = (b"origin", URL.encode()), (b"cookie", cookie)
    return await send(app, 303, "POST", "/authorize", form, FORM, *own)


async def _by_itself(app: Any, address: str) -> Answer:
    return await send(app, 302, "GET", address)


def _writes(folder: Path) -> int:
    """Returns how often one sign-in writes the state file."""
    ours = _ours(folder)
    try:
        with patch.object(StateDir, "write", autospec=True, side_effect=StateDir.write) as write:
            ours.run(_sign_in(ours.app, _by_the_owner))
            return int(write.call_count)
    finally:
        ours.stop()
