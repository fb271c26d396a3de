"""The server that the template replaces, with its faults: whoever asks is approved.

It is FastMCP's in-memory provider with registration switched on. The redirect URI's host must be an
allowed one, which is taken for the gate; the password is kept and never asked for.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.provider import AuthorizationParams, AuthorizeError
from mcp.shared.auth import OAuthClientInformationFull
from starlette.types import ASGIApp

DOMAINS = ["claude.ai", "claude.com", "localhost"]


class PersonalAuthProvider(InMemoryOAuthProvider):
    def __init__(
        self,
        base_url: str,
        password: str | None = None,
        allowed_redirect_domains: list[str] | None = None,
    ) -> None:
        super().__init__(
            base_url=base_url,
            client_registration_options=ClientRegistrationOptions(enabled=True),
        )
        self.password = password
        self.allowed_redirect_domains = allowed_redirect_domains or DOMAINS

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        host = urlsplit(str(params.redirect_uri)).hostname
        if host not in self.allowed_redirect_domains:
            raise AuthorizeError("access_denied", f"{host} is not allowed.")
        return await super().authorize(client, params)


def app(url: str) -> ASGIApp:
    server = FastMCP(name="my-server", auth=PersonalAuthProvider(url, password="my-secret"))

    @server.tool
    def hello(name: str) -> str:
        """Greets somebody."""
        return f"Hello, {name}!"

    return server.http_app()
