"""Proves from outside that this server works and that strangers stay out.

    uv run verify.py [URL] [--password-file FILE] [--json] [--only ID,...] [--list]

It comes as a stranger first, then, with the owner's password, as the owner and as a client that the
owner approves. What it is granted it revokes. The password is read from the file, from MCP_PASSWORD
or from the terminal; without it the owner's checks are skipped. The URL is the argument,
MCP_PUBLIC_URL, or what .env or .env.example beside this file say.

Exit code: 0 nothing failed, 1 something failed, 2 it could not run, 130 it was interrupted.

To find a check, search for its id. A check returns what it saw, or raises Failed with the cause and
the cure, or Skipped with the reason. It judges one thing only.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from getpass import getpass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urljoin, urlsplit

try:
    import tomllib

    import httpx2
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError:
    print(
        "verify.py needs the packages of its project: start it with `uv run verify.py`.",
        file=sys.stderr,
    )
    sys.exit(2)

FOLDER = Path(__file__).resolve().parent
NAME = "verify.py"  # what the owner's list of connections shows while it runs
TIMEOUT_SECONDS = 10.0
REPLAY_GRACE_SECONDS = 8.0  # a code presented again later than 10 s revokes its connection

HANDSHAKE = "2025-11-25"  # the newest revision that begins with `initialize`
STATELESS = "2026-07-28"  # asks `server/discover` and describes itself in every request

LOOPBACK = "http://127.0.0.1:8912/callback"  # nobody has to listen there: no redirect is followed
CLAUDE = "https://claude.ai/api/mcp/auth_callback"
FOREIGN = "https://stranger.example/callback"
CALLBACKS = (
    LOOPBACK,
    CLAUDE,
    "https://chatgpt.com/connector_platform_oauth_redirect",
    "https://vscode.dev/redirect",
    "https://www.cursor.com/agents/mcp/oauth/callback",
)

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/142.0.0.0 Safari/537.36"
)
CLIENT = "python-httpx/0.28.1"  # what Claude's servers call themselves while they sign in
AGENTS = {
    "Claude-User": "Claude",
    "openai-mcp/1.0.0": "ChatGPT",
    "node": "mcp-remote and VS Code",
    CLIENT: "the sign-in of Claude",
}

# What assistants take for features of their own.
BUILT_IN_WORDS = (
    "artifact artifacts browser calendar canvas chat code computer conversation conversations drive"
    " file files image images memories memory project projects recall research search skill skills"
    " task tasks tool tools web"
)
BUILT_IN = frozenset(BUILT_IN_WORDS.split())

LOG = "Look at the server's log; if nothing is there, at the log of the proxy or tunnel."
UPGRADE = "Run `uv sync --upgrade`, then restart the server."
RENEW = "Undo changes below src/personal_auth or run `uvx copier update --defaults`, then restart."

# ---- Checks and what they come to ----------------------------------------------------------------


class Failed(Exception):
    """What was checked is broken: the cause in one sentence, the cure in another."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause, self.cure = plain(cause), plain(cure)


class Unreachable(Failed):
    """There is no connection to the server: no later check can tell anything."""


class Skipped(Exception):
    """The check cannot be made; the message is the reason."""


class CannotRun(Exception):
    """Nothing can be checked; the message is one sentence."""


