"""What an owner may have connected to a server, and where else the owner is signed in."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import replace
from typing import Any, Protocol

from personal_auth.addresses import caller
from personal_auth.client import Client
from personal_auth.codes import Approval
from personal_auth.grants import Tokens
from personal_auth.keyring import NewPasskey
from personal_auth.provider import PersonalAuthProvider
from personal_auth.trailfile import Entry
from tests.support.site import CALLBACK, Clock

MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60  # seconds
LOOPBACK = "http://localhost:33418/oauth/callback"
CLAUDE = Client("https://claude.ai/oauth/mcp-oauth-client-metadata", "Claude", (CALLBACK,))
CLAUDE_CODE = Client(
    "https://claude.ai/oauth/claude-code-client-metadata", "Claude Code", (LOOPBACK,)
)
CHATGPT = Client("c1.a", "ChatGPT", ("https://chatgpt.com/connector_platform_oauth_redirect",))
CURSOR = Client("c1.b", "Cursor", ("cursor://anysphere.cursor-mcp/oauth/callback", LOOPBACK))
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1"
CALLS = (
    ("my_notes_search", "ok", 4.2),
    ("my_notes_write", "ok", 12.9),
    ("my_notes_search", "error", 2150.0),
    ("my_notes_delete", "refused", 0.4),
    ("my_note", "unknown", 0.3),
)
CLOUD, CAFE = "160.79.104.7", "203.0.113.9"


class Server(Protocol):
    """A server of these tests, behind a socket or not."""

    @property
    def provider(self) -> PersonalAuthProvider: ...

    @property
    def clock(self) -> Clock: ...

    def run(self, call: Any) -> Any: ...


def connect(
    server: Server, client: Client = CLAUDE, *, calls: int = 0, read_only: bool = False
) -> tuple[str, Tokens]:
    """Lets the owner approve a client, and the client call; returns its connection and tokens."""

    async def connecting() -> tuple[str, Tokens]:
        grants, verifier = server.provider.service.grants, secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        uri, nonce = client.redirect_uris[0], secrets.token_urlsafe(24)
        asked = challenge.rstrip(b"=").decode(), ("tools",), nonce
        code = await grants.codes.issue(Approval(client, uri, *asked, read_only))
        assert code is not None
        tokens = await grants.redeem(code, client, uri, verifier)
        gid = grants.codes.id_of(nonce)
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


def token(server: Server, name: str, *, read_only: bool = False, days: int = 90) -> tuple[str, str]:
    """Makes a token for scripts; returns its connection's id and the token."""
    grants = server.provider.service.grants
    made: tuple[str, str] = server.run(
        grants.issue_token(name, read_only=read_only, seconds=days * DAY)
    )
    return made


def enrol(server: Server, name: str) -> str:
    """Enrols a passkey that no authenticator has; returns its id."""
    keyring = server.provider.service.owner.keyring
    new = NewPasskey(secrets.token_urlsafe(16), "a key", 0, synced=True)
    return str(server.run(keyring.add(new, name, CAFE)).id)


def sign_in_elsewhere(server: Server, agent: str = PHONE, passkey: str = "") -> str:
    """Opens a session in another browser; returns its value."""
    sessions = server.provider.service.owner.sessions
    proof = server.run(sessions.present(passkey))
    return str(server.run(sessions.open(address=CAFE, agent=agent, proof=proof)))


def use_passkey(server: Server, passkey: str) -> None:
    """Notes that a passkey has signed the owner in."""
    keyring = server.provider.service.owner.keyring
    (found,) = (each for each in server.run(keyring.listed()) if each.id == passkey)
    server.run(keyring.used(found, 0))


def furnish(server: Server) -> None:
    """Gives a server what an ordinary owner has; its trail, if there is one, is kept."""
    server.provider.service.can_narrow = True
    token(server, "Nightly backup", read_only=True)
    server.clock.advance(9 * DAY)
    connect(server, CLAUDE_CODE, calls=41)
    enrol(server, "YubiKey")
    server.clock.advance(20 * DAY)
    phone = enrol(server, "iPhone")
    connect(server, CHATGPT, read_only=True, calls=3)
    server.clock.advance(2 * HOUR)
    use_passkey(server, phone)
    sign_in_elsewhere(server, passkey=phone)
    gid, _ = connect(server, CLAUDE, calls=128)
    server.clock.advance(4 * MINUTE)
    if server.provider.trail is not None:
        for tool, outcome, took in CALLS:
            asked = {"grant": gid, "client": "Claude", "address": CLOUD}
            call = Entry(server.clock(), "call", tool=tool, outcome=outcome, **asked)
            server.provider.trail.note(replace(call, milliseconds=took))
            server.clock.advance(MINUTE)
