"""Asking as clients of the stateless revision do: each request describes itself."""

from __future__ import annotations

from typing import Any

from personal_verify.known import NAME, STATELESS

CLIENT_INFO = {"name": NAME, "version": "1"}
NAMED = "io.modelcontextprotocol/"
META = {
    f"{NAMED}protocolVersion": STATELESS,
    f"{NAMED}clientInfo": CLIENT_INFO,
    f"{NAMED}clientCapabilities": {},
}


def stateless_params(**params: Any) -> dict[str, Any]:
    return {**params, "_meta": META}


def stateless_headers(method: str, name: str = "") -> dict[str, str]:
    """Returns the headers that repeat what the body says, named as `Visit.call` takes them."""
    return {"mcp_protocol_version": STATELESS, "mcp_method": method, "mcp_name": name}


def beginning(revision: str) -> dict[str, Any]:
    """Returns the parameters of `initialize`."""
    return {"protocolVersion": revision, "capabilities": {}, "clientInfo": CLIENT_INFO}
