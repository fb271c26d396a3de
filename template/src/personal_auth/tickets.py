"""What an authorization request asks for, and how it comes back with the owner's decision.

Nothing is kept here between the two: what was validated is sealed into a ticket that the consent
page carries, bound to the browser by the hash of its cookie. It is validated again when it comes
back, so nothing that a browser submits names a client, a redirect URI or a scope.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from personal_auth.client import Client
from personal_auth.clients import Clients
from personal_auth.errors import InvalidRequest, TicketRefused
from personal_auth.forms import Parameters
from personal_auth.grants import canonical_resource
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.owner import browser_hash
from personal_auth.redirects import Redirect, check
from personal_auth.scopes import granted
from personal_auth.sealing import BrokenSeal, Sealer, same

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # base64url of a SHA-256 (RFC 7636 §4.2)
START_AGAIN = "Go back to the app and start connecting again."


@dataclass(frozen=True, slots=True)
class Wish:
    """A validated authorization request."""

    client: Client
    redirect: Redirect
    state: str | None
    challenge: str
    scopes: tuple[str, ...]
    nonce: str


class Tickets:
    """Reads authorization requests, and seals them for the way through the browser."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        clients: Clients,
        sealer: Callable[[], Sealer],
        *,
        clock: Callable[[], float],
        allowed: Collection[str] | None,
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._clients = clients
        self._sealer = sealer
        self._clock = clock
        self._allowed = allowed

    async def read(self, parameters: Parameters) -> Wish:
        """Returns what an authorization request asks for (RFC 6749 §4.1.1, RFC 7636 §4.3).

        Raises:
            Refused: It is malformed, of an unknown client, or for a redirect URI that may not be.
        """
        if parameters.need("response_type") != "code":
            raise InvalidRequest("response_type must be code.")
        if parameters.get("code_challenge_method") != "S256":
            raise InvalidRequest("code_challenge_method must be S256 (PKCE).")
        canonical_resource(self._identity, parameters.every("resource"))
        return await self._validated(
            client_id=parameters.need("client_id"),
            redirect_uri=parameters.get("redirect_uri"),
            state=parameters.get("state"),
            challenge=parameters.get("code_challenge"),
            scopes=granted(parameters.get("scope")),
            nonce=secrets.token_urlsafe(24),
        )

    def seal(self, wish: Wish, browser: str) -> str:
        """Returns a ticket for one browser, named by its cookie; `Limits.ticket_seconds` long."""
        ticket: dict[str, Any] = {
            "client_id": wish.client.id,
            "redirect_uri": wish.redirect.uri,
            "state": wish.state,
            "challenge": wish.challenge,
            "scopes": wish.scopes,
            "nonce": wish.nonce,
            "browser": browser_hash(browser),
            "exp": self._clock() + self._limits.ticket_seconds,
        }
        return self._sealer().seal("ticket", ticket)

    async def unseal(self, text: str, browser: str) -> Wish:
        """Returns what a ticket asks for, when the same browser brings it back in time.

        Raises:
            TicketRefused: It was altered, is too old, or another browser's.
            Refused: What it asks for may not be any more.
        """
        try:
            ticket = self._sealer().unseal("ticket", text)
        except BrokenSeal as error:
            raise TicketRefused(f"It was altered on its way. {START_AGAIN}") from error
        if self._clock() >= ticket["exp"]:
            minutes = self._limits.ticket_seconds // 60
            raise TicketRefused(f"It is older than {minutes} minutes. {START_AGAIN}")
        if not same(ticket["browser"], browser_hash(browser)):
            raise TicketRefused(
                f"It was made for another browser, or this one keeps no cookies. {START_AGAIN}"
            )
        return await self._validated(
            client_id=ticket["client_id"],
            redirect_uri=ticket["redirect_uri"],
            state=ticket["state"],
            challenge=ticket["challenge"],
            scopes=tuple(ticket["scopes"]),
            nonce=ticket["nonce"],
        )

    async def _validated(
        self,
        *,
        client_id: str,
        redirect_uri: str | None,
        state: str | None,
        challenge: str | None,
        scopes: tuple[str, ...],
        nonce: str,
    ) -> Wish:
        if state is not None and len(state) > self._limits.state_chars:
            raise InvalidRequest(f"state has more than {self._limits.state_chars} characters.")
        if challenge is None or not CHALLENGE.match(challenge):
            raise InvalidRequest("code_challenge must be 43 characters of base64url (PKCE).")
        client = await self._clients.asking(client_id)  # last: it may have to ask another host
        if redirect_uri is None:
            if len(client.redirect_uris) != 1:
                raise InvalidRequest("The parameter redirect_uri is missing.")
            redirect_uri = client.redirect_uris[0]
        redirect = check(redirect_uri, client.redirect_uris, self._allowed)
        return Wish(client, redirect, state, challenge, scopes, nonce)
