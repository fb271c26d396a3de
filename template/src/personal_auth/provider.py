"""How FastMCP sees us: `PersonalAuthProvider`.

The constructor only looks at its arguments. FastMCP asks for the middleware and then, once, for
the routes, before the port is bound: there the state is opened, and a refusal is one sentence and
exit code 2.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastmcp.server.auth import AccessToken, AuthProvider
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Scope

from personal_auth import audit
from personal_auth.addresses import client_address, is_in, is_shared, network
from personal_auth.audit import Event
from personal_auth.browser import Browser
from personal_auth.consent import PATH as AUTHORIZE_PATH
from personal_auth.consent import Consent
from personal_auth.endpoints import Endpoints, Places
from personal_auth.errors import InvalidToken, StartRefused
from personal_auth.front import Front
from personal_auth.grants import Connection
from personal_auth.headers import Headers
from personal_auth.identity import MCP_PATH, Identity
from personal_auth.limits import Limits
from personal_auth.outside import Assertions, Fetcher
from personal_auth.owner import check_configured
from personal_auth.ownerpage import PATH as OWNER_PATH
from personal_auth.ownerpage import OwnerPage
from personal_auth.pages import Pages
from personal_auth.plan import Plan
from personal_auth.registration import by_the_owner
from personal_auth.service import Service
from personal_auth.statedir import StateDir
from personal_auth.store import KeyValue
from personal_auth.tickets import Tickets
from personal_auth.trail import Trail

DEFAULT_REDIRECT_DOMAINS = ("claude.ai", "claude.com", "localhost")
SHORT_PASSWORD_CHARS = 12

logger = logging.getLogger("personal_auth")


class PersonalAuthProvider(AuthProvider):
    """An OAuth 2.1 authorization server whose only user is the server's owner.

    Args:
        base_url: The public URL, exactly as clients reach it: `https://host`, or `http://` on a
            loopback address. Without its trailing slash it is the issuer (RFC 8414 §2).
        password: The owner's password, plain or as an argon2id hash. None takes `MCP_PASSWORD`
            from the environment; without that one is generated at the first start, shown once.
        allowed_redirect_domains: Hosts that may receive a code; `localhost` stands for every
            loopback address. None allows all. It never decides who may approve.
        access_token_expiry_seconds: How long an access token lives; 30 days.
        state_dir: The directory of the state file; one server per directory.
        client_storage: Any py-key-value `AsyncKeyValue` to keep the state in instead.
        refresh_token_expiry_seconds: How long an unused refresh token lives; None for ever.
        limits: Every other bound.
        server_name: What the pages call this server.
        clients: Clients that the owner names: mappings with `client_id`, `redirect_uris`, and when
            wanted `client_secret` and `client_name`.
        trusted_proxies: Addresses or networks whose `X-Forwarded-For` is believed.
        clock: Returns the POSIX time in seconds.
        trail: Where calls and the events of the gate are kept; opened and closed with the server.

    Raises:
        ValueError: An argument is malformed; the message is one sentence.
    """

    def __init__(
        self,
        base_url: str,
        password: str | None = None,
        allowed_redirect_domains: Sequence[str] | None = DEFAULT_REDIRECT_DOMAINS,
        access_token_expiry_seconds: int = 30 * 24 * 60 * 60,  # 30 days
        state_dir: str | os.PathLike[str] = ".oauth-state",
        client_storage: KeyValue | None = None,
        refresh_token_expiry_seconds: int | None = None,
        limits: Limits | None = None,
        server_name: str | None = None,
        *,
        clients: Sequence[Mapping[str, Any]] = (),
        trusted_proxies: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        trail: Trail | None = None,
    ) -> None:
        self.identity = Identity.of(str(base_url))
        super().__init__(base_url=self.identity.issuer, required_scopes=[])
        self._limits = limits or Limits()
        self._clock = clock
        self.trail = trail
        self._server_name = server_name
        self._allowed = _redirect_domains(allowed_redirect_domains)
        self._forwarded_is_told = False
        self._proxies = tuple(network(proxy) for proxy in trusted_proxies)
        self._state_dir = StateDir(Path(state_dir))
        self.service = Service(
            Plan(
                identity=self.identity,
                limits=self._limits,
                state_dir=self._state_dir,
                storage=client_storage,
                password=_password(password),
                access_seconds=_seconds("access_token_expiry_seconds", access_token_expiry_seconds),
                refresh_seconds=refresh_token_expiry_seconds
                and _seconds("refresh_token_expiry_seconds", refresh_token_expiry_seconds),
                load=lambda: self._load_state(),
                save=self._save_snapshot,
                clock=clock,
                fetch=Fetcher(self._limits).fetch,
                prove=Assertions(self.identity).check,
                own_clients=by_the_owner(clients, self._allowed),
                trail=trail,
            )
        )

    # The hooks of the file store

    def _load_state(self) -> dict[str, Any] | None:
        """Returns the stored state, None when there is none; may be overridden."""
        return self._state_dir.read()

    def _save_state(self, state: dict[str, Any]) -> None:
        """Stores the whole state so that it survives a power loss; may be overridden."""
        self._state_dir.write(json.dumps(state).encode())

    def _save_snapshot(self, raw: bytes) -> None:
        if type(self)._save_state is PersonalAuthProvider._save_state:
            self._state_dir.write(raw)  # the same, without taking the bytes apart again
        else:
            self._save_state(json.loads(raw))

    # What FastMCP asks for

    def get_middleware(self) -> list[Middleware]:
        """Returns the middleware that stands before every route."""
        front = Middleware(
            Front,
            identity=self.identity,
            limits=self._limits,
            check=self.service.check,
            admit=_admit,
            address=self._address,
            start=self.service.state.try_to_start,
            stop=self.service.stop,
        )
        return [front, Middleware(AuthContextMiddleware)]

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        """Opens the state and returns the routes of the authorization server.

        Raises:
            SystemExit: The server must not start; the reason was printed, the code is 2.
        """
        if (mcp_path or MCP_PATH) != MCP_PATH:
            _refuse(StartRefused(f"The MCP endpoint must be at {MCP_PATH}, not at {mcp_path}."))
        self.set_mcp_path(MCP_PATH)
        try:
            self.service.state.open()
        except StartRefused as error:
            _refuse(error)
        service, limits = self.service, self._limits
        endpoints = Endpoints(
            self.identity,
            limits,
            service.clients,
            service.grants,
            can_narrow=lambda: service.can_narrow,
            clock=self._clock,
        )
        tickets = Tickets(
            self.identity,
            limits,
            service.clients,
            service.sealer,
            clock=self._clock,
            allowed=self._allowed,
        )
        browser = Browser(self.identity, limits, service.owner)
        pages = Pages(self.identity, self._server_name)
        consent = Consent(
            self.identity,
            limits,
            tickets,
            service.clients,
            service.grants.codes,
            browser,
            pages,
            every_host=self._allowed is None,
            can_narrow=lambda: service.can_narrow,
        )
        owner_page = OwnerPage(
            self.identity, limits, service, browser, pages, trail=self.trail, clock=self._clock
        )
        routes = [
            *endpoints.routes(),
            Route(AUTHORIZE_PATH, consent.serve, methods=["GET", "POST"]),
            Route(OWNER_PATH, owner_page.serve, methods=["GET", "POST"]),
        ]
        return [Places(endpoints.metadata()), Places(routes)]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns what FastMCP knows of a live access token, None for any other."""
        try:
            return _access_token(await self.service.check(token))
        except InvalidToken:
            return None

    def _address(self, scope: Scope, headers: Headers) -> str:
        peer: str = scope["client"][0] if scope.get("client") else ""
        if b"x-forwarded-for" not in headers:
            return peer
        may_be_a_proxy = not self._proxies or (is_shared(peer) and not is_in(peer, self._proxies))
        if may_be_a_proxy and not self._forwarded_is_told:
            self._forwarded_is_told = True
            audit.record(
                Event.NOT_BELIEVED,
                "A proxy seems to stand in front: name it as a trusted proxy (MCP_TRUSTED_PROXIES),"
                " or everybody counts as one address.",
                peer=peer,
            )
        return client_address(peer, headers.every(b"x-forwarded-for"), self._proxies)


