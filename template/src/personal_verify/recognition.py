"""What is there: a server of this template, another MCP server, or none at all."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx2

from personal_verify.answers import Page, destination, is_html, json_in, shape
from personal_verify.checks import Failed, NoServer
from personal_verify.discovery import follow
from personal_verify.fingerprints import told_apart
from personal_verify.known import CLAUDE, HANDSHAKE, RESOURCE_METADATA, SERVER_METADATA
from personal_verify.project import command
from personal_verify.signin import ask, registered
from personal_verify.visit import Visit

REFUSAL = "An access token is needed."  # what a server of this template says without one
SCOPE = "tools"
FOUND = (f"{RESOURCE_METADATA}/mcp", RESOURCE_METADATA, SERVER_METADATA)


def recognise(visit: Visit, health: httpx2.Response) -> None:
    """Finds out whose server answers, and where its clients sign in.

    Raises:
        NoServer: Nothing here speaks MCP.
    """
    knock = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": HANDSHAKE,
    }

    def look(path: str) -> httpx2.Response:
        if path == "/mcp":
            return visit.send("POST", path, json=knock, headers=headers)
        return visit.get(path)

    answers = dict(visit.each(("/mcp", *FOUND), look))
    door, documents = answers["/mcp"], [json_in(answers[path]) for path in FOUND]
    challenge = door.headers.get("www-authenticate", "")
    healthy = health.status_code == 200 and health.text.strip() == "ok"
    refusal = json_in(door)
    signs = (
        healthy,
        f'scope="{SCOPE}' in challenge or SCOPE in scopes(documents[0]),
        isinstance(refusal, dict) and refusal.get("error_description") == REFUSAL,
    )
    visit.recognised = True
    if sum(signs) >= 2:
        return
    if any(isinstance(d, dict) and {"resource", "issuer"} & set(d) for d in documents) or (
        speaks_mcp(door)
    ):
        visit.ours = is_our_page(visit)
    elif not healthy:
        visit.recognised = False
        raise no_server(visit, door, health)
    if not visit.ours:
        visit.found = follow(visit.url, challenge, lambda address: document_at(visit, address))


def speaks_mcp(door: httpx2.Response) -> bool:
    """Tells whether this is how an MCP endpoint answers a message without a token."""
    if is_html(door):
        return False
    stream = door.headers.get("content-type", "").startswith("text/event-stream")
    said = json_in(door)
    speaks = stream or (isinstance(said, dict) and "jsonrpc" in said)
    bearer = door.headers.get("www-authenticate", "Bearer").lower().startswith("bearer")
    return speaks or (door.status_code == 401 and bearer)


def no_server(visit: Visit, door: httpx2.Response, health: httpx2.Response) -> NoServer:
    if door.status_code == 421:
        return NoServer(
            f"The server that answers at {visit.url} knows itself by another address.",
            "Verify the address that it knows (MCP_PUBLIC_URL), and let the proxy pass the Host"
            " header on as it came (nginx: `proxy_set_header Host $host;`); if clients are to use"
            f" this one, set MCP_PUBLIC_URL={visit.url} in .env and restart.",
        )
    if destination(door) == f"{visit.url}/mcp":
        return NoServer(
            f"POST {visit.url}/mcp is redirected to the same address, for ever.",
            "Remove the redirect to https behind the proxy that has TLS already, or at Cloudflare"
            " set SSL/TLS > Overview to Full (strict).",
        )
    if health.status_code >= 500:
        cause = f"GET /healthz is answered with {shape(health)}."
        return NoServer(*told_apart(health, cause, how_to_lead_there()))
    return NoServer(
        *told_apart(
            door,
            f"No MCP server answers at {visit.url}: POST /mcp is answered with {shape(door)}.",
            "Correct the URL, or point the tunnel or proxy at the server's port, and switch off any"
            " login, challenge or warning page before it.",
        )
    )


def how_to_lead_there() -> str:
    return (
        f"Start the server with `uv run {command()}`, and let the tunnel or proxy lead every path"
        " of this host, not /mcp alone, to its port."
    )


def scopes(document: Any) -> list[Any]:
    offered = document.get("scopes_supported") if isinstance(document, dict) else None
    return offered if isinstance(offered, list) else []


def is_our_page(visit: Visit) -> bool:
    """Tells whether the authorization endpoint shows the consent page of this template."""
    page = Page(ask(visit, registered(visit, CLAUDE).question()))
    return page.asks and page.proof != ""


def document_at(visit: Visit, address: str) -> Any:
    """Returns the JSON at an address, None when there is none."""
    with suppress(Failed):
        response = visit.get(address)
        return json_in(response) if response.status_code == 200 else None
    return None
