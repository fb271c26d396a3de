"""One visit to one server: the requests, and what earlier checks have found."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any
from urllib.parse import quote, quote_plus

import httpx2

from personal_verify.answers import json_in, reaches_mcp, result_in, told
from personal_verify.apps import App, Approval, Tokens
from personal_verify.checks import LOG, Failed, Skipped
from personal_verify.discovery import Discovery
from personal_verify.known import HANDSHAKE, NAME
from personal_verify.line import Line
from personal_verify.refused import why_refused
from personal_verify.together import Given, Item, together
from personal_verify.unreachable import TIMEOUT_SECONDS

PATHS = {  # of a server of this template, whatever its metadata says
    "authorization": "/authorize",
    "token": "/token",
    "registration": "/register",
    "revocation": "/revoke",
}


@dataclass(frozen=True)
class Proof:
    """How the owner proves to be the owner: by the password, or in a browser of theirs.

    With neither, `why_not` says what to give.
    """

    password: str | None = None
    by_browser: bool = False
    why_not: str = ""


class Visit(Line):
    """A verification of one server."""

    def __init__(self, url: str, proof: Proof) -> None:
        super().__init__(url)
        self.proof = proof
        self.reached = True
        self.ours = True  # False once it turns out that the server is not of this template
        self.recognised = False  # True once an MCP server has answered
        self.found = Discovery()  # what a server of others leads its clients to
        self.server: dict[str, Any] = {}  # its metadata
        self.resource: dict[str, Any] = {}  # the MCP endpoint's metadata
        self.documents: list[tuple[str, httpx2.Response]] = []  # where each is, and how it comes
        self.newcomer: App | None = None  # a client that nobody approves
        self.app: App | None = None  # what the owner approves
        self.shown: tuple[App, httpx2.Response] | None = None  # the page that asks for it
        self.foreign: list[tuple[App, httpx2.Response]] = []  # answers to strangers' clients
        self.browser: httpx2.Client | None = None  # where the owner is signed in
        self.desk: httpx2.Client | None = None  # where the owner's page is open
        self.carried: dict[str, str] = {}  # what its forms bring back of the session
        self.approval: Approval | None = None
        self.token_response: httpx2.Response | None = None  # to its code
        self.connection: list[Tokens] = []  # what it led to, and what renewed that
        self.granted: list[Tokens] = []  # everything to revoke, the newest last
        self.restart = ""  # the command that restarts the server
        self.waiting_app: App | None = None  # registered before the restart, not approved
        self.left = False  # at the end something may be granted still
        self.lost = False  # the restart has ended the connection
        self.session = ""  # of a server that keeps sessions
        self.revision = HANDSHAKE  # what `initialize` has agreed on
        self.greeting: dict[str, Any] = {}  # what it answers to `initialize`
        self.discovered: dict[str, Any] = {}  # what it answers to `server/discover`
        self.tools: list[dict[str, Any]] = []
        self.results: list[tuple[dict[str, Any], dict[str, Any]]] = []  # a tool, its result
        self.secrets: set[str] = {proof.password} if proof.password else set()
        self._numbers = count(1)
        self.say: Callable[[str], None] = lambda line: None  # shows what is being done
        self.tell: Callable[[str], None] = lambda line: None  # prints a line for the person

    def hiding(self, text: str) -> str:
        """Returns a text without the secrets of this visit, which a server may have repeated."""
        for secret in sorted(filter(None, self.secrets), key=len, reverse=True):
            for spell in (str, quote, quote_plus, escape, lambda secret: quote(secret, safe="")):
                text = text.replace(spell(secret), "[secret]")
        return text

    @property
    def approved(self) -> Approval:
        """What the owner's approval sent to the client; owner.sign_in has passed."""
        assert self.approval is not None, "owner.sign_in has passed"
        return self.approval

    def each(self, items: Iterable[Item], ask: Callable[[Item], Given]) -> list[tuple[Item, Given]]:
        """Returns the answers about several things, asked at the same time; raises as `ask` does.

        A far server takes a tenth of a second for each answer, and there are many.
        """
        return together(items, ask)

    def endpoint(self, name: str) -> str:
        """Returns an endpoint's address: on servers not of this template as the metadata has it.

        Raises:
            Skipped: The metadata names none that a client would use.
        """
        if self.ours:
            return self.url + PATHS[name]
        given = self.found.endpoint(name)
        if not given:
            raise Skipped(f"no {name} endpoint is named")
        return given

    def get(self, path: str) -> httpx2.Response:
        return self.send("GET", path)

    def form(self, path: str, **values: str) -> httpx2.Response:
        return self.send("POST", path, data=values)

    def register(self, callback: str) -> httpx2.Response:
        """Registers a client (RFC 7591), without a secret but where others demand one."""
        methods = self.found.server.get("token_endpoint_auth_methods_supported")
        secret = isinstance(methods, list) and "none" not in methods
        metadata = {
            "client_name": NAME,
            "redirect_uris": [callback],
            "token_endpoint_auth_method": "client_secret_post" if secret else "none",
        }
        return self.send("POST", self.endpoint("registration"), json=metadata)

    def granting(self, app: App, **form: str) -> httpx2.Response:
        """Asks the token endpoint; what it grants is remembered before Ctrl+C is heard."""
        secrets = ("code", "code_verifier", "refresh_token")
        self.secrets |= {form[name] for name in secrets if name in form} | {app.secret}
        with uninterrupted():
            response = self.form(self.endpoint("token"), **app.credentials, **form)
            given = json_in(response) if response.status_code == 200 else None
            if isinstance(given, dict) and isinstance(given.get("access_token"), str):
                tokens = Tokens.read(app, given, time.monotonic())
                self.granted.append(tokens)
                self.secrets |= {tokens.access, tokens.refresh}
        return response

    def redeem(self, app: App, code: str, verifier: str = "", **more: str) -> httpx2.Response:
        return self.granting(
            app,
            grant_type="authorization_code",
            code=code,
            redirect_uri=app.callback,
            code_verifier=verifier or app.verifier,
            **more,
        )

    def refresh(self, tokens: Tokens, app: App | None = None, **more: str) -> httpx2.Response:
        """Renews a connection, or tries to as another client."""
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh, **more}
        return self.granting(app or tokens.app, **form)

    def revoke(self, app: App, token: str) -> httpx2.Response:
        return self.form(self.endpoint("revocation"), token=token, **app.credentials)

    def message(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns a request with an id of its own: a session may never see one twice."""
        return {"id": next(self._numbers), "method": method, "params": params}

    def post_mcp(
        self,
        token: str,
        message: dict[str, Any],
        timeout: float = TIMEOUT_SECONDS,
        **headers: str,
    ) -> httpx2.Response:
        """Sends one JSON-RPC message to the MCP endpoint; a header without a value is left out."""
        whole = {
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {token}",
            "mcp-session-id": "" if "mcp_method" in headers else self.session,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.send(
            "POST",
            "/mcp",
            json={"jsonrpc": "2.0", **message},
            headers={name: value for name, value in whole.items() if value},
            timeout=timeout,
        )

    def ask(self, method: str, params: dict[str, Any], **options: Any) -> httpx2.Response:
        """Returns the answer to an MCP method.

        Raises:
            Failed: The token is refused.
        """
        message = self.message(method, **params)
        options.setdefault("mcp_protocol_version", self.revision)
        response = self.post_mcp(self.granted[-1].access, message, **options)
        if response.status_code == 401:
            raise Failed(*why_refused(response))
        if response.is_success:
            given = response.headers.get("mcp-session-id", "")
            self.session = given if given.isascii() and given else self.session
        return response

    def call(self, method: str, params: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Returns the result of an MCP method.

        Raises:
            Failed: There is an error, or no answer that a client understands.
        """
        response = self.ask(method, params, **options)
        result = result_in(response)
        if result is None:
            raise Failed(f"{method} is answered with {told(response)}.", LOG)
        return result

    def end_session(self, access: str) -> None:
        """Ends the session of a server that keeps sessions."""
        headers = {"Authorization": f"Bearer {access}", "mcp-session-id": self.session}
        if self.session:
            with suppress(Failed):
                self.begin("DELETE", "/mcp", headers=headers)
            self.session = ""

    def opens(self, access: str) -> bool:
        """Tells whether an access token is let in."""
        return reaches_mcp(self._try(access))

    def is_shut(self, access: str) -> bool:
        """Tells whether the server refuses an access token; not when something else answers."""
        return self._try(access).status_code == 401

    def _try(self, access: str) -> httpx2.Response:
        return self.post_mcp(access, self.message("ping"), mcp_protocol_version=self.revision)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Lets Ctrl+C wait until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
