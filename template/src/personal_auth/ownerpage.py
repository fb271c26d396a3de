"""The owner's page: what is connected to the server, and every way to cut it.

Only the owner's session opens it, never a bearer token. Each form is a POST that must come from
this page (Origin or Sec-Fetch-Site), whatever cookies come with it. On https the session is a
cookie and a POST is answered by 303; on plain loopback every form carries the session, and the
answer is the page itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personal_auth import audit
from personal_auth.browser import Browser
from personal_auth.errors import (
    PasswordUnfit,
    Refused,
    StoreUnavailable,
    TooManyAttempts,
    WrongPasskey,
    WrongPassword,
)
from personal_auth.forms import Parameters, read_form
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.owneractions import NEED_A_FRESH_SIGN_IN, SAID, Actions
from personal_auth.ownerview import Overview
from personal_auth.pages import Pages, with_wait
from personal_auth.service import Service
from personal_auth.trail import Trail, TrailUnreadable
from personal_auth.trailview import Line, lines

PATH = "/owner"
SAID_SECONDS = 60
SHOWN_LINES = 50
LOOKED_AT = 500  # entries: what strangers cause again and again is one line
SIGNED_OUT = "You are signed out. Nothing was changed: sign in, then do it again."
SIGN_IN_AGAIN = "Sign in again to do this. Nothing was changed."


class OwnerPage:
    """Serves `/owner`."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        service: Service,
        browser: Browser,
        pages: Pages,
        *,
        trail: Trail | None,
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._service = service
        self._owner = service.owner
        self._browser = browser
        self._pages = pages
        self._trail = trail
        self._clock = clock
        self._actions = Actions(service, limits)

    async def serve(self, request: Request) -> Response:
        """Answers GET with the page, or where to sign in, and POST with what came of a form."""
        try:
            if request.method == "POST":
                return await self._act(request)
            return await self._look(request)
        except Refused as error:
            audit.refused(error, at=PATH)
            return self._refusal(error)

    def _refusal(self, error: Refused) -> Response:
        away = isinstance(error, StoreUnavailable)
        title = "Not possible now" if away else "That was not possible"
        page = self._pages.message(error.status, title, error.description, back=PATH)
        return with_wait(page, error)

    async def _look(self, request: Request) -> Response:
        session = await self._browser.session(request)
        said = self._browser.cookie(request, "said")
        if session is None:
            response = await self._ask_to_sign_in(request, SAID.get(said or "", ""))
        else:
            response = await self._page(session, said)
        if said is not None:
            self._browser.set_cookie(response, "said", "", 0, PATH)
        return response

    async def _act(self, request: Request) -> Response:
        self._browser.require_own_page(request)
        form = await read_form(request, self._limits)
        do = form.need("do")
        if do == "sign-in":
            return await self._sign_in(request, form)
        session = await self._browser.session(request, form)
        if session is None:
            return await self._ask_to_sign_in(request, SIGNED_OUT, status=403)
        if do == "sign-out":
            return await self._sign_out(request, session)
        if do in NEED_A_FRESH_SIGN_IN and not await self._owner.sessions.is_fresh(session):
            return await self._ask_to_sign_in(request, SIGN_IN_AGAIN, session, status=403)
        try:
            said = await self._actions.do(do, form, session)
        except (PasswordUnfit, WrongPasskey) as error:
            audit.refused(error, at=PATH)
            return await self._page(session, refusal=error)
        return await self._done(request, session, said)

    async def _ask_to_sign_in(
        self,
        request: Request,
        why: str = "",
        session: str | None = None,
        *,
        refusal: Refused | None = None,
        status: int = 200,
    ) -> Response:
        browser = self._browser.cookie(request, "browser") or secrets.token_urlsafe(24)
        ways = await self._browser.ways(_bound_to(browser))
        response = self._pages.sign_in(
            ask_password=ways.password,
            passkey=ways.passkey,
            why=why,
            session=self._carried(session),
            refusal=refusal,
            status=status,
        )
        if ways.passkey is not None:
            seconds = self._limits.session_seconds
            self._browser.set_cookie(response, "browser", browser, seconds, PATH)
        return with_wait(response, refusal)

    async def _sign_in(self, request: Request, form: Parameters) -> Response:
        earlier = form.get("session")
        bound_to = _bound_to(self._browser.cookie(request, "browser") or "")
        try:
            proof = await self._browser.sign_in(request, form, bound_to)
        except (WrongPassword, WrongPasskey, TooManyAttempts) as error:
            if isinstance(error, TooManyAttempts):  # a wrong one is in the log already
                audit.refused(error, at=PATH)
            return await self._ask_to_sign_in(request, session=earlier, refusal=error)
        if self._identity.secure:
            response = self._see_page()
        else:
            session = await self._browser.open_session(request, earlier, proof)
            response = await self._page(session)
        await self._browser.remember(request, response, PATH, proof)
        return response

    async def _sign_out(self, request: Request, session: str) -> Response:
        await self._owner.sessions.close(session)
        response = await self._done(request, session, "signed-out")
        if self._identity.secure:
            self._browser.set_cookie(response, "session", "", 0, PATH)
        return response

    async def _done(self, request: Request, session: str, said: str) -> Response:
        if self._identity.secure:
            return self._see_page(said)
        if not await self._owner.sessions.holds(session):  # it ended by what was done
            return await self._ask_to_sign_in(request, SAID[said])
        return await self._page(session, said)

    def _see_page(self, said: str | None = None) -> Response:
        response = RedirectResponse(PATH, 303, {"Cache-Control": "no-store"})
        if said is not None:
            self._browser.set_cookie(response, "said", said, SAID_SECONDS, PATH)
        return response

    async def _page(
        self, session: str, said: str | None = None, refusal: Refused | None = None
    ) -> Response:
        return self._pages.owner(
            await self._overview(session),
            session=self._carried(session),
            said=SAID.get(said or "", ""),
            refusal=refusal,
        )

    async def _overview(self, session: str) -> Overview:
        owner, connections = self._owner, await self._service.connections.listed()
        fresh = not owner.keyring.obstacle and await owner.sessions.is_fresh(session)
        trail, trouble = await self._lines({each.id: each.name for each in connections})
        return Overview(
            now=self._clock(),
            resource=self._identity.resource,
            connections=connections,
            can_narrow=self._service.can_narrow,
            sessions=await owner.sessions.listed(session),
            passkeys=await owner.keyring.listed(),
            passkey_obstacle=owner.keyring.obstacle,
            new_passkey=await owner.passkeys.enrol_offer(session) if fresh else None,
            password_is_on=await owner.password_is_on(),
            password_is_stored=not owner.is_configured,
            least_password=self._limits.new_password_chars,
            trail=trail,
            trail_trouble=trouble,
        )

    async def _lines(self, names: Mapping[str, str]) -> tuple[list[Line] | None, str]:
        """Returns what the page shows of the trail, and why it cannot."""
        if self._trail is None:
            return None, ""
        try:
            entries = await asyncio.to_thread(self._trail.read, limit=LOOKED_AT)
        except TrailUnreadable as error:
            return [], str(error)
        return lines(entries, names, SHOWN_LINES), ""

    def _carried(self, session: str | None) -> str:
        """Returns what the page's forms have to bring back of a session."""
        return "" if self._identity.secure or session is None else session


def _bound_to(browser: str) -> str:
    """Returns what a passkey's answer is bound to: this browser, and this page."""
    return f"{browser} {PATH}"
