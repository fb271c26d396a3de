"""The authorization endpoint: from a client's request to the owner's decision (RFC 6749 §4.1).

GET validates everything and writes nothing; what was validated is sealed into a ticket that the
page carries, bound to the browser by a cookie. POST takes the ticket back and validates again, so
nothing that the browser submits names a client, a redirect URI or a scope. Only after the owner's
proof and Approve is a code made. An error leaves by redirect never before the owner's decision:
until then it is a page.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.clients import Client, Clients
from personal_auth.errors import (
    InvalidClient,
    InvalidRequest,
    RedirectNotAllowed,
    Refused,
    StoreUnavailable,
    TicketRefused,
    TooManyAttempts,
    WrongPassword,
)
from personal_auth.forms import Parameters, read_cookie, read_form
from personal_auth.grants import Approval, Grants, canonical_resource
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.owner import Owner, browser_hash
from personal_auth.pages import Pages
from personal_auth.redirects import Redirect, check
from personal_auth.scopes import granted
from personal_auth.sealing import BrokenSeal, Sealer, same
from personal_auth.store import in_background

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


class Consent:
    """Serves `/authorize`."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        clients: Clients,
        grants: Grants,
        owner: Owner,
        pages: Pages,
        sealer: Callable[[], Sealer],
        *,
        clock: Callable[[], float],
        allowed: Collection[str] | None,
        address: Callable[[Request], str],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._clients = clients
        self._grants = grants
        self._owner = owner
        self._pages = pages
        self._sealer = sealer
        self._clock = clock
        self._allowed = allowed
        self._address = address

    async def serve(self, request: Request) -> Response:
        """Answers GET with the page and POST with the decision; errors are pages."""
        try:
            if request.method == "POST":
                return await self._decide(request)
            return await self._ask(request)
        except InvalidClient:
            return self._unknown_client()
        except RedirectNotAllowed as error:
            return self._pages.message(
                400,
                "This app may not connect",
                error.description,
                "If you did not start this, close the page. If you trust the app, allow it:"
                " docs/clients.md, at its end, says how.",
            )
        except TicketRefused as error:
            return self._pages.message(400, "This page is out of date", error.description)
        except StoreUnavailable as error:
            page = self._pages.message(503, "Not possible now", error.description)
            page.headers["Retry-After"] = str(error.retry_after)
            return page
        except Refused as error:
            return self._pages.message(
                error.status, "The app's request is not valid", error.description, START_AGAIN
            )

    # GET

    async def _ask(self, request: Request) -> Response:
        parameters = Parameters(request.scope["query_string"])
        wish = await self._validated(
            client_id=parameters.need("client_id"),
            redirect_uri=parameters.get("redirect_uri"),
            state=parameters.get("state"),
            challenge=parameters.get("code_challenge"),
            scopes=granted(parameters.get("scope")),
            nonce=secrets.token_urlsafe(24),
        )
        if parameters.need("response_type") != "code":
            raise InvalidRequest("response_type must be code.")
        if parameters.get("code_challenge_method") != "S256":
            raise InvalidRequest("code_challenge_method must be S256 (PKCE).")
        canonical_resource(self._identity, parameters.every("resource"))
        browser = self._cookie(request, "browser") or secrets.token_urlsafe(24)
        return await self._page(request, wish, browser, self._ticket(wish, browser))

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
        client = await self._clients.find(client_id)
        if redirect_uri is None:
            if len(client.redirect_uris) != 1:
                raise InvalidRequest("The parameter redirect_uri is missing.")
            redirect_uri = client.redirect_uris[0]
        redirect = check(redirect_uri, client.redirect_uris, self._allowed)
        if state is not None and len(state) > self._limits.state_chars:
            raise InvalidRequest(f"state has more than {self._limits.state_chars} characters.")
        if challenge is None or not CHALLENGE.match(challenge):
            raise InvalidRequest("code_challenge must be 43 characters of base64url (PKCE).")
        return Wish(client, redirect, state, challenge, scopes, nonce)

    def _ticket(self, wish: Wish, browser: str) -> str:
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

    async def _page(
        self,
        request: Request,
        wish: Wish,
        browser: str,
        ticket: str,
        refusal: Refused | None = None,
    ) -> Response:
        response = self._pages.consent(
            client_name=wish.client.name,
            redirect=wish.redirect,
            ticket=ticket,
            ask_password=not await self._owner.has_session(self._cookie(request, "session")),
            error=refusal.description if refusal else "",
            status=refusal.status if refusal else 200,
        )
        if isinstance(refusal, TooManyAttempts):
            response.headers["Retry-After"] = str(refusal.retry_after)
        self._set_cookie(response, "browser", browser, self._limits.session_seconds)
        return response

    # POST

    async def _decide(self, request: Request) -> Response:
        self._require_own_page(request)
        form = await read_form(request, self._limits)
        browser, text = self._cookie(request, "browser") or "", form.need("ticket")
        wish = await self._from_ticket(text, browser)
        decision = form.need("decision")
        if decision not in {"approve", "deny"}:
            raise InvalidRequest("decision must be approve or deny.")
        proven = await self._owner.has_session(self._cookie(request, "session"))
        if decision == "deny":
            return self._denied(wish, proven)
        if not proven:
            try:
                await self._sign_in(request, form.get("password"))
            except (WrongPassword, TooManyAttempts) as error:
                return await self._page(request, wish, browser, text, error)
        response = await self._approved(wish)
        if not proven:
            await self._remember(request, response)
        return response

    def _require_own_page(self, request: Request) -> None:
        origin = request.headers.get("origin")
        own = origin == self._identity.origin or (
            origin is None and request.headers.get("sec-fetch-site") == "same-origin"
        )
        if not own:
            raise InvalidRequest(
                f"The form was not sent from {self._identity.origin}: open that address, not"
                " another name of this server."
            )

    async def _from_ticket(self, text: str, browser: str) -> Wish:
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

    async def _sign_in(self, request: Request, password: str | None) -> None:
        if password is None:
            raise WrongPassword("Enter the password of this server to approve.")
        device = self._cookie(request, "device")
        await self._owner.sign_in(password, self._address(request), device)

    async def _approved(self, wish: Wish) -> Response:
        approval = Approval(wish.client, wish.redirect.uri, wish.challenge, wish.scopes, wish.nonce)
        code = await self._grants.issue_code(approval)
        if code is None:
            return self._pages.message(
                200, "Done", f"{wish.client.name or 'The app'} is connected; close this page."
            )
        await self._clients.keep(wish.client)
        audit.record(Event.APPROVED, client=wish.client.name, to=wish.redirect.host)
        asyncio.get_running_loop().call_later(
            self._limits.code_seconds,
            lambda: in_background(self._look_after(code, wish.client.name)),
        )
        return self._redirect(wish, code=code)

    def _denied(self, wish: Wish, proven: bool) -> Response:
        if proven:  # anybody may press Deny, and the log is not theirs to write
            audit.record(Event.DENIED, client=wish.client.name, to=wish.redirect.host)
        if self._allowed is None and not proven:  # anybody's host: not ours to send browsers to
            return self._pages.message(200, "Denied", "Nothing was connected; close this page.")
        return self._redirect(wish, error="access_denied")

    def _redirect(self, wish: Wish, **answer: str) -> Response:
        parameters = {**answer, "iss": self._identity.issuer}  # RFC 9207
        if wish.state is not None:
            parameters["state"] = wish.state
        # 303, so that the browser goes on with GET; a 307 would repeat the POST at the client's.
        return Response(
            status_code=303,
            headers={
                "Location": wish.redirect.answered(parameters),
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            },
        )

    async def _remember(self, request: Request, response: Response) -> None:
        session = await self._owner.new_session(self._cookie(request, "session"))
        self._set_cookie(response, "session", session, self._limits.session_seconds)
        device = await self._owner.new_device(self._cookie(request, "device"))
        self._set_cookie(response, "device", device, self._limits.device_seconds)

    async def _look_after(self, code: str, client_name: str) -> None:
        if await self._grants.is_unredeemed(code):
            hint = "The client never came back for its code; docs/troubleshooting.md says why."
            audit.record(Event.NOT_REDEEMED, hint, client=client_name)

    def _unknown_client(self) -> Response:
        return self._pages.message(
            400,
            "This server does not know the app",
            "The app remembers a registration from another time or another server.",
            "Remove this server in the app and add it again. For mcp-remote delete the folder"
            " ~/.mcp-auth, then start it again.",
        )

    def _cookie(self, request: Request, name: str) -> str | None:
        return read_cookie(request, self._identity.cookie(name))

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._identity.cookie(name),
            value,
            max_age=seconds,
            path="/" if self._identity.secure else "/authorize",
            secure=self._identity.secure,
            httponly=True,
            samesite="lax",
        )