@dataclass(frozen=True)
class Check:
    """One thing that is checked, after the checks that it needs."""

    id: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[Visit], str]

    @property
    def area(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Result:
    """What a check came to; `detail` is what was seen, the cause or the reason."""

    check: Check
    status: str
    detail: str
    cure: str = ""


CHECKS: dict[str, Check] = {}  # in the order in which they run
AREAS = {
    "reach": "Reaching it",
    "metadata": "What clients discover",
    "register": "Registration",
    "gate": "The gate",
    "stranger": "As a stranger",
    "owner": "As the owner",
    "protocol": "As a client",
    "tools": "Tools",
    "grant": "Keeping and ending a connection",
}

Body = Callable[["Visit"], str]


def check(check_id: str, title: str, *needs: str) -> Callable[[Body], Body]:
    """Registers a function as a check that runs only when what it needs has passed."""

    def register(run: Body) -> Body:
        CHECKS[check_id] = Check(check_id, title, needs, run)
        return run

    return register


def pass_on(what: str) -> str:
    return f"Let the proxy or tunnel pass {what} on unchanged."


def expect(holds: object, cause: str, cure: str) -> None:
    """Raises Failed unless something holds."""
    if not holds:
        raise Failed(cause, cure)


# ---- One visit: the requests, and what earlier checks have found ---------------------------------


@dataclass
class App:
    """A client that registered itself."""

    id: str
    callback: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """The S256 challenge (RFC 7636 §4.2)."""
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()

    def question(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        whole = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.callback,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "state": "verify",
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}


@dataclass(frozen=True)
class Tokens:
    """What a token answer carries."""

    app: App
    access: str
    refresh: str
    at: float


class Visit:
    """A verification of one server."""

    def __init__(self, url: str, password: str | None = None, why_no_password: str = "") -> None:
        self.url = url
        self.password = password
        self.why_no_password = why_no_password
        self.reached = True
        self.server: dict[str, Any] = {}  # its metadata
        self.resource: dict[str, Any] = {}  # the MCP endpoint's metadata
        self.app: App | None = None  # what the owner approves
        self.browser: httpx2.Client | None = None  # where the owner is signed in
        self.code = ""
        self.granted: list[Tokens] = []  # everything to revoke, the newest last
        self.session = ""  # of a server that keeps sessions
        self.instructions = ""
        self.tools: list[dict[str, Any]] = []
        self._closing = ExitStack()
        # Set apart from trust_env, which also decides about proxies: SSL_CERT_FILE always counts.
        self._tls = httpx2.create_ssl_context() if url.startswith("https:") else False
        self._client = self.new_client(CLIENT)

    def new_client(self, agent: str) -> httpx2.Client:
        """Returns somebody who comes with an empty cookie jar."""
        client = httpx2.Client(
            base_url=self.url,
            headers={"User-Agent": agent},
            timeout=TIMEOUT_SECONDS,
            verify=self._tls,
            trust_env=not is_loopback(self.url),  # no proxy leads to this computer
        )
        return self._closing.enter_context(client)

    def close(self) -> None:
        self._closing.close()

    def send(
        self, method: str, path: str, client: httpx2.Client | None = None, **options: Any
    ) -> httpx2.Response:
        """Returns the answer to one request, redirects not followed.

        Raises:
            Unreachable: There is no connection.
            Failed: The connection broke, or there was no answer in time.
        """
        with self._explained(f"{method} {path}"):
            return (client or self._client).request(method, path, **options)

    def begin(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Returns the beginning of an answer, which may have no end; raises as `send` does."""
        with (
            self._explained(f"{method} {path}"),
            self._client.stream(method, path, **options) as response,
        ):
            return response

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unreachable(*why_unreachable(error, self.url)) from error
        except httpx2.HTTPError as error:
            cause = f"{what} got no proper answer ({type(error).__name__})."
            raise Failed(cause, "Look at the log of the server and of the tunnel.") from error

    def get(self, path: str) -> httpx2.Response:
        return self.send("GET", path)

    def form(self, path: str, **values: str) -> httpx2.Response:
        return self.send("POST", path, data=values)

    def register(self, callback: str) -> httpx2.Response:
        """Registers a client (RFC 7591)."""
        metadata = {"client_name": NAME, "redirect_uris": [callback]}
        return self.send("POST", "/register", json=metadata)

    def granting(self, app: App, **form: str) -> httpx2.Response:
        """Asks the token endpoint; what it grants is remembered before Ctrl+C is heard."""
        with uninterrupted():
            response = self.form("/token", client_id=app.id, **form)
            given = json_in(response) if response.status_code == 200 else None
            if isinstance(given, dict) and isinstance(given.get("access_token"), str):
                refresh = given.get("refresh_token")
                tokens = Tokens(app, given["access_token"], str(refresh or ""), time.monotonic())
                self.granted.append(tokens)
        return response

    def redeem(self, app: App, code: str, verifier: str = "") -> httpx2.Response:
        return self.granting(
            app,
            grant_type="authorization_code",
            code=code,
            redirect_uri=app.callback,
            code_verifier=verifier or app.verifier,
        )

    def refresh(self, tokens: Tokens) -> httpx2.Response:
        return self.granting(tokens.app, grant_type="refresh_token", refresh_token=tokens.refresh)

    def post_mcp(self, token: str, message: dict[str, Any], **headers: str) -> httpx2.Response:
        """Sends one JSON-RPC message to the MCP endpoint."""
        headers = {
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.session and "mcp-method" not in headers:
            headers["mcp-session-id"] = self.session
        return self.send("POST", "/mcp", json={"jsonrpc": "2.0", **message}, headers=headers)

    def call(self, method: str, params: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Returns the result of an MCP method.

        Raises:
            Failed: There is an error, or no answer that a client understands.
        """
        message_id = secrets.token_hex(4)
        message = {"id": message_id, "method": method, "params": params}
        headers.setdefault("mcp_protocol_version", HANDSHAKE)
        response = self.post_mcp(self.granted[-1].access, message, **headers)
        answer = message_in(response, message_id)
        self.session = response.headers.get("mcp-session-id", self.session)
        if answer is not None and isinstance(answer.get("result"), dict):
            result: dict[str, Any] = answer["result"]
            return result
        error = (answer or {}).get("error")
        told = error.get("message") if isinstance(error, dict) else shape(response)
        raise Failed(f"{method} is answered with {str(told).rstrip('.')}.", LOG)

    def opens(self, access: str) -> bool:
        """Tells whether an access token is let in."""
        ping = {"id": 1, "method": "ping", "params": {}}
        return self.post_mcp(access, ping, mcp_protocol_version=HANDSHAKE).status_code != 401


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


def why_unreachable(error: BaseException, url: str) -> tuple[str, str]:
    """Returns cause and cure of a connection that could not be made."""
    parts = urlsplit(url)
    host = parts.hostname or url
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {host} is not trusted: {link.verify_message}.",
                "Let the tunnel or proxy serve a certificate for this name; one of your own"
                " authority is trusted with SSL_CERT_FILE.",
            )
        if isinstance(link, ssl.SSLError):
            return (
                f"{host} does not speak TLS as expected ({link.reason or 'no reason given'}).",
                "Use http:// for a server on this computer; elsewhere correct the TLS settings.",
            )
        if isinstance(link, socket.gaierror):
            return (
                f"The name {host} is not known.",
                "Correct the URL, or create the DNS record: for Cloudflare `cloudflared tunnel"
                f" route dns TUNNEL {host}`.",
            )
        if isinstance(link, ConnectionRefusedError):
            return f"Nothing listens at {parts.netloc}.", how_to_start(url)
    if isinstance(error, httpx2.TimeoutException):
        return f"{parts.netloc} did not answer within {TIMEOUT_SECONDS:.0f} s.", how_to_start(url)
    return f"There is no connection to {parts.netloc}: {chain[-1]}.", how_to_start(url)


def how_to_start(url: str) -> str:
    if is_loopback(url):
        return f"Start the server with `uv run {command()}`, or correct the URL."
    return f"Start the server (`uv run {command()}`) and its tunnel, or correct the URL."


def command() -> str:
    """Returns the name of the server's command, as pyproject.toml beside this file has it."""
    with suppress(OSError, ValueError, AttributeError, StopIteration):
        project = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]
        return str(next(iter(project.get("scripts", {}))))
    return "my-server"


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"localhost", "127.0.0.1", "::1"}


# ---- Reading answers -----------------------------------------------------------------------------


def json_in(response: httpx2.Response) -> Any:
    """Returns the JSON of an answer, None when there is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def is_html(response: httpx2.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return "html" in kind or response.text.lstrip()[:1] == "<"


def shape(response: httpx2.Response) -> str:
    """Describes an answer in a few words."""
    told = f"status {response.status_code}"
    if 300 <= response.status_code < 400:
        return f"{told}, a redirect to {response.headers.get('location', 'nowhere')}"
    if is_html(response):
        title = re.search(r"<title[^>]*>([^<]*)", response.text, re.IGNORECASE)
        return f"{told}, an HTML page{f' titled {title[1].strip()!r}' if title else ''}"
    value = json_in(response)
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return f"{told}, {value['error']}"
    return told


def plain(text: str) -> str:
    """Returns a text as one line that a terminal can show: answers may hold anything."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 400 else line[:399] + "…"


def message_in(response: httpx2.Response, message_id: str) -> dict[str, Any] | None:
    """Returns the JSON-RPC answer to a message, from a JSON body or an event stream."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        events = re.split(r"\r?\n\r?\n", response.text)
        values = [parsed(event_data(event)) for event in events]
    else:
        values = [json_in(response)]
    answers = [v for v in values if isinstance(v, dict) and ("result" in v or "error" in v)]
    return next((a for a in answers if a.get("id") in {message_id, None}), None)


def event_data(event: str) -> str:
    lines = (line.partition(":") for line in event.splitlines())
    return "\n".join(value.removeprefix(" ") for name, _, value in lines if name == "data")


def parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def sent_back(response: httpx2.Response) -> dict[str, str]:
    """Returns the parameters that a redirect carries, none for any other answer."""
    if not 300 <= response.status_code < 400:
        return {}
    where = urlsplit(response.headers.get("location", ""))
    return {name: values[0] for name, values in parse_qs(f"{where.query}&{where.fragment}").items()}


def null_members(value: Any, path: str = "") -> list[str]:
    """Returns where a document has null members, which clients' schemas refuse."""
    if not isinstance(value, dict):
        return [path] if value is None else []
    return [name for key, member in value.items() for name in null_members(member, key)]


