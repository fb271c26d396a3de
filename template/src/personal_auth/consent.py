"""The authorization endpoint: from a client's request to the owner's decision (RFC 6749 §4.1).

GET validates everything, writes nothing and shows the page. POST brings back the page's ticket
and the decision. Only after the owner's proof and Approve is a code made. An error leaves by
redirect never before the owner's decision: until then it is a page.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.background import in_background
from personal_auth.browser import NOTHING, Browser
from personal_auth.clients import Clients
from personal_auth.codes import Approval, Codes
from personal_auth.errors import (
    DocumentUnavailable,
    InvalidClient,
    InvalidDocument,
    InvalidRequest,
    InvalidScope,
    RedirectNotAllowed,
    Refused,
    StoreUnavailable,
    TicketRefused,
    TooManyAttempts,
    WrongPasskey,
    WrongPassword,
)
from personal_auth.forms import Parameters, read_form
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.pages import Pages, Reading, with_wait
from personal_auth.scopes import ALL
from personal_auth.store import Record
from personal_auth.tickets import START_AGAIN, Tickets, Wish

PATH = "/authorize"
DENIED = "The connection was denied on the server's page."
UNKNOWN_CLIENT_STEPS = (
    ("mcp-remote", "Quit the app, delete the folder .mcp-auth in your home folder, start again."),
    ("Claude Code", "Type /mcp, choose this server, then Clear authentication, and sign in again."),
    ("Codex", "Run codex mcp logout and codex mcp login, each with this server’s name."),
    ("any other app", "Remove this server there and add it again."),
)


class Consent:
    """Serves `/authorize`."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        tickets: Tickets,
        clients: Clients,
        codes: Codes,
        browser: Browser,
        pages: Pages,
        *,
        every_host: bool,
        can_narrow: Callable[[], bool],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._tickets = tickets
        self._clients = clients
        self._codes = codes
        self._browser = browser
        self._pages = pages
        self._every_host = every_host
        self._can_narrow = can_narrow

    async def serve(self, request: Request) -> Response:
        """Answers GET with the page and POST with the decision; errors are pages."""
        try:
            if request.method == "POST":
                return await self._decide(request)
            return await self._ask(request)
        except Refused as error:
            audit.refused(error, at=PATH)
            return self._refusal(error)

    def _refusal(self, error: Refused) -> Response:
        """Says what is wrong and what to do; never by redirect, which would be an open one."""
        title, cure = "The app's request is not valid", START_AGAIN
        match error:
            case InvalidDocument():
                title, cure = "This app cannot be identified", "Ask whoever makes the app."
            case InvalidClient():
                return self._unknown_client()
            case RedirectNotAllowed():
                title = "This app may not connect"
                cure = (
                    "If you did not start this, close the page. If you trust the app, allow it:"
                    " docs/clients.md, at its end, says how."
                )
            case TicketRefused():
                title, cure = "This page is out of date", ""
            case StoreUnavailable() | DocumentUnavailable():
                title, cure = "Not possible now", ""
        status = 400 if error.status == 401 else error.status  # no browser is to ask for a login
        page = self._pages.message(status, title, error.description, cure)
        return with_wait(page, error)

    # GET

    async def _ask(self, request: Request) -> Response:
        wish = await self._tickets.read(Parameters(request.scope["query_string"]))
        audit.record(Event.ASKED, **self._names(wish))
        browser = self._browser.cookie(request, "browser") or secrets.token_urlsafe(24)
        return await self._page(request, wish, browser, self._tickets.seal(wish, browser))

    async def _page(
        self,
        request: Request,
        wish: Wish,
        browser: str,
        ticket: str,
        refusal: Refused | None = None,
        *,
        read_only: bool = False,
    ) -> Response:
        proven = await self._browser.has_session(request)
        ways = NOTHING if proven else await self._browser.ways(_bound_to(browser, ticket))
        response = self._pages.consent(
            client_name=wish.client.name,
            verified_host=wish.client.verified_host,
            changed=await self._clients.has_moved(wish.client),
            redirect=wish.redirect,
            ticket=ticket,
            ask_password=ways.password,
            passkey=ways.passkey,
            reading=self._reading(wish, chosen=read_only),
            error=refusal.description if refusal else "",
            password_is_wrong=isinstance(refusal, WrongPassword | TooManyAttempts),
            status=refusal.status if refusal else 200,
        )
        with_wait(response, refusal)
        self._browser.set_cookie(response, "browser", browser, self._limits.session_seconds, PATH)
        return response

    # POST

    async def _decide(self, request: Request) -> Response:
        self._browser.require_own_page(request)
        form = await read_form(request, self._limits)
        browser, text = self._browser.cookie(request, "browser") or "", form.need("ticket")
        wish = await self._tickets.unseal(text, browser)
        decision = form.need("decision")
        if decision not in {"approve", "deny"}:
            raise InvalidRequest("decision must be approve or deny.")
        proven = await self._browser.has_session(request)
        if decision == "deny":
            return await self._denied(wish, proven)
        read_only = form.get("read_only") is not None
        if proven:
            return await self._approved(request, wish, None, read_only=read_only)
        try:
            proof = await self._browser.sign_in(request, form, _bound_to(browser, text))
        except (WrongPassword, WrongPasskey, TooManyAttempts) as error:
            if isinstance(error, TooManyAttempts):  # a wrong one is in the log already
                audit.refused(error, at=PATH)
            return await self._page(request, wish, browser, text, error, read_only=read_only)
        return await self._approved(request, wish, proof, read_only=read_only)

    def _reading(self, wish: Wish, *, chosen: bool) -> Reading:
        offered = self._can_narrow()
        if ALL not in wish.scopes:
            if not offered:
                raise InvalidScope(
                    "The app asks only to read, and this server does not hold apps to reading."
                )
            return Reading.ASKED
        if not offered:
            return Reading.NOT_OFFERED
        return Reading.CHOSEN if chosen else Reading.OFFERED

    async def _approved(
        self, request: Request, wish: Wish, proof: Record | None, *, read_only: bool
    ) -> Response:
        """Answers an approval; by `proof`, if there is one, the browser is known from now on."""
        approval = Approval(
            wish.client,
            wish.redirect.uri,
            wish.challenge,
            wish.scopes,
            wish.nonce,
            read_only=read_only and ALL in wish.scopes,
        )
        code = await self._codes.issue(approval)
        response = self._done() if code is None else self._redirect(wish, code=code)
        if code is not None:
            await self._clients.keep(wish.client)
        if proof is not None:
            await self._browser.remember(request, response, PATH, proof)  # in one file one write
        await self._codes.settle()
        if code is not None:
            self._watch(code, wish)
        return response

    def _done(self) -> Response:
        return self._pages.message(
            200, "Done", "The app is connected already; you can close this page."
        )

    def _watch(self, code: str, wish: Wish) -> None:
        """Says that a connection was approved, and later if its client never came back."""
        audit.record(Event.APPROVED, **self._names(wish))
        asyncio.get_running_loop().call_later(
            self._limits.code_seconds, lambda: in_background(self._look_after(code, wish))
        )

    async def _denied(self, wish: Wish, proven: bool) -> Response:
        if proven:
            await self._codes.withdraw(wish.nonce)
        by = "owner" if proven else "anybody"
        audit.record(Event.DENIED, by=by, **self._names(wish))
        if self._every_host and not proven:  # anybody's host: not ours to send browsers to
            return self._pages.message(200, "Denied", "Nothing was connected; close this page.")
        return self._redirect(wish, error="access_denied", error_description=DENIED)

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

    async def _look_after(self, code: str, wish: Wish) -> None:
        if await self._codes.is_unredeemed(code):
            hint = "The client never came back for its code; docs/troubleshooting.md says why."
            audit.record(Event.NOT_REDEEMED, hint, **self._names(wish))

    def _names(self, wish: Wish) -> dict[str, str]:
        """Returns what the log says of a request; the grant is there once it is approved."""
        grant = self._codes.id_of(wish.nonce)
        return {"grant": grant, "client": wish.client.name, "to": wish.redirect.host}

    def _unknown_client(self) -> Response:
        return self._pages.message(
            400,
            "This server does not know the app",
            "The app uses a registration that this server never made or has lost. Nothing was"
            " connected.",
            "If you started this yourself, let the app forget this server and begin anew. If not,"
            " close this page.",
            steps=UNKNOWN_CLIENT_STEPS,
        )


def _bound_to(browser: str, ticket: str) -> str:
    """Returns what a passkey's answer is bound to: this browser, and what is asked on this page."""
    return f"{browser} {ticket}"
