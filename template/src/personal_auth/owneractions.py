"""What the owner can do on the page `/owner`, each by the form that names it.

Whether it is the owner is settled before. An action answers with the name of what to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from personal_auth.addresses import caller
from personal_auth.errors import InvalidRequest, PasswordUnfit, WrongPasskey
from personal_auth.forms import Parameters
from personal_auth.limits import Limits
from personal_auth.owner import check_configured
from personal_auth.service import Service

SAID: Mapping[str, str] = {
    "revoked": "The app is disconnected. Its next request is refused.",
    "all-revoked": "Every app is disconnected. Their next requests are refused.",
    "named": "The name is changed.",
    "narrowed": "The app may only read from now on.",
    "widened": "The app may use every tool from now on.",
    "connection-gone": "That connection had ended already.",
    "session-ended": "That browser is signed out.",
    "others-ended": "Every other browser is signed out.",
    "session-gone": "That browser was signed out already.",
    "signed-out": "You are signed out.",
    "password-changed": "The password is changed. Every other browser is signed out.",
    "password-off": "Only your passkeys sign you in from now on.",
    "password-on": "The password signs you in again.",
    "passkey-added": "The passkey is added: it signs you in from now on.",
    "passkey-named": "The passkey’s name is changed.",
    "passkey-removed": "The passkey is removed. What it signed in is signed out.",
    "passkey-gone": "There is no such passkey any more, or it was given no name.",
}
NEED_A_FRESH_SIGN_IN = frozenset(
    {"change-password", "add-passkey", "remove-passkey", "password-off", "password-on"}
)

Action = Callable[[Parameters, str], Awaitable[str]]


class Actions:
    """Does what a form of the owner's page asks for."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._connections = service.connections
        self._owner = service.owner
        self._limits = limits
        self._actions: dict[str, Action] = {
            "revoke": self._revoke,
            "revoke-all": self._revoke_all,
            "name": self._name,
            "narrow": self._narrow,
            "widen": self._widen,
            "end-session": self._end_session,
            "end-other-sessions": self._end_other_sessions,
            "change-password": self._change_password,
            "password-off": self._password_off,
            "password-on": self._password_on,
            "add-passkey": self._add_passkey,
            "name-passkey": self._name_passkey,
            "remove-passkey": self._remove_passkey,
        }

    async def do(self, name: str, form: Parameters, session: str) -> str:
        """Does it for a session; returns which sentence of `SAID` tells the owner so.

        Raises:
            InvalidRequest: There is no such action, or a field is missing.
            PasswordUnfit: The new password cannot be taken.
            WrongPasskey: The new passkey cannot be taken.
        """
        if name not in self._actions:
            raise InvalidRequest("This page has no such form.")
        return await self._actions[name](form, session)

    # Connections

    async def _revoke(self, form: Parameters, session: str) -> str:
        ended = await self._connections.revoke(form.need("id"))
        return "revoked" if ended else "connection-gone"

    async def _revoke_all(self, form: Parameters, session: str) -> str:
        await self._connections.revoke_all()
        return "all-revoked"

    async def _name(self, form: Parameters, session: str) -> str:
        named = await self._connections.rename(form.need("id"), form.get("name") or "")
        return "named" if named else "connection-gone"

    async def _narrow(self, form: Parameters, session: str) -> str:
        if not self._service.can_narrow:
            raise InvalidRequest("This server has nothing that holds an app to reading.")
        narrowed = await self._connections.narrow(form.need("id"), True)
        return "narrowed" if narrowed else "connection-gone"

    async def _widen(self, form: Parameters, session: str) -> str:
        widened = await self._connections.narrow(form.need("id"), False)
        return "widened" if widened else "connection-gone"

    # Sessions

    async def _end_session(self, form: Parameters, session: str) -> str:
        ended = await self._owner.sessions.end(form.need("id"))
        return "session-ended" if ended else "session-gone"

    async def _end_other_sessions(self, form: Parameters, session: str) -> str:
        await self._owner.sessions.end_all_but(session)
        return "others-ended"

    # Password and passkeys

    async def _change_password(self, form: Parameters, session: str) -> str:
        if self._owner.is_configured:
            raise PasswordUnfit("The setting MCP_PASSWORD says what it is: change it there.")
        password, least = form.get("new-password") or "", self._limits.new_password_chars
        if len(password) < least:
            raise PasswordUnfit(f"The new password needs at least {least} characters.")
        if password != form.get("again"):
            raise PasswordUnfit("The two passwords differ: type the new one twice.")
        try:
            check_configured(password)
        except ValueError as error:
            raise PasswordUnfit(f"The new password cannot be used: {error}.") from None
        await self._owner.change_password(password, session)
        return "password-changed"

    async def _password_off(self, form: Parameters, session: str) -> str:
        await self._owner.switch_password_off(session)
        return "password-off"

    async def _password_on(self, form: Parameters, session: str) -> str:
        await self._owner.switch_password_on()
        return "password-on"

    async def _add_passkey(self, form: Parameters, session: str) -> str:
        answer, challenge = form.get("assertion"), form.get("challenge") or ""
        if answer is None:
            raise WrongPasskey("A passkey is made by JavaScript: allow it for this page.")
        name = form.get("name") or ""
        await self._owner.passkeys.enrol(answer, challenge, session, name, caller.get())
        return "passkey-added"

    async def _name_passkey(self, form: Parameters, session: str) -> str:
        named = await self._owner.keyring.rename(form.need("id"), form.get("name") or "")
        return "passkey-named" if named else "passkey-gone"

    async def _remove_passkey(self, form: Parameters, session: str) -> str:
        removed = await self._owner.keyring.remove(form.need("id"))
        return "passkey-removed" if removed else "passkey-gone"