class Page(HTMLParser):
    """The forms of an HTML page."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []  # the attributes of each
        self.hidden: dict[str, str] = {}
        self.passwords: list[str] = []
        self.decisions: list[str] = []
        self.feed(response.text if is_html(response) else "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        name, value, kind = has.get("name", ""), has.get("value", ""), has.get("type", "").lower()
        if tag == "form":
            self.forms.append(has)
        elif tag == "input" and kind == "hidden":
            self.hidden[name] = value
        elif tag == "input" and kind == "password":
            self.passwords.append(name)
        elif tag in {"button", "input"} and kind in {"submit", ""} and name == "decision":
            self.decisions.append(value)

    @property
    def asks(self) -> bool:
        """True for a page on which somebody can approve."""
        return bool(self.forms) and "approve" in self.decisions


# ---- Reaching it ---------------------------------------------------------------------------------

SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"


@check("reach.health", "The server answers")
def _(visit: Visit) -> str:
    began = time.perf_counter()
    response = visit.get("/healthz")
    took = (time.perf_counter() - began) * 1000
    expect(
        response.status_code == 200 and response.text.strip() == "ok",
        f"GET /healthz is answered with {shape(response)}.",
        f"Start the server with `uv run {command()}`, and point the tunnel or proxy at its port.",
    )
    return f"/healthz says ok after {took:.0f} ms"


@check("reach.json", "No other page stands before it")
def _(visit: Visit) -> str:
    for path in (SERVER_METADATA, f"{RESOURCE_METADATA}/mcp", "/.well-known/nothing-here"):
        response = visit.get(path)
        expect(
            not response.is_redirect,
            f"{path} is redirected to {response.headers.get('location')}.",
            "Set MCP_PUBLIC_URL to the address that it leads to, or switch the redirect off.",
        )
        expect(
            not is_html(response),
            f"{path} gives {shape(response)}, where clients need JSON.",
            "Switch off the challenge, login or warning page for this host (Cloudflare: Security >"
            " WAF, and Zero Trust > Access; ngrok: use a domain of your own).",
        )
        expect(
            response.status_code != 404 or json_in(response) is not None,
            f"{path} gives {shape(response)} without JSON, which clients try to read.",
            pass_on("the server's own errors"),
        )
    return "no redirect and no HTML"


# ---- What clients discover -----------------------------------------------------------------------

ENDPOINTS = {
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "registration_endpoint": "/register",
    "revocation_endpoint": "/revoke",
}
LISTED = {
    "response_types_supported": ("code",),
    "grant_types_supported": ("authorization_code", "refresh_token"),
    "code_challenge_methods_supported": ("S256",),
    "token_endpoint_auth_methods_supported": ("none", "client_secret_post", "client_secret_basic"),
    "scopes_supported": ("offline_access",),
}


@check("metadata.server", "The sign-in can be discovered", "reach.json")
def _(visit: Visit) -> str:
    document = fetched(visit, SERVER_METADATA)
    for name in ("issuer", *ENDPOINTS):
        expect(isinstance(document.get(name), str), f"{name} is missing.", RENEW)
    for name, members in LISTED.items():
        given = document.get(name)
        lacks = [m for m in members if not isinstance(given, list) or m not in given]
        expect(not lacks, f"{name} lacks {', '.join(lacks)}.", RENEW)
    flag, optional = (
        "authorization_response_iss_parameter_supported",
        "client_id_metadata_document_supported",  # without it clients register
    )
    expect(document.get(flag) is True, f"{flag} is not true.", RENEW)
    expect(document.get(optional, True) is True, f"{optional} is neither true nor absent.", RENEW)
    visit.server = document
    return f"registration_endpoint and {len(document) - 1} more"


@check("metadata.resource", "The MCP endpoint can be discovered", "reach.json")
def _(visit: Visit) -> str:
    document = fetched(visit, f"{RESOURCE_METADATA}/mcp")
    servers = document.get("authorization_servers")
    one = isinstance(servers, list) and len(servers) == 1
    expect(isinstance(document.get("resource"), str), "resource is missing.", RENEW)
    expect(one, "authorization_servers must name exactly one server.", RENEW)
    scopes, methods = (document.get(f"{n}_supported", []) for n in ("scopes", "bearer_methods"))
    expect("offline_access" not in scopes, "scopes_supported names offline_access.", RENEW)
    expect("header" in methods, "bearer_methods_supported lacks header.", RENEW)
    visit.resource = document
    return "one resource, one authorization server"


@check("metadata.equal", "It says the same everywhere", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    servers = [f"{SERVER_METADATA}/mcp", OPENID, f"{OPENID}/mcp"]
    for document, places in ((visit.server, servers), (visit.resource, [RESOURCE_METADATA])):
        for path in places:
            response = visit.get(path)
            expect(
                response.status_code == 200 and json_in(response) == document,
                f"{path} gives another document ({shape(response)}).",
                "Let the proxy or tunnel lead all of /.well-known/ to the server, and cache none.",
            )
    return "6 addresses, 2 documents"


@check("metadata.issuer", "It knows its public address", "metadata.server", "metadata.resource")
def _(visit: Visit) -> str:
    url, issuer = visit.url, visit.server["issuer"]
    cure = f"Set MCP_PUBLIC_URL={url} in .env and restart, or verify the address that it names."
    expect(
        issuer != f"{url}/",
        f"The issuer {issuer} ends with a slash, and clients compare it byte for byte.",
        f"Set MCP_PUBLIC_URL={url} without a slash in .env, then restart the server.",
    )
    expect(issuer == url, f"The server calls itself {issuer}, but was reached at {url}.", cure)
    for name, path in ENDPOINTS.items():
        given = visit.server[name]
        expect(given == url + path, f"{name} is {given}, not {url}{path}.", cure)
    resource, servers = visit.resource["resource"], visit.resource["authorization_servers"]
    expect(resource == f"{url}/mcp", f"The resource is {resource}, not {url}/mcp.", cure)
    expect(servers == [url], f"authorization_servers is {servers}, not {url}.", cure)
    return f"issuer {issuer}"


def fetched(visit: Visit, path: str) -> dict[str, Any]:
    """Returns a metadata document.

    Raises:
        Failed: It is not there, or is no JSON object without null members.
    """
    response = visit.get(path)
    document = json_in(response)
    expect(
        response.status_code == 200 and isinstance(document, dict),
        f"{path} gives {shape(response)}.",
        "Let the proxy or tunnel lead /.well-known/ to the server too.",
    )
    nulls = null_members(document)
    expect(not nulls, f"{path} has null members: {', '.join(nulls)}.", RENEW)
    whole: dict[str, Any] = document
    return whole


# ---- Registration and the gate -------------------------------------------------------------------


@check("register.dcr", "Clients can register themselves")
def _(visit: Visit) -> str:
    response = visit.register(CLAUDE)
    answer = json_in(response)
    expect(
        response.status_code == 201 and isinstance(answer, dict),
        f"POST /register is answered with {shape(response)}, not with 201.",
        "Let the proxy or tunnel pass POST requests to /register, without a limit on them.",
    )
    client_id, nulls = answer.get("client_id"), null_members(answer)
    expect(isinstance(client_id, str) and client_id, "The answer has no client_id.", RENEW)
    expect(answer.get("redirect_uris") == [CLAUDE], "The answer lacks the redirect_uris.", RENEW)
    expect(not nulls, f"The answer has null members: {', '.join(nulls)}.", RENEW)
    return f"201, a client_id of {len(client_id)} characters"


@check("gate.challenge", "Without a token it asks for one")
def _(visit: Visit) -> str:
    issuer = str(visit.server.get("issuer", visit.url)).rstrip("/")
    expected = f'resource_metadata="{issuer}{RESOURCE_METADATA}/mcp"'
    for asked in [f"{m} {p}" for p in ("/mcp", "/mcp/") for m in ("POST", "GET", "HEAD", "DELETE")]:
        response = visit.begin(*asked.split())
        challenge = response.headers.get("www-authenticate", "")
        expect(
            not response.is_redirect,
            f"{asked} is redirected to {response.headers.get('location')}.",
            "Let the proxy or tunnel neither add nor remove a slash.",
        )
        expect(
            response.status_code == 401,
            f"{asked} without a token is answered with status {response.status_code}, not 401.",
            f"{pass_on(asked)[:-1]}; if the answer is the server's own, its authorization is off.",
        )
        expect(
            challenge.startswith("Bearer ") and expected in challenge,
            f"WWW-Authenticate of {asked} is {challenge!r}, without {expected}.",
            pass_on("the header WWW-Authenticate"),
        )
    return "401 with resource_metadata, 8 times"


@check("gate.agents", "No client is blocked by its name", "gate.challenge")
def _(visit: Visit) -> str:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    for agent, who in AGENTS.items():
        response = visit.send("POST", "/mcp", json=message, headers={"User-Agent": agent})
        expect(
            response.status_code == 401,
            f"{who} comes as {agent!r} and is answered with {shape(response)}.",
            "Cloudflare: under Security > Bots turn off Bot Fight Mode and Block AI bots, or skip"
            " them for this host by a WAF custom rule; elsewhere allow this User-Agent.",
        )
    return f"{len(AGENTS)} names, Claude-User among them"


@check(
    "gate.cors",
    "Clients in a browser can use it",
    *("metadata.server", "register.dcr", "gate.challenge"),
)
def _(visit: Visit) -> str:
    page = "http://localhost:6274"  # the MCP Inspector
    asking = {"Origin": page, "Access-Control-Request-Method": "POST"}
    answers = {
        "GET metadata": visit.send("GET", SERVER_METADATA, headers={"Origin": page}),
        "POST /mcp": visit.send("POST", "/mcp", headers={"Origin": page}),
    }
    for path in ("/register", "/token", "/mcp"):
        answers[f"OPTIONS {path}"] = visit.send("OPTIONS", path, headers=asking)
    for what, response in answers.items():
        expect(
            response.headers.get("access-control-allow-origin") in {"*", page},
            f"{what} from {page} is answered without Access-Control-Allow-Origin.",
            pass_on("OPTIONS requests and the Access-Control headers"),
        )
    exposed = answers["POST /mcp"].headers.get("access-control-expose-headers", "").lower()
    expect(
        "www-authenticate" in exposed,
        "Access-Control-Expose-Headers lacks WWW-Authenticate.",
        pass_on("the Access-Control headers"),
    )
    return f"{len(answers)} requests from {page[7:]}"


# ---- As a stranger -------------------------------------------------------------------------------

LETS_IN = (
    "Take the server off the network, for anybody gets in, until `uvx copier update --defaults`"
    " has renewed src/personal_auth."
)


@check("stranger.token", "A stranger gets no token", "register.dcr")
def _(visit: Visit) -> str:
    for callback in (LOOPBACK, CLAUDE, FOREIGN):
        app, browser = App(registered(visit, callback), callback), visit.new_client(BROWSER)
        asked = visit.send("GET", "/authorize", browser, params=app.question())
        refuse_code(asked, f"GET /authorize for {callback}")
        decision = {"decision": "approve"}
        bare = visit.send("POST", "/authorize", browser, params=app.question(), data=decision)
        refuse_code(bare, f"POST /authorize for {callback}")
        page = Page(asked)
        if page.asks:
            approved = submit(visit, browser, page, decision="approve")
            refuse_code(approved, f"Approve for {callback}, without a password,")
        made_up = visit.redeem(app, secrets.token_urlsafe(32))
        expect(
            made_up.is_client_error,
            f"POST /token with a made-up code is answered with {shape(made_up)}.",
            LETS_IN,
        )
    return "3 attempts, no code and no token"


@check("stranger.page", "It asks for the owner's approval", "stranger.token")
def _(visit: Visit) -> str:
    app, response = allowed_app(visit)
    page, headers = Page(response), response.headers
    policy, caching = headers.get("content-security-policy", ""), headers.get("cache-control", "")
    framing = "frame-ancestors 'none'" in policy or headers.get("x-frame-options") == "DENY"
    post = [form.get("method", "").lower() for form in page.forms] == ["post"]
    buttons = sorted(page.decisions)
    expect(post, "The page must hold one form, with method post.", RENEW)
    expect(page.passwords == ["password"], "The page does not ask for the password once.", RENEW)
    expect(buttons == ["approve", "deny"], f"The page's decisions are {buttons}.", RENEW)
    expect(
        "form-action" not in policy,
        "Content-Security-Policy has form-action, so that Approve does nothing in browsers.",
        "Remove the Content-Security-Policy that the proxy or tunnel adds.",
    )
    expect(
        framing,
        "Another site may show the page in a frame and catch the click on Approve.",
        pass_on("the headers Content-Security-Policy and X-Frame-Options"),
    )
    expect("no-store" in caching, "Caches may keep the page.", pass_on("Cache-Control"))
    visit.app = app
    return f"password, approve, deny; to {urlsplit(app.callback).hostname}"


@check("stranger.redirect", "Nobody is sent to a foreign site", "stranger.page")
def _(visit: Visit) -> str:
    apps = [App(approved_app(visit).id, FOREIGN)]  # which never registered it
    for host in ("stranger.example", "claude.ai.stranger.example", "claude.ai@stranger.example"):
        callback = f"https://{host}/callback"
        apps.append(App(registered(visit, callback), callback))
    for app in apps:
        for question in (app.question(), app.question(response_type="token")):
            response = visit.send("GET", "/authorize", params=question)
            expect(
                not response.is_redirect,
                f"/authorize sends browsers on to {response.headers.get('location')}.",
                RENEW,
            )
            expect(
                response.is_client_error,
                f"/authorize may send a code to {app.callback} ({shape(response)}).",
                "Name only your clients' domains in MCP_ALLOWED_REDIRECT_DOMAINS, then restart.",
            )
    return f"{len(apps)} addresses, each refused by a page"


@check("stranger.pkce", "There is no sign-in without PKCE", "stranger.page")
def _(visit: Visit) -> str:
    app = approved_app(visit)
    weak = {
        "no challenge": app.question(code_challenge=None, code_challenge_method=None),
        "the method plain": app.question(code_challenge_method="plain"),
        "a challenge of one character": app.question(code_challenge="x"),
    }
    for what, question in weak.items():
        response = visit.send("GET", "/authorize", params=question)
        accepted = Page(response).asks or "code" in sent_back(response)
        expect(not accepted, f"/authorize accepts a request with {what}.", RENEW)
    return "refused: none, plain, too short"


@check("stranger.bearer", "A made-up token opens nothing")
def _(visit: Visit) -> str:
    for token in (secrets.token_urlsafe(32), "null"):
        response = visit.post_mcp(token, {"id": 1, "method": "tools/list", "params": {}})
        expect(
            response.status_code == 401,
            f"POST /mcp with a made-up token is answered with {shape(response)}, not 401.",
            LETS_IN if response.is_success else pass_on("the header Authorization"),
        )
    return "401"


@check("stranger.host", "It answers only to its own name")
def _(visit: Visit) -> str:
    try:
        response = visit.send("GET", SERVER_METADATA, headers={"Host": "stranger.example"})
    except Failed:
        return "the connection is closed"
    document = json_in(response)  # another site behind the same proxy may well answer
    expect(
        not (response.is_success and isinstance(document, dict) and "issuer" in document),
        "A request for the host stranger.example is answered as if it were its own.",
        "Let the proxy pass the Host header on as it came, not set to a fixed name.",
    )
    return shape(response)


@check("stranger.origin", "A foreign page gets nothing")
def _(visit: Visit) -> str:
    response = visit.send("POST", "/mcp", headers={"Origin": "https://stranger.example"})
    expect(
        response.status_code == 403,
        f"POST /mcp from a page of a stranger is answered with {shape(response)}, not 403.",
        "Let the proxy pass the Origin header on as it came.",
    )
    return "403"


def registered(visit: Visit, callback: str) -> str:
    """Returns the id of a new client, a made-up one when the server refuses its redirect URI."""
    answer = json_in(visit.register(callback))
    client_id = answer.get("client_id") if isinstance(answer, dict) else None
    return client_id if isinstance(client_id, str) else "refused"


def refuse_code(response: httpx2.Response, what: str) -> None:
    given = "code" in sent_back(response)
    expect(not given, f"{what} is answered with a code, without the owner.", LETS_IN)


def allowed_app(visit: Visit) -> tuple[App, httpx2.Response]:
    """Returns a client that the owner may approve, and the page that asks for it.

    Raises:
        Failed: None of the known clients may return to itself.
    """
    domains = [domain.strip() for domain in setting("MCP_ALLOWED_REDIRECT_DOMAINS").split(",")]
    own = [f"https://{domain}/callback" for domain in domains if "." in domain]
    for callback in (*CALLBACKS, *own):
        app, browser = App(registered(visit, callback), callback), visit.new_client(BROWSER)
        response = visit.send("GET", "/authorize", browser, params=app.question())
        if Page(response).forms:
            return app, response
    raise Failed(
        f"/authorize shows no page to any known client; its last answer was {shape(response)}.",
        "Name your clients' domains in MCP_ALLOWED_REDIRECT_DOMAINS, for example"
        " claude.ai,claude.com,localhost, then restart.",
    )


def approved_app(visit: Visit) -> App:
    assert visit.app is not None, "stranger.page has passed"
    return visit.app


def submit(visit: Visit, browser: httpx2.Client, page: Page, **fields: str) -> httpx2.Response:
    """Sends the form of a page, as a browser does."""
    where = urljoin(f"{visit.url}/authorize", page.forms[0].get("action") or "/authorize")
    ours = where.startswith(f"{visit.url}/")
    expect(ours, f"The form leads to {where}, away from the server.", RENEW)
    headers = {"Origin": visit.url, "Sec-Fetch-Site": "same-origin"}
    return visit.send("POST", where, browser, data={**page.hidden, **fields}, headers=headers)


# ---- As the owner --------------------------------------------------------------------------------


@check("owner.sign_in", "The owner signs in and approves", "stranger.page", "metadata.issuer")
def _(visit: Visit) -> str:
    if visit.password is None:
        raise Skipped(visit.why_no_password)
    app, browser = approved_app(visit), visit.new_client(BROWSER)
    page = Page(visit.send("GET", "/authorize", browser, params=app.question()))
    wrong = submit(visit, browser, page, password=secrets.token_urlsafe(12), decision="approve")
    refuse_waiting(wrong)
    refuse_code(wrong, "A wrong password")
    again = Page(wrong)
    page = again if again.asks else page
    right = submit(visit, browser, page, password=visit.password, decision="approve")
    refuse_waiting(right)
    expect(
        not Page(right).asks,
        f"The server does not take this password ({shape(right)}).",
        f"Give the owner's password; `uv run {command()} password` sets a new one.",
    )
    visit.code, visit.browser = code_in(visit, right), browser
    return "code, state and iss; no wrong password"


@check("owner.token", "The code becomes a token", "owner.sign_in")
def _(visit: Visit) -> str:
    response = visit.redeem(approved_app(visit), visit.code)
    answer, caching = token_answer(response), response.headers.get("cache-control", "")
    expect("no-store" in caching, "Caches may keep the token.", pass_on("Cache-Control"))
    return f"a {answer['token_type']} token for {answer['expires_in'] / 86400:.3g} days"


@check("owner.code_once", "A code works only once", "owner.token")
def _(visit: Visit) -> str:
    if time.monotonic() - visit.granted[0].at > REPLAY_GRACE_SECONDS:
        raise Skipped("the server answers too slowly: a late replay would end the connection")
    response = visit.redeem(approved_app(visit), visit.code)
    expect(
        is_refusal(response, "invalid_grant"),
        f"The same code is answered a second time with {shape(response)}, not invalid_grant.",
        RENEW,
    )
    return "invalid_grant the second time"


@check("owner.verifier", "A stolen code is worthless", "owner.token")
def _(visit: Visit) -> str:
    assert visit.browser is not None, "owner.sign_in has passed"
    app = App(approved_app(visit).id, approved_app(visit).callback)
    page = Page(visit.send("GET", "/authorize", visit.browser, params=app.question()))
    expect(page.asks, "A second request for approval shows no page.", RENEW)
    proof = {"password": visit.password or ""} if page.passwords else {}
    code = code_in(visit, submit(visit, visit.browser, page, decision="approve", **proof))
    for verifier, what in ((secrets.token_urlsafe(48), "that"), (app.verifier, "the right")):
        expect(
            is_refusal(visit.redeem(app, code, verifier), "invalid_grant"),
            f"A code that was tried with a wrong verifier is redeemed with {what} one.",
            RENEW,
        )
    return "burned by a wrong verifier"


def refuse_waiting(response: httpx2.Response) -> None:
    wait = response.headers.get("retry-after", "a few")
    cause = "Too many wrong passwords were tried, so every sign-in has to wait."
    expect(response.status_code != 429, cause, f"Wait {wait} s, then start again.")


def code_in(visit: Visit, response: httpx2.Response) -> str:
    """Returns the code that an approval sends to the client.

    Raises:
        Failed: The redirect is not what clients take (RFC 6749 §4.1.2, RFC 9207).
    """
    app, answer = approved_app(visit), sent_back(response)
    where, iss = response.headers.get("location", ""), answer.get("iss")
    expect(
        response.status_code == 303,
        f"Approve is answered with {shape(response)}, where clients need 303.",
        pass_on("redirects"),
    )
    expect(where.startswith(f"{app.callback}?"), f"Approve leads to {where}.", RENEW)
    expect(answer.get("code"), "Approve sends no code.", RENEW)
    expect(answer.get("state") == "verify", "Approve does not send our state back.", RENEW)
    expect(iss == visit.url, f"iss is {iss}, not {visit.url}, which Claude Code refuses.", RENEW)
    return answer["code"]


def is_refusal(response: httpx2.Response, code: str) -> bool:
    """Tells whether an answer is an OAuth error (RFC 6749 §5.2)."""
    answer = json_in(response)
    told = answer.get("error") if isinstance(answer, dict) else None
    return response.status_code == 400 and told == code


def token_answer(response: httpx2.Response) -> dict[str, Any]:
    """Returns a token answer with everything that clients need.

    Raises:
        Failed: A member is missing or has another type (RFC 6749 §5.1).
    """
    answer = json_in(response)
    expect(
        response.status_code == 200 and isinstance(answer, dict),
        f"POST /token is answered with {shape(response)}.",
        LOG,
    )
    whole: dict[str, Any] = answer
    for name in ("access_token", "refresh_token", "token_type", "scope"):
        expect(isinstance(whole.get(name), str), f"The token answer lacks {name}.", RENEW)
    kind, life = whole["token_type"], whole.get("expires_in")
    expect(kind.lower() == "bearer", f"token_type is {kind}.", RENEW)
    expect(
        isinstance(life, int) and life > 0, f"expires_in is {life}, no number of seconds.", RENEW
    )
    return whole


# ---- As a client ---------------------------------------------------------------------------------


@check("protocol.initialize", f"It speaks MCP {HANDSHAKE}", "owner.token")
def _(visit: Visit) -> str:
    client = {"name": NAME, "version": "1"}
    params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": client}
    result = visit.call("initialize", params)
    version = result.get("protocolVersion")
    expect(version == HANDSHAKE, f"It chose the revision {version}.", UPGRADE)
    visit.instructions = str(result.get("instructions") or "").strip()
    expect(
        visit.instructions,
        "There are no instructions, so assistants are not told when to use the tools.",
        "Write instructions.md in your package below src, then restart the server.",
    )
    return f"instructions of {len(visit.instructions)} characters"


@check("protocol.notification", "It takes notifications", "protocol.initialize")
def _(visit: Visit) -> str:
    message = {"method": "notifications/initialized"}
    response = visit.post_mcp(visit.granted[-1].access, message, mcp_protocol_version=HANDSHAKE)
    expect(
        response.status_code == 202 and not response.content,
        f"A notification is answered with {shape(response)}, not with 202 and nothing else.",
        pass_on("empty answers"),
    )
    return "202 with an empty body"


@check("protocol.discover", f"It speaks MCP {STATELESS}", "owner.token")
def _(visit: Visit) -> str:
    named = "io.modelcontextprotocol/"
    meta = {
        f"{named}protocolVersion": STATELESS,
        f"{named}clientInfo": {"name": NAME, "version": "1"},
        f"{named}clientCapabilities": {},
    }
    headers = {"mcp_protocol_version": STATELESS, "mcp_method": "server/discover"}
    versions = visit.call("server/discover", {"_meta": meta}, **headers).get("supportedVersions")
    known = isinstance(versions, list) and STATELESS in versions
    expect(known, f"supportedVersions is {versions}, without {STATELESS}.", UPGRADE)
    return "server/discover"


# ---- Tools ---------------------------------------------------------------------------------------


@check("tools.list", "It has tools, each described", "protocol.initialize")
def _(visit: Visit) -> str:
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _page in range(100):
        result = visit.call("tools/list", cursor)
        found += result.get("tools") or []
        if not (cursor := {"cursor": result["nextCursor"]} if result.get("nextCursor") else {}):
            break
    expect(
        found,
        "The server offers no tool.",
        "Put a file with a tool into the folder tools of your package, as AGENTS.md says.",
    )
    bare = [tool["name"] for tool in found if not str(tool.get("description") or "").strip()]
    expect(
        not bare,
        f"Without a description: {', '.join(bare)}.",
        "Give each function a docstring that says when to use it, then restart the server.",
    )
    visit.tools = found
    return f"{len(found)}: {', '.join(tool['name'] for tool in found)}"


@check("tools.prefix", "Tools have names of their own", "tools.list")
def _(visit: Visit) -> str:
    names = [tool["name"] for tool in visit.tools]
    bare = [name for name in names if not re.fullmatch("[^_]+_.+", name)]
    prefixes = sorted({name.partition("_")[0] for name in names})
    move = "Define it in the folder tools, where each name gets the prefix, not in extend.py."
    expect(not bare, f"Without a prefix: {', '.join(bare)}.", move)
    expect(len(prefixes) == 1, f"There are several prefixes: {', '.join(prefixes)}.", move)
    prefix = prefixes[0]
    expect(
        prefix not in BUILT_IN,
        f"Assistants take {prefix}_ for a feature of their own and pass over the tools.",
        "Choose another: `uvx copier update --defaults --data tool_prefix=vault`, then restart.",
    )
    expect(
        f"{prefix}_" in visit.instructions,
        f"The instructions do not name {prefix}_, so assistants may prefer their own features.",
        "Write {prefix}_ into instructions.md, where it is filled in, then restart the server.",
    )
    return f"all begin with {prefix}_"


@check("tools.call", "A tool can be called", "tools.list")
def _(visit: Visit) -> str:
    name, arguments = harmless(visit.tools)
    result = visit.call("tools/call", {"name": name, "arguments": arguments})
    if not result.get("isError"):
        return f"{name} answers"
    told = " ".join(str(part.get("text", "")) for part in result.get("content", [])).rstrip(".")
    if arguments:
        raise Skipped(f"{name} refuses made-up arguments: {told}")
    raise Failed(
        f"{name} answers with an error: {told}.",
        "Look at the server's log for the exception; for `connection already closed` open a"
        " database connection in each call.",
    )


def harmless(tools: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Returns a tool that only reads and arguments for it, few rather than many.

    Raises:
        Skipped: There is none whose arguments can be made up.
    """
    choices: list[tuple[str, dict[str, Any]]] = []
    for tool in tools:
        schema = tool.get("inputSchema") or {}
        known = schema.get("properties") or {}
        arguments = {name: made_up(known.get(name, {})) for name in schema.get("required") or []}
        if (tool.get("annotations") or {}).get("readOnlyHint") and None not in arguments.values():
            choices.append((tool["name"], arguments))
    if not choices:
        raise Skipped("no tool is annotated as only reading and works with made-up arguments")
    return min(choices, key=lambda choice: len(choice[1]))


