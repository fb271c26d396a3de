"""An MCP client as a script: it asks as its maker's does, one request after another.

`Client` does what the specification says. A real client is a subclass that says where it differs;
those that connect are in `hosted`. Whatever an answer lacks that some client's schema wants ends
the script with an AssertionError.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.clients.house import PASSWORD, House
from tests.support.approve import approve

Json = dict[str, Any]

META = "io.modelcontextprotocol/"
OF_TOOLS = {"inputSchema", "outputSchema", "structuredContent"}  # there null may be meant
PORTS = itertools.count(49152)  # of the day, for callbacks; nobody listens there

WHERE: dict[str, Any] = {"resource": str, "authorization_servers": list, "scopes_supported": list}
HOW: dict[str, Any] = {
    "issuer": str,
    "authorization_endpoint": str,
    "token_endpoint": str,
    "registration_endpoint": str,
    "response_types_supported": list,
    "grant_types_supported": list,
    "code_challenge_methods_supported": list,
    "token_endpoint_auth_methods_supported": list,
    "scopes_supported": list,
}
REGISTERED: dict[str, Any] = {
    "client_id": str,
    "client_id_issued_at": int,
    "redirect_uris": list,
    "token_endpoint_auth_method": str,
    "grant_types": list,
    "response_types": list,
}
TOKENS: dict[str, Any] = {
    "access_token": str,
    "token_type": str,
    "expires_in": int,
    "refresh_token": str,
    "scope": str,
}


class OAuthRefused(Exception):
    """The server answered with an error (RFC 6749 §5.2)."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status, self.error = answer.status_code, strict(answer, {"error": str})["error"]
        super().__init__(f"{self.status} {self.error}: {answer.text}")


class SignInRefused(Exception):
    """The page offers no sign-in; the message is what it says."""


class Unauthorized(Exception):
    """The MCP endpoint wants another access token."""


