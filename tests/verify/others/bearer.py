"""A server with one token for everybody, and no OAuth at all."""

from __future__ import annotations

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from starlette.types import ASGIApp

TOKEN = "the one token"


def app(url: str) -> ASGIApp:
    tokens = {TOKEN: {"client_id": "me", "scopes": []}}
    server = FastMCP(name="bearer", auth=StaticTokenVerifier(tokens=tokens))
    return server.http_app(stateless_http=True, json_response=True)
