"""The MCP SDK's example of a server with a sign-in: its routes around a provider with a login page.

Only who gives the name and the password on that page gets a code.
"""

from __future__ import annotations

import secrets
import time
from typing import Any
from unittest.mock import patch

from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

NAME, WORD = "demo_user", "demo_password"
HOUR = 60 * 60
FORM = (
    "<!doctype html><title>Login</title><form action='/login/callback' method='post'>"
    "<input type='hidden' name='state' value='{}'><input name='username'>"
    "<input type='password' name='password'><button>Sign in</button></form>"
)


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    def __init__(self, url: str) -> None:
        self.url = url
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.asked: dict[str, tuple[str, AuthorizationParams]] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, AccessToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[str(client_info.client_id)] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        state = secrets.token_hex(16)
        self.asked[state] = str(client.client_id), params
        return f"{self.url}/login?state={state}"

    def code_for(self, state: str) -> str:
        client_id, asked = self.asked.pop(state)
        code = AuthorizationCode(
            code=secrets.token_hex(16),
            client_id=client_id,
            redirect_uri=asked.redirect_uri,
            redirect_uri_provided_explicitly=asked.redirect_uri_provided_explicitly,
            expires_at=time.time() + 300,
            scopes=["user"],
            code_challenge=asked.code_challenge,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(asked.redirect_uri), code=code.code, state=asked.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        token = secrets.token_hex(32)
        self.tokens[token] = AccessToken(
            token=token,
            client_id=str(client.client_id),
            scopes=authorization_code.scopes,
            expires_at=int(time.time()) + HOUR,
        )
        return OAuthToken(access_token=token, expires_in=HOUR, scope="user")

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        raise NotImplementedError

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.tokens.pop(token.token, None)


def app(url: str, *, registration: bool = True) -> ASGIApp:
    provider = Provider(url)
    settings = AuthSettings(
        issuer_url=AnyHttpUrl(url),
        resource_server_url=AnyHttpUrl(f"{url}/mcp"),
        validate_token_resource=True,
        required_scopes=["user"],
        client_registration_options=ClientRegistrationOptions(
            enabled=registration, valid_scopes=["user"], default_scopes=["user"]
        ),
        revocation_options=RevocationOptions(enabled=True),
    )
    with patch("mcp.server.mcpserver.server.configure_logging"):  # which is the root logger's
        server: MCPServer[Any] = MCPServer("sdk", auth_server_provider=provider, auth=settings)

    @server.custom_route("/login", methods=["GET"])
    async def login(request: Request) -> Response:
        return HTMLResponse(FORM.format(request.query_params["state"]))

    @server.custom_route("/login/callback", methods=["POST"])
    async def callback(request: Request) -> Response:
        form = await request.form()
        if (form["username"], form["password"]) != (NAME, WORD):
            return HTMLResponse("<!doctype html><title>Wrong</title>", 401)
        return RedirectResponse(provider.code_for(str(form["state"])), 302)

    return server.streamable_http_app(stateless_http=True, json_response=True)
