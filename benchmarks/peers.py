"""FastMCP's own providers, each with some tokens that it takes for valid."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fastmcp
from fastmcp.server.auth import AccessToken, JWTVerifier, OAuthProxy
from fastmcp.server.auth.oauth_proxy.models import ClientCode
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.auth.providers.jwt import RSAKeyPair, StaticTokenVerifier
from mcp.server.auth.provider import AuthorizationCode
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from benchmarks.direct import Run
from tests.support.site import CALLBACK, URL

CLIENT, SCOPES = "a client", ["tools"]
LIFE = 24 * 60 * 60  # seconds
IN_USE = 10  # tokens that are presented in turn


@dataclass(frozen=True)
class Verifier:
    """What takes a token and returns an AccessToken, and the tokens it is given in turn."""

    check: Callable[[str], Awaitable[object | None]]
    used: Sequence[str]


def in_memory(tokens: Sequence[str], used: Sequence[str]) -> Verifier:
    """Returns FastMCP's in-memory provider, which knows all the tokens."""
    provider = InMemoryOAuthProvider(base_url=URL)
    end = int(time.time()) + LIFE
    provider.access_tokens = {
        token: AccessToken(token=token, client_id=CLIENT, scopes=SCOPES, expires_at=end)
        for token in tokens
    }
    return Verifier(provider.verify_token, used)


def jwt() -> Verifier:
    """Returns FastMCP's verifier of JWTs that are signed with RS256 by a key it was given."""
    keys, audience = RSAKeyPair.generate(), f"{URL}/mcp"
    tokens = [
        keys.create_token(f"owner {number}", URL, audience, SCOPES, LIFE)
        for number in range(IN_USE)
    ]
    verifier = JWTVerifier(public_key=keys.public_key, issuer=URL, audience=audience)
    return Verifier(verifier.verify_token, tokens)


@contextlib.contextmanager
def proxy(run: Run, home: Path) -> Iterator[Verifier]:
    """Yields FastMCP's OAuth proxy on the store that it takes by itself: encrypted files.

    Whether the upstream's token is valid it looks up in a table; none is asked.
    """
    kept, fastmcp.settings.home = fastmcp.settings.home, home
    try:
        upstream = {f"upstream {n}": {"client_id": CLIENT, "scopes": SCOPES} for n in range(IN_USE)}
        provider = OAuthProxy(
            upstream_authorization_endpoint="https://upstream.example/authorize",
            upstream_token_endpoint="https://upstream.example/token",
            upstream_client_id="this server",
            upstream_client_secret="a secret that opens nothing",
            token_verifier=StaticTokenVerifier(upstream),
            base_url=URL,
        )
    finally:
        fastmcp.settings.home = kept
    provider.set_mcp_path("/mcp")
    yield Verifier(provider.verify_token, [run(_connected(provider, token)) for token in upstream])


async def _connected(provider: OAuthProxy, upstream: str) -> str:
    """Returns the access token of a client that comes back with its code from the upstream."""
    now, code, challenge = time.time(), f"the code of {upstream}", "A" * 43
    held = ClientCode(
        code=code,
        client_id=CLIENT,
        redirect_uri=CALLBACK,
        code_challenge=challenge,
        code_challenge_method="S256",
        scopes=SCOPES,
        idp_tokens={"access_token": upstream, "refresh_token": "x", "expires_in": LIFE},
        expires_at=now + LIFE,
        created_at=now,
    )
    await provider._code_store.put(key=code, value=held)
    tokens = await provider.exchange_authorization_code(
        OAuthClientInformationFull(client_id=CLIENT, redirect_uris=[AnyUrl(CALLBACK)]),
        AuthorizationCode(
            code=code,
            client_id=CLIENT,
            redirect_uri=AnyUrl(CALLBACK),
            redirect_uri_provided_explicitly=True,
            scopes=SCOPES,
            expires_at=now + LIFE,
            code_challenge=challenge,
        ),
    )
    return tokens.access_token