class Client:
    """An MCP client, connected to one server; `signed_in` and `registered` count."""

    agent: ClassVar[str] = ""  # of the OAuth requests
    mcp_agent: ClassVar[str] = ""  # of the calls
    accept: ClassVar[str] = "application/json, text/event-stream"  # of the calls
    oauth_headers: ClassVar[dict[str, str]] = {"accept": "application/json"}
    mcp_headers: ClassVar[dict[str, str]] = {}
    revision: ClassVar[str] = "2025-11-25"
    seconds: ClassVar[float] = 30.0
    callback: str = ""  # "{port}" in it is the port of the day
    document: str | None = None  # the URL that it names itself by where it can
    registration: ClassVar[Json] = {}
    registers_by_itself: ClassVar[bool] = True  # also when the server lost its registration
    names_resource: ClassVar[bool] = True
    names_resource_to_refresh: ClassVar[bool] = True

    def __init__(self, place: House) -> None:
        self.place, self.signed_in, self.registered = place, 0, 0
        self.http = httpx.Client(verify=place.tls, trust_env=False, timeout=self.seconds)

    # What it does

    def connect(self) -> None:
        self.discover()
        self.identify()
        self.sign_in()

    def use(self) -> list[str]:
        """Opens a session, saves a note with a tool; returns the names of all tools.

        Raises:
            Unauthorized: The access token is not taken.
        """
        self.open()
        names = [tool["name"] for tool in self.rpc("tools/list")["tools"]]
        save = next(name for name in names if name.endswith("_save"))
        text = f"A note by {type(self).__name__}"
        saved = self.rpc("tools/call", name=save, arguments={"text": text})
        assert saved.get("isError", False) is False, saved
        assert saved["content"], saved
        return names

    def work(self) -> list[str]:
        """Does what its person asks for, and on the way whatever is needed to get there."""
        try:
            return self.use()
        except Unauthorized:
            self.recover()
            return self.use()

    def recover(self) -> None:
        """Goes on after its access token was refused."""
        try:
            self.refresh()
        except OAuthRefused as refused:
            if refused.error == "invalid_client" and self.registers_by_itself:
                self.identify()
            self.sign_in()

    # Discovery (RFC 9728, RFC 8414)

    def knock(self) -> httpx.Response:
        """Sends the request that finds out that a sign-in is needed."""
        if self.is_stateless:
            return self.post_rpc("server/discover", {})
        return self.post_rpc("initialize", self.greeting())

    def discover(self) -> None:
        answer = self.knock()
        assert answer.status_code == 401, answer.text
        self.challenge = challenge(answer)
        self.resource = self.get(self.challenge["resource_metadata"], WHERE)
        assert self.resource["resource"] == self.place.mcp
        [issuer] = self.resource["authorization_servers"]
        self.server = self.get(self.server_places(issuer)[0], HOW)
        assert self.server["issuer"] == issuer

    def resource_places(self) -> list[str]:
        """Where it looks for what the resource is, when no challenge says it."""
        return [well_known(self.place.mcp, "oauth-protected-resource"), self.place.url + ROOT]

    def server_places(self, issuer: str) -> list[str]:
        """Where it looks for what the authorization server is; the first that answers counts."""
        return [
            well_known(issuer, "oauth-authorization-server"),
            well_known(issuer, "openid-configuration"),
        ]

    # Who it is (RFC 7591, Client ID Metadata Documents)

    def identify(self) -> None:
        self.secret: str | None = None
        if self.document and self.takes_documents():
            self.client_id = self.document
        else:
            self.register()

    def takes_documents(self) -> bool:
        return self.server.get("client_id_metadata_document_supported") is True

    def register(self) -> None:
        body = {"redirect_uris": [self.new_callback()], **self.registration}
        answer = self.http.post(
            self.server["registration_endpoint"], json=body, headers=self.headers()
        )
        made = strict(answer, REGISTERED, 201)
        assert made["redirect_uris"] == body["redirect_uris"]
        assert made["token_endpoint_auth_method"] == body["token_endpoint_auth_method"]
        self.client_id, self.secret = made["client_id"], made.get("client_secret")
        assert (self.secret is None) == (made["token_endpoint_auth_method"] == "none")
        self.registered += 1

    def new_callback(self) -> str:
        return self.callback.format(port=next(PORTS))

    # The sign-in (RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207)

    def sign_in(self) -> None:
        """Sends its person to the sign-in, who approves.

        Raises:
            SignInRefused: The page is none where they could.
        """
        answer = self.ask("approve")
        self.redeem(answer["code"])
        self.signed_in += 1

    def ask(self, decision: str) -> dict[str, str]:
        """Sends its person to the sign-in; returns what comes back."""
        self.redirect_uri = self.new_callback()
        self.verifier, state = secrets.token_urlsafe(48), self.new_state()
        address = self.server["authorization_endpoint"] + "?" + urlencode(self.request(state))
        try:
            location = approve(address, PASSWORD, decision, self.place.authority)
        except AssertionError as error:
            raise SignInRefused(str(error)) from error
        assert location.partition("?")[0] == self.redirect_uri
        query = parse_qs(urlsplit(location).query, strict_parsing=True)
        answer = {name: value for name, [value] in query.items()}
        assert answer["state"] == state
        assert answer["iss"] == self.server["issuer"]
        return answer

    def new_state(self) -> str:
        return secrets.token_urlsafe(32)

    def request(self, state: str) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        scope = self.scope()
        return {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"scope": scope} if scope else {}),
            **self.target(),
        }

    def target(self) -> dict[str, str]:
        return {"resource": self.written_resource()} if self.names_resource else {}

    def written_resource(self) -> str:
        name: str = self.resource["resource"]
        return name

    def scope(self) -> str | None:
        """What it asks for: what the challenge says, and not to be signed out."""
        asked = self.challenge.get("scope") or " ".join(self.resource["scopes_supported"])
        lasting = "offline_access" in self.server["scopes_supported"]
        return f"{asked} offline_access" if lasting else asked

    # Tokens (RFC 6749 §4.1.3 and §6)

    def redeem(self, code: str) -> None:
        self.tokens = self.token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.redirect_uri,
            code_verifier=self.verifier,
            **self.target(),
        )

    def refresh(self, refresh_token: str | None = None) -> Json:
        """Renews its tokens, by another refresh token than its own if one is given.

        Raises:
            OAuthRefused: They are not renewed.
        """
        form = {"refresh_token": refresh_token or self.tokens["refresh_token"]}
        form |= self.target() if self.names_resource_to_refresh else {}
        self.tokens = self.token(grant_type="refresh_token", **form)
        return self.tokens

    def token(self, **form: str) -> Json:
        body = {**form, "client_id": self.client_id, **self.proof()}
        answer = self.http.post(self.server["token_endpoint"], data=body, headers=self.headers())
        if answer.status_code != 200:
            raise OAuthRefused(answer)
        assert answer.headers["cache-control"] == "no-store"
        tokens = strict(answer, TOKENS)
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] > 0
        return tokens

    def proof(self) -> dict[str, str]:
        return {"client_secret": self.secret} if self.secret else {}

    # Requests

    def headers(self) -> dict[str, str]:
        return {**self.oauth_headers, "user-agent": self.agent}

    def get(self, url: str, shape: Mapping[str, Any]) -> Json:
        return strict(self.http.get(url, headers=self.headers()), shape)

    def greeting(self) -> Json:
        return {
            "protocolVersion": self.revision,
            "capabilities": {},
            "clientInfo": {"name": type(self).__name__, "version": "1.0.0"},
        }

    @property
    def is_stateless(self) -> bool:
        """True in the era without `initialize`."""
        return self.revision >= "2026-07-28"

    def open(self) -> None:
        if self.is_stateless:
            found = self.rpc("server/discover")
            assert self.revision in found["supportedVersions"]
            return
        agreed = self.rpc("initialize", **self.greeting())
        assert agreed["protocolVersion"] == self.revision
        answer = self.post_rpc("notifications/initialized", {}, notification=True)
        assert answer.status_code == 202, answer.text

    def rpc(self, method: str, **params: Any) -> Json:
        answer = self.post_rpc(method, params)
        if answer.status_code == 401:
            told = challenge(answer)
            assert told["error"] == "invalid_token"
            assert told["resource_metadata"] == self.resource_places()[0]
            raise Unauthorized(answer.text)
        assert "mcp-session-id" not in answer.headers  # it would not carry it on
        result: Json = strict(answer, {"jsonrpc": str, "id": int, "result": dict})["result"]
        return result

    def post_rpc(self, method: str, params: Json, *, notification: bool = False) -> httpx.Response:
        body: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notification:
            body["id"] = 1
        headers = {"accept": self.accept, "user-agent": self.mcp_agent, **self.mcp_headers}
        if method != "initialize" and self.revision >= "2025-06-18":
            headers["mcp-protocol-version"] = self.revision
        if self.is_stateless:
            headers |= {"mcp-method": method}
            headers |= {"mcp-name": params["name"]} if "name" in params else {}
            names = ("protocolVersion", "clientInfo", "clientCapabilities")
            values = (self.revision, self.greeting()["clientInfo"], {})
            about = {META + name: value for name, value in zip(names, values, strict=True)}
            body["params"] = {**params, "_meta": about}
        if tokens := getattr(self, "tokens", None):
            headers["authorization"] = f"Bearer {tokens['access_token']}"
        return self.http.post(self.place.mcp, json=body, headers=headers)


ROOT = "/.well-known/oauth-protected-resource"


def well_known(url: str, name: str) -> str:
    """Puts a well-known path between the host and the path of a URL (RFC 8414 §3.1)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{parts.path}"


def challenge(answer: httpx.Response) -> dict[str, str]:
    """Returns what the one challenge in an answer says (RFC 9110 §11.6.1)."""
    scheme, _, parameters = answer.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'([a-z_]+)="([^"]*)"', parameters))


def strict(answer: httpx.Response, shape: Mapping[str, Any], status: int | None = None) -> Json:
    """Reads an answer as the strictest of clients: these members of these types, and no null."""
    assert status is None or answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/json", answer.text
    data: Json = answer.json()
    for name, kind in shape.items():
        assert type(data.get(name)) is kind, f"{name} in {data}"
    assert not any(value is None for value in values_in(data)), data
    return data


def values_in(data: Any) -> list[Any]:
    """Returns every value in JSON, however deep; not those of a tool's own making."""
    if isinstance(data, dict):
        members = (value for name, value in data.items() if name not in OF_TOOLS)
        return [found for value in members for found in (value, *values_in(value))]
    if isinstance(data, list):
        return [found for value in data for found in (value, *values_in(value))]
    return []
