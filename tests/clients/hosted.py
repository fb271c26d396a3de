"""Clients that people connect, each as a script of what it asks (November 2026).

Most of them run in somebody's cloud or in an editor; of the others here is what they do seldom.
What is theirs was read in their makers' documentation, in their sources where those are public,
and in what people saw of them.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import ClassVar

import httpx
from joserfc import jwk, jwt

from tests.clients import published
from tests.clients.scripted import HOW, Client, Json, OAuthRefused, well_known

PUBLIC: Json = published.BY_CODE
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = jwk.RSAKey.generate_key(2048)


class Claude(Client):
    """Claude on the web, on mobile, on the desktop and in Cowork: one backend for all."""

    agent = "python-httpx/0.28.1"
    mcp_agent = "Claude-User"
    accept = "*/*"
    oauth_headers: ClassVar = {"accept": "*/*"}
    seconds = 10.0
    callback = "https://claude.ai/api/mcp/auth_callback"
    document = published.CLAUDE
    registration: ClassVar = {**PUBLIC, "client_name": "Claude"}

    def takes_documents(self) -> bool:
        methods = self.server["token_endpoint_auth_methods_supported"]
        return super().takes_documents() and "none" in methods


class OlderClaude(Claude):
    """A build from before there were documents and resources, with a scope of its own making."""

    revision = "2025-03-26"
    document = None
    registration: ClassVar = {**PUBLIC, "client_name": "Claude", "scope": "claudeai"}
    names_resource = False

    def discover(self) -> None:
        assert self.knock().status_code == 401
        self.server = self.get(f"{self.place.url}/.well-known/oauth-authorization-server", HOW)

    def scope(self) -> str:
        return "claudeai"


class ConfidentialClaude(Claude):
    """A build that wants a secret, and calls itself by its other host."""

    revision = "2025-06-18"
    document = None
    callback = "https://claude.com/api/mcp/auth_callback"
    registration: ClassVar = {
        **PUBLIC,
        "client_name": "claudeai",
        "scope": "claudeai",
        "token_endpoint_auth_method": "client_secret_post",
    }


class ClaudeCode(Client):
    """Runs on its person's machine, often several at once on one set of tokens."""

    agent = mcp_agent = "claude-code/2.1.332 (cli)"
    oauth_headers: ClassVar = {"accept": "application/json", "mcp-protocol-version": "2025-11-25"}
    callback = "http://localhost:{port}/callback"
    document = published.CLAUDE_CODE
    registration: ClassVar = {**PUBLIC, "client_name": "Claude Code (my-server)"}


class ChatGpt(Client):
    """Names itself by a document that prefers keys and offers `none` beside them."""

    agent = mcp_agent = "openai-mcp/1.0.0"
    mcp_headers: ClassVar = {"x-openai-session": "v1/session", "x-openai-subject": "v1/subject"}
    revision = "2026-07-28"
    seconds = 10.0
    callback = "https://chatgpt.com/connector_platform_oauth_redirect"
    document = published.CHATGPT
    registration: ClassVar = {**PUBLIC, "client_name": "ChatGPT"}

    def server_places(self, issuer: str) -> list[str]:
        return [*super().server_places(issuer), f"{issuer}/.well-known/openid-configuration"]

    def scope(self) -> str:
        return " ".join(self.server["scopes_supported"])

    def identify(self) -> None:
        """Has one callback for all where it is told who answers, else one for each connection."""
        if not self.server.get("authorization_response_iss_parameter_supported"):
            self.document, self.callback = OlderChatGpt.document, OlderChatGpt.callback
        super().identify()

    def takes_documents(self) -> bool:
        offered = published.OF_CHATGPT["token_endpoint_auth_methods_supported"]
        common = {*offered} & {*self.server["token_endpoint_auth_methods_supported"]}
        return super().takes_documents() and bool(common)


class OlderChatGpt(ChatGpt):
    """A connection from before there was one callback for all keeps its own, and its document."""

    document = published.CHATGPT_ONE_CALLBACK
    callback = "https://chatgpt.com/connector/oauth/c4llb4ckid"


class RegisteringChatGpt(OlderChatGpt):
    """Registers once for each connection, as its settings may say."""

    document = None


class SigningChatGpt(ChatGpt):
    """Signs its token requests, as it prefers, though the server did not ask for it."""

    def proof(self) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.server["issuer"]}
        claims |= {"iat": now, "exp": now + 60, "jti": secrets.token_hex(8)}
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims, KEY)
        return {"client_assertion_type": JWT_BEARER, "client_assertion": signed}


