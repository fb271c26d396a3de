"""A rendered server as the suite meets it: as its owner's client, which holds a token."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.conformance.relay import Relay
from tests.support.approve import approve
from tests.support.process import Running

PASSWORD = "a password of some length"
CALLBACK = "http://127.0.0.1/callback"


@dataclass
class Place:
    """A server behind a relay that adds the token of a connection which the owner approved."""

    url: str
    server: Running


@contextmanager
def serving(project: Path, **settings: str) -> Iterator[Place]:
    """Starts a project's server and connects to it."""
    relay = Relay()
    try:
        server = Running(project, MCP_PUBLIC_URL=relay.url, MCP_PASSWORD=PASSWORD, **settings)
        try:
            relay.port_behind = server.port
            relay.added = f"Authorization: Bearer {connect(relay.url)}\r\n".encode()
            yield Place(relay.url, server)
        finally:
            server.kill()
    finally:
        relay.stop()


def copied(rendered: Path, folder: Path) -> Path:
    """Returns a project of one's own."""
    return Path(shutil.copytree(rendered, folder / "my-server"))


def with_fixtures(rendered: Path, folder: Path) -> Path:
    """Returns a project of one's own that has what the suite asks of a server."""
    project = copied(rendered, folder)
    fixtures = Path(__file__).with_name("fixture_server.py")
    shutil.copy(fixtures, project / "src/my_server/extend.py")
    return project


def connect(url: str) -> str:
    """Registers a client, lets the owner approve it, and returns its access token."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    with httpx.Client(base_url=url, trust_env=False, timeout=20, verify=False) as http:
        registered = http.post("/register", json={"redirect_uris": [CALLBACK]}).json()
        client = {"client_id": registered["client_id"], "redirect_uri": CALLBACK}
        query = {
            **client,
            "response_type": "code",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        location = approve(f"{url}/authorize?{urlencode(query)}", PASSWORD)
        code = parse_qs(urlsplit(location).query)["code"][0]
        form = {
            **client,
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            **({"client_secret": s} if (s := registered.get("client_secret")) else {}),
        }
        tokens = http.post("/token", data=form)
    assert tokens.status_code == 200, tokens.text
    token: str = tokens.json()["access_token"]
    return token
