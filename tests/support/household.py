"""A server with what an owner may have connected to it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

from personal_auth.addresses import caller
from personal_auth.client import Client
from personal_auth.grants import Approval
from tests.support.asgi import AppServer
from tests.support.site import CALLBACK

DAY = 24 * 60 * 60  # seconds
LOOPBACK = "http://localhost:33418/oauth/callback"
CLAUDE = Client("https://claude.ai/oauth/mcp-oauth-client-metadata", "Claude", (CALLBACK,))
CLAUDE_CODE = Client(
    "https://claude.ai/oauth/claude-code-client-metadata", "Claude Code", (LOOPBACK,)
)
CHATGPT = Client("c1.chatgpt", "ChatGPT", ("https://chatgpt.com/connector_platform_oauth_redirect",))
CURSOR = Client("c1.cursor", "Cursor", ("cursor://anysphere.cursor-mcp/oauth/callback", LOOPBACK))
HOSTILE = (
    "W" * 100,
    "<b>claude.ai</b> verified</h3>",
    "\u202e\u05d0\u05d1\u05d2 edualC \u05d3\u05d4\u05d5",
    "",
)


def connect(server: AppServer, client: Client, *, calls: int = 0, read_only: bool = False) -> str:
    """Lets the owner approve a client, and the client call tools; returns the connection's id."""
    return server.run(_connect(server, client, calls, read_only))


async def _connect(server: AppServer, client: Client, calls: int, read_only: bool) -> str:
    service, verifier = server.provider.service, secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    approval = Approval(
        client,
        client.redirect_uris[0],
        challenge.rstrip(b"=").decode(),
        ("tools",),
        secrets.token_urlsafe(24),
        read_only,
    )
    code = await service.grants.issue_code(approval)
    assert code is not None
    tokens = await service.grants.redeem(code, client, client.redirect_uris[0], verifier)
    gid = service.grants.id_of(approval.nonce)
    if calls:
        caller.set("160.79.104.7")
        service.can_narrow = True
        await service.check(tokens.access)
        for _ in range(calls):
            service.seen.called(gid)
    return str(gid)


def token(server: AppServer, name: str, *, read_only: bool = False, days: int = 90) -> tuple[str, str]:
    """Makes a token for scripts; returns its connection's id and the token."""
    made = server.provider.service.grants.issue_token(
        name, read_only=read_only, seconds=days * DAY
    )
    found: tuple[str, str] = server.run(made)
    return found


def furnish(server: Any) -> None:
    """Connects what an ordinary owner has."""
    server.provider.service.can_narrow = True
    token(server, "Nightly backup", read_only=True)
    server.clock.advance(9 * DAY)
    connect(server, CLAUDE_CODE, calls=41)
    server.clock.advance(20 * DAY)
    connect(server, CHATGPT, read_only=True, calls=3)
    server.clock.advance(DAY / 12)
    connect(server, CLAUDE, calls=128)
    server.clock.advance(4 * 60)
