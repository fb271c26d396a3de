"""A server whose sign-in is another host's, as with Auth0: tokens are made there."""

from __future__ import annotations

from fastmcp import FastMCP
from fastmcp.server.auth.auth import RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from pydantic import AnyHttpUrl
from starlette.types import ASGIApp


def app(url: str, sign_in: str) -> ASGIApp:
    auth = RemoteAuthProvider(
        token_verifier=StaticTokenVerifier(tokens={}),
        authorization_servers=[AnyHttpUrl(sign_in)],
        base_url=url,
    )
    return FastMCP(name="remote", auth=auth).http_app(stateless_http=True, json_response=True)
