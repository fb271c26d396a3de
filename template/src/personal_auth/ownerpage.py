"""The owner's page: what is connected to the server, and every way to cut it.

Only the owner's session opens it, never a bearer token. Each form is a POST that must come from
this page (Origin or Sec-Fetch-Site), whatever cookies come with it. On https the session is a
cookie and a POST is answered by 303; on plain loopback every form carries the session, and the
answer is the page itself.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personal_auth import audit
from personal_auth.browser import Browser
from personal_auth.errors import (
    PasswordUnfit,
    Refused,
    StoreUnavailable,
    TooManyAttempts,
    WrongPassword,
)
from personal_auth.forms import Parameters, read_form
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.owneractions import SAID, Actions
from personal_auth.pages import Pages, with_wait
from personal_auth.service import Service

PATH = "/owner"
SAID_SECONDS = 60
SIGNED_OUT = "You are signed out. Nothing was changed: sign in, then do it again."


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
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._service = service
        self._owner = service.owner
        self._browser = browser
        self._pages = pages
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
        title, cure = "That was not possible", "Open this server’s page /owner again."
        if isinstance(error, StoreUnavailable):
            title, cure = "Not possible now", ""
        page = self._pages.message(error.status, title, error.description, cure)
        return with_wait(page, error)

    async def _look(self, request: Request) -> Response:
        session = await self._browser.session(request)
        if session is None:
            return self._pages.sign_in()
        said = self._browser.cookie(request, "said")
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
            return self._pages.sign_in(SIGNED_OUT, status=403)
        if do == "sign-out":
            return await self._sign_out(session)
        try:
            said = await self._actions.do(do, form)
        except PasswordUnfit as error:
            audit.refused(error, at=PATH)
            return await self._page(session, refusal=error)
        if said == "password-changed":  # which ended this session as well
            return await self._signed_in(request, session, said)
        return await self._done(session, said)

    async def _sign_in(self, request: Request, form: Parameters) -> Response:
        earlier = form.get("session")
        try:
            await self._browser.sign_in(request, form)
        except (WrongPassword, TooManyAttempts) as error:
            if isinstance(error, TooManyAttempts):  # a wrong one is in the log already
                audit.refused(error, at=PATH)
            page = self._pages.sign_in(refusal=error, session=self._carried(earlier))
            return with_wait(page, error)
        return await self._signed_in(request, earlier)

    async def _signed_in(
        self, request: Request, earlier: str | None, said: str | None = None
    ) -> Response:
        """Answers with a new session in place of the browser's earlier one."""
        session = None
        if not self._identity.secure:
            session = await self._owner.new_session(earlier)
        response = await self._done(session, said)
        await self._browser.remember(request, response, PATH)
        return response

    async def _sign_out(self, session: str) -> Response:
        await self._owner.end_session(session)
        if not self._identity.secure:
            return self._pages.sign_in()
        response: Response = self._see_page()
        self._browser.set_cookie(response, "session", "", 0, PATH)
        return response

    async def _done(self, session: str | None, said: str | None) -> Response:
        if not self._identity.secure:
            return await self._page(session, said)
        response = self._see_page()
        if said is not None:
            self._browser.set_cookie(response, "said", said, SAID_SECONDS, PATH)
        return response

    def _see_page(self) -> Response:
        return RedirectResponse(PATH, 303, {"Cache-Control": "no-store"})

    async def _page(
        self, session: str | None, said: str | None = None, refusal: Refused | None = None
    ) -> Response:
        return self._pages.owner(
            status=refusal.status if refusal else 200,
            session=self._carried(session),
            now=self._clock(),
            resource=self._identity.resource,
            connections=await self._service.connections.listed(),
            can_narrow=self._service.can_narrow,
            own_password=not self._owner.is_configured,
            least_password=self._limits.new_password_chars,
            said=SAID.get(said or "", ""),
            error=refusal.description if refusal else "",
        )

    def _carried(self, session: str | None) -> str:
        """Returns what the page's forms have to bring back of a session."""
        return "" if self._identity.secure or session is None else session
