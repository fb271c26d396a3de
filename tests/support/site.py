"""A real HTTP server around `PersonalAuthProvider`, and the people who come to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
from fastmcp import FastMCP

from personal_auth import PersonalAuthProvider
from tests.support.serving import Serving

T = TypeVar("T")

URL = "https://mcp.example.com"
PASSWORD = "a password of some length"
# Of PASSWORD, with argon2id's least parameters, where what it costs is not the question.
QUICK_HASH = (
    "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$kiee8WdTSOQdkRIwmoyWvgm7yyOfHnOD1jjOlbWxh/g"
)
CALLBACK = "https://claude.ai/api/mcp/auth_callback"


class Clock:
    """A clock that stands still until it is told otherwise; in seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Site:
    """One server on a free loopback port that believes to be `https://mcp.example.com`."""

    def __init__(self, state_dir: Path, clock: Clock, **options: Any) -> None:
        self.state_dir, self.clock = state_dir, clock
        self._options: dict[str, Any] = {
            "base_url": URL,
            "password": QUICK_HASH,
            "state_dir": state_dir,
            "clock": clock,
            **options,
        }
        self.start()

    def start(self) -> None:
        provider = self._options.pop("provider_class", PersonalAuthProvider)
        self._options["provider_class"] = provider
        arguments = {k: v for k, v in self._options.items() if k != "provider_class"}
        self.provider = provider(**arguments)
        server = FastMCP("test", auth=self.provider)
        server.tool(lambda: "pong", name="ping", description="Answers pong.")
        app = server.http_app(stateless_http=True, json_response=True)
        self._serving = Serving(app, port=0, lifespan="on", proxy_headers=False)
        self.app, self.loop, self.port = app, self._serving.loop, self._serving.port

    def stop(self) -> None:
        self._serving.end()

    def restart(self, **options: Any) -> None:
        self.stop()
        self._options.update(options)
        self.start()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Waits for a call on the server's own event loop."""
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(20)

    def visitor(self, **headers: str) -> Visitor:
        """Returns somebody with an empty cookie jar."""
        return Visitor(self, headers)


class Host(Protocol):
    """A server that lets somebody in."""

    def visitor(self, **headers: str) -> Visitor: ...


class Place(Host, Protocol):
    """One that is reached at a port on this machine."""

    @property
    def port(self) -> int: ...


@dataclass
class Visitor:
    """A browser or a program: requests by the public name, cookies kept by hand."""

    site: Place
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"host": urlsplit(URL).netloc, **self.headers, **options.pop("headers", {})}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        response = self.send(method, path, headers, **options)
        for line in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response

    def send(
        self, method: str, path: str, headers: dict[str, str], **options: Any
    ) -> httpx.Response:
        """Goes over a connection of its own."""
        with httpx.Client(trust_env=False, timeout=20, verify=False) as client:
            url = f"http://127.0.0.1:{self.site.port}{path}"
            return client.request(method, url, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def submit(self, **form: str) -> httpx.Response:
        """Sends the consent page's form as a browser does."""
        return self.post("/authorize", data=form, headers={"origin": URL})

    def call(self, token: str | None, **headers: str) -> httpx.Response:
        """Calls the tool as an MCP client does."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        headers = {"accept": "application/json, text/event-stream", **headers}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        return self.post("/mcp", json={**call, "params": {"name": "ping"}}, headers=headers)


@dataclass
class App:
    """An MCP client: a registration and a PKCE pair."""

    site: Host
    registration: dict[str, Any]
    redirect_uri: str = CALLBACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @classmethod
    def register(cls, site: Host, *redirect_uris: str, **metadata: Any) -> App:
        uris = list(redirect_uris) or [CALLBACK]
        body = {"client_name": "Test app", "redirect_uris": uris, **metadata}
        answer = site.visitor().post("/register", json=body)
        assert answer.status_code == 201, answer.text
        return cls(site, answer.json(), uris[0])

    @property
    def id(self) -> str:
        return str(self.registration["client_id"])

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def query(self, **changes: str | None) -> dict[str, str]:
        query = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "state": "some state",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "scope": "tools",
            "resource": f"{URL}/mcp",
            **changes,
        }
        return {key: value for key, value in query.items() if value is not None}

    def token(self, **form: str | None) -> httpx.Response:
        """Asks the token endpoint; a None leaves a parameter out."""
        secret = self.registration.get("client_secret")
        form = {"client_id": self.id, "client_secret": secret, **form}
        data = {key: value for key, value in form.items() if value is not None}
        return self.site.visitor().post("/token", data=data)

    def redeem(self, code: str, **changes: str | None) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
            **changes,
        }
        return self.token(**form)

    def refresh(self, refresh_token: str, **changes: str | None) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **changes}
        return self.token(**form)


def ticket(page: httpx.Response) -> str:
    """Returns the sealed value in a consent page."""
    assert page.status_code in {200, 403, 429}, page.text
    found = re.search(r'name="ticket" value="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def approve(app: App, owner: Visitor | None = None, **changes: str | None) -> str:
    """Lets the owner approve an app; returns the code."""
    owner = owner or app.site.visitor()
    page = owner.get("/authorize", params=app.query(**changes))
    answer = owner.submit(ticket=ticket(page), password=PASSWORD, decision="approve")
    assert answer.status_code == 303, answer.text
    return answer_of(answer)["code"]


def connect(site: Host, **metadata: Any) -> tuple[App, dict[str, Any]]:
    """Takes an app all the way; returns it and its token answer."""
    app = App.register(site, **metadata)
    answer = app.redeem(approve(app))
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return app, tokens


def answer_of(redirect: httpx.Response) -> dict[str, str]:
    """Returns the parameters that a redirect carries to the client."""
    query = parse_qs(urlsplit(redirect.headers["location"]).query, strict_parsing=True)
    return {key: value[0] for key, value in query.items()}