def made_up(schema: dict[str, Any]) -> Any:
    """Returns a value for an argument, None when it cannot be guessed."""
    for key in ("default", "const"):
        if schema.get(key) is not None:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "boolean":
        return False
    fits = schema.get("minLength", 0) <= len("verify") <= schema.get("maxLength", 6)
    free = schema.get("type") == "string" and not {"pattern", "format"} & set(schema)
    return "verify" if free and fits else None


# ---- Keeping and ending a connection -------------------------------------------------------------


@check("grant.refresh", "A connection renews itself", "owner.token")
def _(visit: Visit) -> str:
    old = visit.granted[0]
    first, second = (token_answer(visit.refresh(old)) for _ in range(2))
    new = first["access_token"], first["refresh_token"]
    changed = not {old.access, old.refresh} & set(new)
    expect(changed, "A refresh gives the tokens back that it should replace.", RENEW)
    expect(
        (second["access_token"], second["refresh_token"]) == new,
        "A refresh that is repeated at once gives other tokens, so that clients lose one.",
        "Run only one server on one state folder, and renew it: `uvx copier update --defaults`.",
    )
    expect(visit.opens(new[0]), "The refreshed access token opens nothing.", RENEW)
    expect(visit.opens(old.access), "A refresh ends the access token before it.", RENEW)
    return "the same new tokens when repeated"


