"""What must a passkey sign? A challenge: for one page in one browser, for ten minutes, once.

Nothing is kept of a challenge until it has been answered well: it is sealed into the page that
asks, bound to what only this page will have when it comes back, and what the authenticator signs is
derived from the seal. So strangers, who get as many as they like, cannot fill anything.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from personal_auth.errors import WrongPasskey
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import BrokenSeal, Sealer, digest, same
from personal_auth.store import Put


class Challenges:
    """Makes and opens the challenges of one server."""

    def __init__(
        self,
        records: Records,
        sealer: Callable[[], Sealer],
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._limits = limits
        self._clock = clock

    def make(self, purpose: str, bound_to: str) -> str:
        """Returns a sealed challenge for what only one page of one browser has."""
        value = {
            "nonce": secrets.token_urlsafe(24),
            "for": digest(bound_to),
            "exp": self._clock() + self._limits.ticket_seconds,
        }
        return self._sealer().seal(purpose, value)

    def to_sign(self, challenge: str) -> bytes:
        """Returns what an authenticator signs for a sealed challenge."""
        return self._sealer().mac("passkey-challenge", challenge.encode())

    def open(self, purpose: str, challenge: str, bound_to: str) -> bytes:
        """Returns what an authenticator must have signed.

        Raises:
            WrongPasskey: The challenge was altered, is too old, another page's, or for another
                purpose.
        """
        try:
            sealed = self._sealer().unseal(purpose, challenge)
        except BrokenSeal as error:
            raise WrongPasskey("The page was altered on its way: try again.") from error
        if self._clock() >= sealed["exp"]:
            raise WrongPasskey("The page was open for too long: try again.")
        if not same(sealed["for"], digest(bound_to)):
            raise WrongPasskey("The passkey answered another page than this one: try again.")
        return self.to_sign(challenge)

    async def use_up(self, challenge: str) -> None:
        """Ends a challenge for ever; to be called only when it was answered well.

        Raises:
            WrongPasskey: It was used before.
        """
        if not await self._is_first(challenge):
            raise WrongPasskey("The passkey’s answer was used already: try again.")

    async def is_first_count(self, passkey: str, count: int) -> bool:
        """Tells whether no other answer of a passkey came with this count, also at this moment."""
        return await self._is_first(f"{passkey} {count}")

    async def _is_first(self, what: str) -> bool:
        life = 2 * self._limits.ticket_seconds  # longer than it can be answered, on any clock
        used = Put("challenges", digest(what), {"exp": self._clock() + life}, life)
        return await self._records.claim(used)