def _admit(scope: Scope, connection: Connection) -> None:
    # Made anew at each request: tools get these very objects, and may change them.
    scope["auth"] = AuthCredentials(list(connection.scopes))
    scope["user"] = AuthenticatedUser(_access_token(connection))


def _access_token(connection: Connection) -> AccessToken:
    # Tools can ask FastMCP for this object; the token itself is not theirs to see or to log.
    return AccessToken(
        token=f"grant:{connection.grant_id}",
        client_id=connection.client_id,
        scopes=list(connection.scopes),
        expires_at=int(connection.expires),
        subject="owner",
        claims={
            "client_name": connection.client_name,
            "grant_id": connection.grant_id,
            "read_only": connection.read_only,
        },
    )


def _password(given: str | None) -> str | None:
    if given == "":
        raise ValueError("password must not be empty: leave it out to have one generated.")
    password = given or os.environ.get("MCP_PASSWORD") or None
    if password is None:
        return None
    try:
        check_configured(password)
    except ValueError as error:
        raise ValueError(f"The password is refused: {error}.") from None
    if len(password) < SHORT_PASSWORD_CHARS:
        logger.warning(
            "The password has %d characters and guards everything behind this server:"
            " choose at least %d.",
            len(password),
            SHORT_PASSWORD_CHARS,
        )
    return password


def _redirect_domains(given: Sequence[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    if isinstance(given, str):
        raise ValueError('allowed_redirect_domains must be a list, such as ["claude.ai"].')
    return frozenset(domain.strip().lower() for domain in given)


def _seconds(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1 second, not {value}.")
    return value


def _refuse(error: StartRefused) -> None:
    print(error, file=sys.stderr, flush=True)
    raise SystemExit(2)