@check("grant.revoke", "A connection can be ended", "owner.token")
def _(visit: Visit) -> str:
    first, last = visit.granted[0], visit.granted[-1]
    end_session(visit, last.access)
    response = visit.form("/revoke", token=last.refresh, client_id=last.app.id)
    expect(response.is_success, f"POST /revoke is answered with {shape(response)}.", LOG)
    for access in (first.access, last.access):
        expect(not visit.opens(access), "A revoked access token still opens the server.", RENEW)
    again = visit.refresh(last)
    expect(not again.is_success, "A revoked refresh token still gives new tokens.", RENEW)
    return "neither token opens anything"


def leave_nothing_behind(visit: Visit) -> bool:
    """Revokes everything that was granted; False when something may be left."""
    gone = True
    for tokens in visit.granted:
        try:
            end_session(visit, tokens.access)
            token = tokens.refresh or tokens.access
            visit.form("/revoke", token=token, client_id=tokens.app.id)
            gone = not visit.opens(tokens.access) and gone
        except Failed:
            gone = False
    return gone


def end_session(visit: Visit, access: str) -> None:
    """Ends the session of a server that keeps sessions."""
    headers = {"Authorization": f"Bearer {access}", "mcp-session-id": visit.session}
    if visit.session:
        with suppress(Failed):
            visit.begin("DELETE", "/mcp", headers=headers)
        visit.session = ""


