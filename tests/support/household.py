"""What an owner may have connected to a server, and where else the owner is signed in."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

from personal_auth.addresses import caller
from personal_auth.client import Client
from personal_auth.grants import Approval, Tokens
from personal_auth.keyring import NewPasskey
from tests.support.asgi import AppServer
from tests.support.site import CALLBACK

MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60  # seconds
LOOPBACK = "http://localhost:33418/oauth/callback"
CLAUDE = Client("https://claude.ai/oauth/mcp-oauth-client-metadata", "Claude", (CALLBACK,))
CLAUDE_CODE = Client(
    "https://claude.ai/oauth/claude-code-client-metadata", "Claude Code", (LOOPBACK,)
)
CHATGPT = Client("c1.a", "ChatGPT", ("https://chatgpt.com/connector_platform_oauth_redirect",))
CURSOR = Client("c1.b", "Cursor", ("cursor://anysphere.cursor-mcp/oauth/callback", LOOPBACK))
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1"
CLOUD, CAFE = "160.79.104.7", "203.0.113.9"


def connect(
    server: AppServer, client: Client = CLAUDE, *, calls: int = 0, read_only: bool = False
) -> tuple[str, Tokens]:
    """Lets the owner approve a client, and the client call; returns its connection and tokens."""

    async def connecting() -> tuple[str, Tokens]:
        grants, verifier = server.provider.service.grants, secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        uri, nonce = client.redirect_uris[0], secrets.token_urlsafe(24)
        asked = challenge.rstrip(b"=").decode(), ("tools",), nonce
        code = await grants.issue_code(Approval(client, uri, *asked, read_only))
        assert code is not None
        tokens = await grants.redeem(code, client, uri, verifier)
        gid = grants.id_of(nonce)
        if calls:
            await use(gid, tokens.access)
        return gid, tokens

    async def use(gid: str, access: str) -> None:
        caller.set(CLOUD)
        await server.provider.service.check(access)
        for _ in range(calls):
            server.provider.service.seen.called(gid)

    connected: tuple[str, Tokens] = server.run(connecting())
    return connected


def token(
    server: AppServer, name: str, *, read_only: bool = False, days: int = 90
) -> tuple[str, str]:
    """Makes a token for scripts; returns its connection's id and the token."""
    grants = server.provider.service.grants
    made: tuple[str, str] = server.run(
        grants.issue_token(name, read_only=read_only, seconds=days * DAY)
    )
    return made


def enrol(server: AppServer, name: str) -> str:
    """Enrols a passkey that no authenticator has; returns its id."""
    keyring = server.provider.service.owner.keyring
    new = NewPasskey(secrets.token_urlsafe(16), "a key", 0, synced=True)
    return str(server.run(keyring.add(new, name, CAFE)).id)


def sign_in_elsewhere(server: AppServer, agent: str = PHONE, passkey: str = "") -> str:
    """Opens a session in another browser; returns its value."""
    sessions = server.provider.service.owner.sessions
    return str(server.run(sessions.open(address=CAFE, agent=agent, passkey=passkey)))


def furnish(server: Any) -> None:
    """Gives a server what an ordinary owner has."""
    server.provider.service.can_narrow = True
    token(server, "Nightly backup", read_only=True)
    server.clock.advance(9 * DAY)
    connect(server, CLAUDE_CODE, calls=41)
    enrol(server, "YubiKey")
    server.clock.advance(20 * DAY)
    phone = enrol(server, "iPhone")
    connect(server, CHATGPT, read_only=True, calls=3)
    server.clock.advance(2 * HOUR)
    sign_in_elsewhere(server, passkey=phone)
    connect(server, CLAUDE, calls=128)
    server.clock.advance(4 * MINUTE)
