"""FastMCP's own server for tests, as its manual has it: every request is approved at once."""

from __future__ import annotations

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from starlette.types import ASGIApp


def app(url: str) -> ASGIApp:
    server = FastMCP(
        name="in-memory",
        auth=InMemoryOAuthProvider(
            base_url=url,
            client_registration_options=ClientRegistrationOptions(enabled=True),
            revocation_options=RevocationOptions(enabled=True),
        ),
    )
    return server.http_app(stateless_http=True, json_response=True)