# ---- Running -------------------------------------------------------------------------------------


def run(visit: Visit, only: Iterable[str], say: Callable[[str], None]) -> list[Result]:
    """Runs the checks asked for, with what they need; returns those, and what failed besides."""
    asked = set(only)
    wanted = with_needs(asked)
    results: dict[str, Result] = {}
    try:
        for item in CHECKS.values():
            if item.id in wanted:
                say(item.title)
                results[item.id] = outcome(item, visit, results)
    finally:
        with uninterrupted():
            if not leave_nothing_behind(visit):
                print(
                    f"A connection called {NAME} may be left: see `uv run {command()} connections`,"
                    " and end it with `connections revoke ID`.",
                    file=sys.stderr,
                )
    return [r for r in results.values() if r.check.id in asked or r.status == "fail"]


def outcome(item: Check, visit: Visit, before: dict[str, Result]) -> Result:
    if not visit.reached:
        return Result(item, "skip", "needs a server that can be reached")
    for need in (before[name] for name in item.needs):
        if need.status == "fail":
            return Result(item, "skip", f"needs {need.check.id}")
        if need.status == "skip":
            return Result(item, "skip", need.detail)
    try:
        return Result(item, "pass", plain(item.run(visit)))
    except Skipped as reason:
        return Result(item, "skip", plain(str(reason)))
    except Failed as failure:
        visit.reached = not isinstance(failure, Unreachable)
        return Result(item, "fail", failure.cause, failure.cure)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cause = plain(f"The answer has another form than clients expect ({error!r}).")
        return Result(item, "fail", cause, LOG)