class Codex(Client):
    """Asks with GET first, writes a slash after the resource, and leaves it out to refresh."""

    agent = mcp_agent = "codex-mcp-client/0.169.0"
    callback = "http://127.0.0.1:{port}/callback/"
    registration: ClassVar = {**PUBLIC, "client_name": "Codex"}
    registers_by_itself = False
    names_resource_to_refresh = False

    def new_callback(self) -> str:
        digest = hashlib.sha256(self.place.mcp.encode()).digest()
        return super().new_callback() + base64.urlsafe_b64encode(digest[:9]).decode()

    def knock(self) -> httpx.Response:
        return self.http.get(self.place.mcp, headers={**self.headers(), "accept": self.accept})

    def written_resource(self) -> str:
        return super().written_resource() + "/"


class DocumentedCodex(Codex):
    """Names itself by a document, whose callback is the same for every server."""

    document = published.CODEX

    def new_callback(self) -> str:
        return super().new_callback().rpartition("/")[0]


class VsCode(Client):
    """Listens on another port than it publishes, when that one is taken."""

    agent = mcp_agent = "Visual Studio Code/1.107.0"
    callback = "http://127.0.0.1:{port}/"
    document = published.VSCODE

    def new_state(self) -> str:
        return base64.b64encode(secrets.token_bytes(16)).decode()


class VsCodeInTheBrowser(VsCode):
    """Sends what comes back on to an address of its own, which is its state."""

    callback = "https://vscode.dev/redirect"

    def new_state(self) -> str:
        return "vscode://dynamicauthprovider/redirect?nonce=1%2F2&windowid=_blank"


class RegisteringVsCode(VsCode):
    """Registers the callbacks of all its builds at once."""

    document = None
    registration: ClassVar = {
        **PUBLIC,
        "client_name": "Visual Studio Code",
        "client_uri": "https://code.visualstudio.com",
        "redirect_uris": [
            "https://insiders.vscode.dev/redirect",
            "https://vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
        ],
        "application_type": "native",
    }


class RegisteringVsCodeInsiders(RegisteringVsCode):
    callback = "https://insiders.vscode.dev/redirect"


class Cursor(Client):
    """Registers its callbacks of all times and places as soon as it is configured."""

    agent = mcp_agent = "Cursor/3.10.17"
    callback = "http://localhost:8787/callback"
    registration: ClassVar = {
        **PUBLIC,
        "client_name": "Cursor",
        "redirect_uris": [
            "http://localhost:8787/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ],
    }

    def scope(self) -> str:
        return " ".join(self.server["scopes_supported"])


class CursorAgents(Cursor):
    """In its makers' cloud."""

    callback = "https://www.cursor.com/agents/mcp/oauth/callback"


class OlderCursor(Cursor):
    """Takes what comes back by a scheme of its own."""

    callback = "cursor://anysphere.cursor-mcp/oauth/callback"


class DocumentedCursor(Cursor):
    document = published.CURSOR


class GeminiCli(Client):
    """Asks with HEAD, and registers at each sign-in."""

    agent = mcp_agent = "node"
    callback = "http://localhost:{port}/oauth/callback"
    registration: ClassVar = {
        **PUBLIC,
        "client_name": "Gemini CLI MCP Client",
        "scope": "tools offline_access",
    }

    def knock(self) -> httpx.Response:
        return self.http.head(self.place.mcp, headers=self.headers())

    def scope(self) -> str:
        return " ".join(self.server["scopes_supported"])

    def server_places(self, issuer: str) -> list[str]:
        """Beside the issuer's, it tries those of the server's own address."""
        mcp = self.place.mcp
        return [
            *super().server_places(issuer),
            well_known(mcp, "oauth-authorization-server"),
            well_known(mcp, "openid-configuration"),
        ]

    def recover(self) -> None:
        """Throws all away when it cannot renew its tokens; its person starts again."""
        try:
            self.refresh()
        except OAuthRefused:
            self.connect()


BY_DOCUMENT: tuple[type[Client], ...] = (
    *(Claude, ClaudeCode, ChatGpt, OlderChatGpt, SigningChatGpt),
    *(DocumentedCodex, VsCode, VsCodeInTheBrowser, DocumentedCursor),
)
REGISTERING: tuple[type[Client], ...] = (
    *(OlderClaude, ConfidentialClaude, RegisteringChatGpt, Codex),
    *(RegisteringVsCode, RegisteringVsCodeInsiders, Cursor, CursorAgents, OlderCursor, GeminiCli),
)
EVERYONE = (*BY_DOCUMENT, *REGISTERING)
