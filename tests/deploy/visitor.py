"""Somebody with an address of their own who comes to a server through its proxy."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.deploy.fronts import Front

CALLBACK = "http://127.0.0.1:1/callback"
SECONDS = 20
EACH_CLOSED = httpx.Limits(max_keepalive_connections=0)  # nobody has to close a visitor
ACCEPTED = {"accept": "application/json, text/event-stream"}


class Visitor:
    """A client, and the browser of whoever uses it.

    Args:
        front: The proxy it comes to.
        address: The address it comes from.
        headers: What it says beside that in each request.
    """

    def __init__(self, front: Front, address: str = "127.0.0.1", **headers: str) -> None:
        self.front = front
        self.tls = ssl.create_default_context(cafile=front.authority)
        self.state = secrets.token_urlsafe(24)
        self.code = self.access_token = self.refresh_token = self.client_id = ""
        self.location = ""
        self._address = address
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http = self.browser()

    def browser(self) -> httpx.Client:
        """Returns a browser that has never been here."""
        transport = httpx.HTTPTransport(
            verify=self.tls, local_address=self._address, limits=EACH_CLOSED
        )
        return httpx.Client(
            transport=transport, base_url=self.front.url, headers=self._headers, timeout=SECONDS
        )

    def ask(self, callback: str) -> httpx.Response:
        """Registers and asks for an approval; returns the answer to the browser."""
        registration = {"client_name": "Test", "redirect_uris": [callback]}
        self.client_id = self.http.post("/register", json=registration).json()["client_id"]
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": callback,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": self.state,
        }
        return self.http.get("/authorize", params=query)

    def decide(self, page: httpx.Response, password: str) -> httpx.Response:
        """Approves on the consent page."""
        found = re.search(r'name="ticket" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"ticket": html.unescape(found[1]), "password": password, "decision": "approve"}
        headers = {"origin": self.front.url, "referer": str(page.url)}
        return self.http.post("/authorize", data=form, headers=headers)

    def sign_in(self, password: str, callback: str = CALLBACK) -> Visitor:
        """Connects as the owner."""
        answer = self.decide(self.ask(callback), password)
        assert answer.status_code == 303, answer.text
        self.location = answer.headers["location"]
        came_back = parse_qs(urlsplit(self.location).query)
        assert came_back["state"] == [self.state]
        self.code = came_back["code"][0]
        form = {"code": self.code, "code_verifier": self.verifier, "redirect_uri": callback}
        self._take(self._token(grant_type="authorization_code", **form))
        return self

    def guess(self) -> httpx.Response:
        """Tries a wrong password in a browser that has never been here."""
        self.http = self.browser()
        return self.decide(self.ask(CALLBACK), "not the password at all")

    def refresh(self) -> None:
        self._take(self._token(grant_type="refresh_token", refresh_token=self.refresh_token))

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Calls a tool and returns its result."""
        with self.calling(tool, **arguments) as events:
            result: dict[str, Any] = list(events)[-1]["result"]
        return result

    @contextmanager
    def calling(self, tool: str, **arguments: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Calls a tool; gives each message of the answer when it arrives."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = ACCEPTED | {"authorization": f"Bearer {self.access_token}"}
        with self.http.stream("POST", "/mcp", json=message, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            yield _messages(answer)

    def _token(self, **form: str) -> httpx.Response:
        return self.http.post("/token", data={"client_id": self.client_id, **form})

    def _take(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.access_token = answer.json()["access_token"]
        self.refresh_token = answer.json()["refresh_token"]


def _messages(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    if answer.headers["content-type"] == "application/json":
        answer.read()
        yield answer.json()
        return
    for line in answer.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))