def with_needs(ids: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += CHECKS[name].needs
    return found


# ---- The report ----------------------------------------------------------------------------------

STYLES = {"pass": "green", "fail": "bold red", "skip": "yellow"}


def as_json(url: str, results: list[Result]) -> str:
    checks = [
        {"id": r.check.id, "status": r.status, "detail": r.detail, "cure": r.cure} for r in results
    ]
    return json.dumps({"url": url, "ok": passed(results), "checks": checks}, indent=2)


def passed(results: list[Result]) -> bool:
    return all(result.status != "fail" for result in results)


def print_report(console: Console, url: str, results: list[Result], seconds: float) -> None:
    marks = marks_for(console.encoding)
    console.print(Text(f"{url}/mcp", style="bold"))
    for area, title in AREAS.items():
        inside = [result for result in results if result.check.area == area]
        if inside:
            console.print()
            console.print(Text(title, style="bold"))
            console.print(table_of(inside, marks))
    for result in results:
        if result.status == "fail":
            console.print()
            console.print(Text(f"{marks['fail']} {result.check.id}", style=STYLES["fail"]))
            console.print(Text(f"Cause: {result.detail}"))
            console.print(Text(f"Cure:  {result.cure}"))
    console.print()
    console.print(Text(closing_line(results, seconds), style="bold"))


def table_of(results: list[Result], marks: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(width=34)
    table.add_column(overflow="fold")
    for result in results:
        mark = Text(f"{marks[result.status]} {result.status}", style=STYLES[result.status])
        detail = f"{result.check.id}, below" if result.status == "fail" else result.detail
        table.add_row(mark, Text(result.check.title), Text(detail, style="dim"))
    return table


def closing_line(results: list[Result], seconds: float) -> str:
    count = {status: sum(r.status == status for r in results) for status in STYLES}
    told = f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped"
    if count["fail"]:
        return f"Something is broken: {told}, in {seconds:.1f} s."
    if count["skip"]:
        return f"No fault was seen: {told}, in {seconds:.1f} s."
    return f"It works, and strangers stay out: {told}, in {seconds:.1f} s."


def marks_for(encoding: str) -> dict[str, str]:
    marks = {"pass": "✓", "fail": "✗", "skip": "–"}
    try:
        "".join(marks.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return {"pass": "+", "fail": "x", "skip": "-"}
    return marks


# ---- The command line ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Says in one sentence what it does not understand."""

    def error(self, message: str) -> NoReturn:
        raise CannotRun(f"{message}; --help says what can be given.")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=NAME, description="Proves from outside that this server works.")
    parser.add_argument("url", nargs="?", help="the public URL; default: MCP_PUBLIC_URL or .env")
    parser.add_argument("--password-file", type=Path, metavar="F", help="holds the password")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--only", metavar="ID,...", help="run these checks and what they need")
    parser.add_argument("--list", action="store_true", help="print every id and what it checks")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a console may not know every character
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        given = arguments(argv)
        if given.list:
            print("\n".join(f"{item.id:<22}{item.title}" for item in CHECKS.values()))
            return 0
        return verify(given)
    except CannotRun as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted; what was granted is revoked.", file=sys.stderr)
        return 130


def verify(given: argparse.Namespace) -> int:
    only = chosen(given.only)
    url = public_url(given.url)
    needs_owner = "owner.sign_in" in with_needs(only)
    password, why_not = owner_password(given, ask=needs_owner and not given.json)
    began = time.monotonic()
    visit = Visit(url, password, why_not)
    try:
        with Console(stderr=True).status("Verifying", spinner="line") as status:
            results = run(visit, only, lambda title: status.update(Text(title)))
    finally:
        visit.close()
    if given.json:
        print(as_json(url, results))
    else:
        print_report(Console(highlight=False), url, results, time.monotonic() - began)
    if given.password_file is not None and not given.password_file.exists():
        print(
            f"The server has removed {given.password_file} at this first sign-in; if you did not"
            f" note the password, set a new one with `uv run {command()} password`.",
            file=sys.stderr,
        )
    return 0 if passed(results) else 1


def chosen(only: str | None) -> list[str]:
    if only is None:
        return list(CHECKS)
    ids = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in ids if name not in CHECKS]
    if unknown or not ids:
        raise CannotRun(f"there is no check {', '.join(unknown) or 'named'}: --list has them all.")
    return ids


def public_url(argument: str | None) -> str:
    """Returns the public URL without a trailing slash.

    Raises:
        CannotRun: There is none, or it is no address of a server.
    """
    given = (argument or default_url()).strip()
    if not given:
        raise CannotRun("give the public URL, for example https://mcp.example.com.")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise CannotRun(f"{given!r} is no URL, such as https://mcp.example.com.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CannotRun(f"{given!r} must begin with https://, such as https://mcp.example.com.")
    if parts.path.rstrip("/") not in {"", "/mcp"} or parts.query or parts.fragment:
        raise CannotRun(f"{given!r} has a path: give only {parts.scheme}://{parts.netloc}.")
    if "@" in parts.netloc:
        raise CannotRun("the URL must not hold a name or a password.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def default_url() -> str:
    """Returns what the settings say; on this computer the URL follows the port, as the server's."""
    url, example = setting("MCP_PUBLIC_URL"), settings_in(".env.example")
    url = url or example.get("MCP_PUBLIC_URL", "")
    port = setting("MCP_PORT")
    if port and url == example.get("MCP_PUBLIC_URL") and url.startswith("http://localhost:"):
        return f"http://localhost:{port}"
    return url


def setting(name: str) -> str:
    return os.environ.get(name) or settings_in(".env").get(name, "")


def settings_in(file: str) -> dict[str, str]:
    """Returns the lines NAME=value of a file beside this one."""
    try:
        text = (FOLDER / file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    lines = re.findall(r"^\s*(?:export\s+)?(\w+)\s*=[ \t]*(.*?)\s*$", text, re.MULTILINE)
    return {name: unquoted(value) for name, value in lines}


def unquoted(value: str) -> str:
    quoted = re.match(r"(['\"])(.*?)\1", value)
    return quoted[2] if quoted else re.split(r"\s#", value)[0].strip()


def owner_password(given: argparse.Namespace, *, ask: bool) -> tuple[str | None, str]:
    """Returns the owner's password, or None and why there is none.

    Raises:
        CannotRun: The file that should hold it cannot be used.
    """
    file: Path | None = given.password_file
    if file is not None:
        try:
            password = file.read_text("utf-8-sig").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise CannotRun(f"the password file {file} cannot be read: {reason}.") from None
        if not password or password.startswith("$argon2"):
            what = "holds a hash, which cannot sign in" if password else "is empty"
            raise CannotRun(f"the password file {file} {what}: write the password itself into it.")
        return password, ""
    password = os.environ.get("MCP_PASSWORD", "")
    why_not = "needs the owner's password: --password-file, or MCP_PASSWORD"
    if password.startswith("$argon2"):
        password = ""
        why_not = (
            "MCP_PASSWORD is a hash, which cannot sign in: give the password itself with"
            " --password-file"
        )
    if not password and ask and sys.stdin.isatty():
        with suppress(EOFError):
            password = getpass("The owner's password (empty: look only as a stranger): ")
    return password or None, why_not


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # whatever ends it, the way out is Ctrl+C's
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
