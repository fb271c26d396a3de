"""Whose word on a client's address the server takes, as the answers and compose.yml set it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml

from tests.journeys.compose import filled_in
from tests.support.process import Running

Run = Callable[..., Running]
CALLBACK = "http://127.0.0.1:1/callback"
NETWORK = "127.53.0.0/24"  # stands in for the container's, since every address of it is here
TUNNEL, PROXY, NEIGHBOUR = "127.53.0.2", "127.54.0.2", "127.55.0.2"
STRANGER = "203.0.113.9"


def guess(server: Running, source: str, *forwarded: str) -> str:
    """Sends a wrong password from an address; returns the one that the log says it came from."""
    told = len(server.log)
    headers = [("x-forwarded-for", line) for line in forwarded]
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(
        transport=transport, base_url=server.url.replace("localhost", "127.0.0.1")
    ) as c:
        registration = {"client_name": "Test", "redirect_uris": [CALLBACK]}
        client_id = c.post("/register", json=registration, headers=headers).json()["client_id"]
        query = {"response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK}
        query |= {"code_challenge": "x" * 43, "code_challenge_method": "S256"}
        page = c.get("/authorize", params=query, headers=headers).text
        ticket = re.search(r'name="ticket" value="([^"]+)"', page)
        assert ticket, page
        form = {"ticket": html.unescape(ticket[1]), "password": "a guess", "decision": "approve"}
        c.post("/authorize", data=form, headers=[*headers, ("origin", server.url)])
    return re.findall(r"wrong_password.*?address=(\S+)", server.log[told:])[-1]


def by_compose(project: Path, **variables: str) -> str:
    """Returns the proxies that compose.yml names, with its variables filled in."""
    services = yaml.safe_load((project / "compose.yml").read_text())["services"]
    return filled_in(services["server"]["environment"]["MCP_TRUSTED_PROXIES"], variables)


def test_in_a_container_the_tunnel_is_believed_and_nobody_else(run: Run, project: Path) -> None:
    trusted = by_compose(project, SERVER_NETWORK=NETWORK, MCP_TRUSTED_PROXIES=PROXY)
    server = run(MCP_TRUSTED_PROXIES=trusted, MCP_HOST="0.0.0.0")

    assert guess(server, TUNNEL, f"198.51.100.1, {STRANGER}") == STRANGER
    assert guess(server, TUNNEL, f"{TUNNEL}, {STRANGER}, {PROXY}") == STRANGER
    assert "A proxy seems to stand in front" not in server.log
    assert guess(server, NEIGHBOUR, STRANGER) == NEIGHBOUR
    assert server.log.count("A proxy seems to stand in front") == 1


def test_without_a_container_the_tunnel_on_this_computer_is_believed(run: Run) -> None:
    server = run()

    assert guess(server, "127.0.0.1", "198.51.100.1", STRANGER) == STRANGER
    assert guess(server, NEIGHBOUR, STRANGER) == NEIGHBOUR
