"""What the HTTP endpoints accept and answer, but for the consent page.

Metadata (RFC 8414, RFC 9728), registration (RFC 7591), token (RFC 6749) and revocation
(RFC 7009). Every answer is JSON without null members; every refusal has the RFC's status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.client import AUTH_METHODS, Client
from personal_auth.clients import Clients
from personal_auth.errors import (
    InvalidClient,
    InvalidGrant,
    Refused,
    RequestTooLarge,
    RequestTooSlow,
    UnsupportedGrantType,
)
from personal_auth.forms import Parameters, client_credentials, read_form, read_json
from personal_auth.grants import Grants, Tokens, canonical_resource
from personal_auth.identity import MCP_PATH, Identity
from personal_auth.limits import Limits
from personal_auth.scopes import ALL, READ, RESOURCE_SCOPES, SERVER_SCOPES, STAY

VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}\Z")  # RFC 7636 §4.1

Endpoint = Callable[[Request], Awaitable[Response]]


def refusal(error: Refused) -> JSONResponse:
    """Returns an error answer (RFC 6749 §5.2)."""
    body = {"error": error.code, "error_description": error.description}
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, InvalidClient):
        headers["WWW-Authenticate"] = 'Basic realm="client"'
    if type(error) in {RequestTooLarge, RequestTooSlow}:
        headers["Connection"] = "close"  # the rest of the body is not wanted
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    return JSONResponse(body, error.status, headers)


class Places(Route):
    """Many routes of one address each, found by that address.

    The framework asks every route in turn, those of auth before the one of MCP, at every call. It
    knows the metadata, which alone may be served elsewhere too, by the address of the first.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__(routes[0].path, routes[0].endpoint)
        self._routes = {route.path: route for route in routes}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._routes.get(scope["path"])
        return (Match.NONE, {}) if route is None else route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._routes[scope["path"]].handle(scope, receive, send)


class Endpoints:
    """Serves every route of the authorization server but `/authorize`."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        clients: Clients,
        grants: Grants,
        *,
        can_narrow: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._clients = clients
        self._grants = grants
        self._can_narrow = can_narrow
        self._clock = clock

    def metadata(self) -> list[Route]:
        """Returns the metadata's routes, at every place where a client may look for it."""
        server, path = _published(self.server_metadata), MCP_PATH
        resource = _published(self.resource_metadata)
        known = "/.well-known"
        return [
            Route(f"{known}/oauth-protected-resource{path}", resource),
            Route(f"{known}/oauth-protected-resource", resource),
            Route(f"{known}/oauth-authorization-server", server),
            Route(f"{known}/oauth-authorization-server{path}", server),
            Route(f"{known}/openid-configuration", server),
            Route(f"{known}/openid-configuration{path}", server),
        ]

    def routes(self) -> list[Route]:
        """Returns the other routes."""
        return [
            Route("/register", _refusing(self._register), methods=["POST"]),
            Route("/token", _refusing(self._token), methods=["POST"]),
            Route("/revoke", _refusing(self._revoke), methods=["POST"]),
        ]

    def server_metadata(self) -> dict[str, Any]:
        """Returns the authorization server metadata (RFC 8414 §2)."""
        issuer = self._identity.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "revocation_endpoint": f"{issuer}/revoke",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": self._limits.document_bytes > 0,
            "scopes_supported": [s for s in SERVER_SCOPES if s != READ or self._can_narrow()],
        }

    def resource_metadata(self) -> dict[str, Any]:
        """Returns the protected resource metadata (RFC 9728 §2)."""
        return {
            "resource": self._identity.resource,
            "authorization_servers": [self._identity.issuer],
            "scopes_supported": list(RESOURCE_SCOPES),
            "bearer_methods_supported": ["header"],
        }

    async def _register(self, request: Request) -> Response:
        metadata = await read_json(request, self._limits)
        client, secret = await self._clients.register(metadata)
        answer: dict[str, Any] = {
            "client_id": client.id,
            "client_id_issued_at": int(self._clock()),
            "redirect_uris": list(client.redirect_uris),
            "token_endpoint_auth_method": client.auth_method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": f"{ALL} {STAY}",
        }
        if client.name:
            answer["client_name"] = client.name
        if secret is not None:
            answer |= {"client_secret": secret, "client_secret_expires_at": 0}
        audit.record(Event.REGISTERED, client=client.name)
        return JSONResponse(answer, 201, {"Cache-Control": "no-store"})

    async def _token(self, request: Request) -> Response:
        form = await read_form(request, self._limits)
        client = await self._client(request, form)
        canonical_resource(self._identity, form.every("resource"))
        match form.need("grant_type"):
            case "authorization_code":
                tokens = await self._redeem(form, client)
            case "refresh_token":
                refresh_token, scope = form.need("refresh_token"), form.get("scope")
                tokens = await self._grants.refresh(refresh_token, client, scope)
            case _:
                raise UnsupportedGrantType(
                    "grant_type must be authorization_code or refresh_token."
                )
        return JSONResponse(self._answer(tokens), 200, {"Cache-Control": "no-store"})

    async def _redeem(self, form: Parameters, client: Client) -> Tokens:
        verifier, code = form.need("code_verifier"), form.need("code")
        if not VERIFIER.match(verifier):
            raise InvalidGrant("code_verifier must be 43 to 128 unreserved characters (PKCE).")
        return await self._grants.redeem(code, client, form.get("redirect_uri"), verifier)

    async def _revoke(self, request: Request) -> Response:
        form = await read_form(request, self._limits)
        client = await self._client(request, form)
        await self._grants.revoke_token(form.need("token"), client)
        return JSONResponse({}, 200, {"Cache-Control": "no-store"})

    async def _client(self, request: Request, form: Parameters) -> Client:
        return await self._clients.authenticate(client_credentials(request, form))

    def _answer(self, tokens: Tokens) -> dict[str, Any]:
        return {
            "access_token": tokens.access,
            "token_type": "Bearer",
            "expires_in": max(math.floor(tokens.expires - self._clock()), 0),
            "refresh_token": tokens.refresh,
            "scope": " ".join(tokens.scopes),
        }


def _refusing(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as error:
            audit.refused(error, at=request.scope["path"])
            return refusal(error)

    return answer


def _published(document: Callable[[], dict[str, Any]]) -> Endpoint:
    async def answer(request: Request) -> Response:
        return JSONResponse(document(), headers={"Cache-Control": "public, max-age=300"})

    return answer
