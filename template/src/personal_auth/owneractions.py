"""What the owner can do on the page `/owner`, each by the form that names it.

Whether it is the owner is settled before. An action answers with the name of what to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from personal_auth.errors import InvalidRequest, PasswordUnfit
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
    "gone": "That connection had ended already.",
    "password-changed": "The password is changed. Every other browser is signed out.",
}

Action = Callable[[Parameters], Awaitable[str]]


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
            "change-password": self._change_password,
        }

    async def do(self, name: str, form: Parameters) -> str:
        """Does it; returns which sentence of `SAID` tells the owner so.

        Raises:
            InvalidRequest: There is no such action, or a field is missing.
            PasswordUnfit: The new password cannot be taken.
        """
        if name not in self._actions:
            raise InvalidRequest("This page has no such form: open it again.")
        return await self._actions[name](form)

    async def _revoke(self, form: Parameters) -> str:
        return "revoked" if await self._connections.revoke(form.need("id")) else "gone"

    async def _revoke_all(self, form: Parameters) -> str:
        await self._connections.revoke_all()
        return "all-revoked"

    async def _name(self, form: Parameters) -> str:
        name = form.get("name") or ""
        return "named" if await self._connections.rename(form.need("id"), name) else "gone"

    async def _narrow(self, form: Parameters) -> str:
        if not self._service.can_narrow:
            raise InvalidRequest("This server has nothing that holds an app to reading.")
        return "narrowed" if await self._connections.narrow(form.need("id"), True) else "gone"

    async def _widen(self, form: Parameters) -> str:
        return "widened" if await self._connections.narrow(form.need("id"), False) else "gone"

    async def _change_password(self, form: Parameters) -> str:
        if self._owner.is_configured:
            raise PasswordUnfit("MCP_PASSWORD sets the password: change it there.")
        password, again = form.get("new-password") or "", form.get("again")
        least = self._limits.new_password_chars
        if len(password) < least:
            raise PasswordUnfit(f"The new password needs at least {least} characters.")
        if password != again:
            raise PasswordUnfit("The two passwords differ: type the new one twice.")
        try:
            check_configured(password)
        except ValueError as error:
            raise PasswordUnfit(f"The new password cannot be used: {error}.") from None
        await self._owner.change_password(password)
        return "password-changed"
