"""The owner connecting a client to a server that runs on this machine."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

CALLBACK = "http://127.0.0.1:1/callback"


@dataclass
class Connection:
    """A connected client."""

    url: str
    client_id: str
    access_token: str
    refresh_token: str

    def post(self, message: dict[str, Any], **more: str) -> httpx.Response:
        accept = "application/json, text/event-stream"
        headers = {"authorization": f"Bearer {self.access_token}", "accept": accept, **more}
        with httpx.Client(trust_env=False, timeout=30, verify=False) as client:
            return client.post(f"{self.url}/mcp", json=message, headers=headers)

    def refresh(self) -> httpx.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.refresh_token,
            "client_id": self.client_id,
        }
        with httpx.Client(trust_env=False, verify=False) as client:
            return client.post(f"{self.url}/token", data=form)


def rpc(connection: Connection, method: str, **params: Any) -> dict[str, Any]:
    """Calls a method and returns its result."""
    answer = connection.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def connect(url: str, password: str, name: str = "Test", callback: str = CALLBACK) -> Connection:
    """Registers a client, approves it as the owner on the real page, and fetches its tokens."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    with httpx.Client(base_url=url, trust_env=False, timeout=30, verify=False) as browser:
        registration = {"client_name": name, "redirect_uris": [callback]}
        client_id = browser.post("/register", json=registration).json()["client_id"]
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": callback,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        page = browser.get("/authorize", params=query)
        found = re.search(r'name="ticket" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"ticket": html.unescape(found[1]), "password": password, "decision": "approve"}
        answer = browser.post("/authorize", data=form, headers={"origin": url})
        assert answer.status_code == 303, answer.text
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "client_id": client_id}
        form |= {"code_verifier": verifier, "redirect_uri": callback}
        tokens = browser.post("/token", data=form).json()
    return Connection(url, client_id, tokens["access_token"], tokens["refresh_token"])
