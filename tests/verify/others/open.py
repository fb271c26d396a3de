"""A server that anybody may use."""

from __future__ import annotations

from fastmcp import FastMCP
from starlette.types import ASGIApp


def app(url: str) -> ASGIApp:
    server = FastMCP(name="open")

    @server.tool
    def hello(name: str) -> str:
        """Greets somebody."""
        return f"Hello, {name}!"

    return server.http_app(stateless_http=True, json_response=True)
