"""How a browser proves that it is the owner's: its cookies, and that a form came from our page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from personal_auth.addresses import caller
from personal_auth.errors import InvalidRequest, WrongPasskey, WrongPassword
from personal_auth.forms import Parameters, read_cookie
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.owner import Owner
from personal_auth.passkeys import Offer
from personal_auth.store import Record


@dataclass(frozen=True, slots=True)
class Ways:
    """How the owner can sign in on a page."""

    password: bool
    passkey: Offer | None = None


NOTHING = Ways(password=False)  # of a browser that has proven the owner


class Browser:
    """Reads and sets the cookies of one server's pages.

    `browser` binds a page to the browser that it was shown in, `session` proves the owner, and
    `device` says that the owner has signed in there before.
    """

    def __init__(self, identity: Identity, limits: Limits, owner: Owner) -> None:
        self._identity = identity
        self._limits = limits
        self._owner = owner

    def require_own_page(self, request: Request) -> None:
        """Sees that a form was sent from one of our pages, whatever cookies came with it.

        Raises:
            InvalidRequest: Another page, or a program, sent it.
        """
        origins = request.headers.getlist("origin")
        own = origins == [self._identity.origin] or (
            not origins and request.headers.get("sec-fetch-site") == "same-origin"
        )
        if not own:
            raise InvalidRequest(
                f"The form was not sent from {self._identity.origin}: open that address, not"
                " another name of this server."
            )

    async def has_session(self, request: Request) -> bool:
        """Tells whether the session cookie proves the owner.

        Never on plain loopback: browsers show the cookies of http://localhost to every port of it.
        """
        return self._identity.secure and await self._owner.sessions.holds(
            self.cookie(request, "session")
        )

    async def session(self, request: Request, form: Parameters | None = None) -> str | None:
        """Returns the session that proves the owner, None when there is none.

        The cookie's on https. On plain loopback, where there is no such cookie, the one that a form
        of the owner's page brings back (docs/decisions/0023).
        """
        if self._identity.secure:
            session = self.cookie(request, "session")
        else:
            session = form.get("session") if form else None
        return session if await self._owner.sessions.holds(session) else None

    async def ways(self, bound_to: str) -> Ways:
        """Returns how the owner can sign in; a passkey's answer comes back with `bound_to`."""
        if not await self._owner.keyring.any_works():
            return Ways(password=True)
        offer = self._owner.passkeys.sign_in_offer(bound_to)
        return Ways(await self._owner.password_is_on(), offer)

    async def sign_in(self, request: Request, form: Parameters, bound_to: str) -> Record:
        """Proves the owner by what a form brings; returns what a session remembers of it.

        Raises:
            WrongPassword: It is not the owner's, or absent.
            WrongPasskey: It does not prove the owner, or is absent and has to be there.
            TooManyAttempts: Too many wrong passwords, or too many being checked at this moment.
        """
        device, answer = self.cookie(request, "device"), form.get("assertion")
        if answer is not None:
            challenge = form.get("challenge") or ""
            passkey = await self._owner.sign_in_by_passkey(
                answer, challenge, bound_to, caller.get(), device
            )
            return await self._owner.sessions.present(passkey)
        password = form.get("password")
        if password is None and not await self._owner.password_is_on():
            raise WrongPasskey(
                "Use a passkey: the password is switched off. If nothing asks for your passkey,"
                " allow this page to run JavaScript."
            )
        if password is None:
            raise WrongPassword("Enter the password of this server.")
        return await self._owner.sign_in(password, caller.get(), device)

    async def remember(
        self, request: Request, response: Response, path: str, proof: Record
    ) -> None:
        """Lets a browser in which the owner has just signed in be known by its cookies."""
        known = self._owner.devices.open(self.cookie(request, "device"))
        if self._identity.secure:
            opened = self.open_session(request, self.cookie(request, "session"), proof)
            session, device = await asyncio.gather(opened, known)  # one write serves both
            self.set_cookie(response, "session", session, self._limits.session_seconds, path)
        else:
            device = await known
        self.set_cookie(response, "device", device, self._limits.device_seconds, path)

    async def open_session(self, request: Request, earlier: str | None, proof: Record) -> str:
        """Returns the value of a new session, in place of an earlier one of this browser."""
        return await self._owner.sessions.open(
            earlier,
            address=caller.get(),
            agent=request.headers.get("user-agent", ""),
            proof=proof,
        )

    def cookie(self, request: Request, name: str) -> str | None:
        """Returns the value of one of our cookies, None when there is none."""
        return read_cookie(request, self._identity.cookie(name))

    def set_cookie(
        self, response: Response, name: str, value: str, seconds: int, path: str
    ) -> None:
        """Sets a cookie for every page; on plain loopback only for those at `path`.

        `Lax`, so that an app which sends the browser here does not find it signed out.
        """
        response.set_cookie(
            self._identity.cookie(name),
            value,
            max_age=seconds,
            path="/" if self._identity.secure else path,
            secure=self._identity.secure,
            httponly=True,
            samesite="lax",
        )
