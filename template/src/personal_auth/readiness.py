"""Can the state be read and written now?

A small write tells it, for a store may answer reads and refuse every write. Strangers may ask, so
what was found holds for a moment, and all who ask at once wait for the same attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from personal_auth.errors import StoreUnavailable
from personal_auth.limits import Limits


class Readiness:
    """Asks the store at most once in `Limits.readiness_seconds`.

    Args:
        prove: Writes something; raises when that is not possible.
        limits: How long an answer holds, and how long one is waited for.
    """

    def __init__(self, prove: Callable[[], Awaitable[None]], limits: Limits) -> None:
        self._prove = prove
        self._limits = limits
        self._attempt: asyncio.Task[bool] | None = None
        self._ended = 0.0

    async def check(self) -> None:
        """Returns when the state can be written.

        Raises:
            StoreUnavailable: It cannot, or nothing was heard in `Limits.readiness_wait_seconds`.
        """
        attempt = self._attempt
        if attempt is None or (attempt.done() and self._is_old()):
            attempt = self._attempt = asyncio.create_task(self._ask())
        await asyncio.wait({attempt}, timeout=self._limits.readiness_wait_seconds)
        if not attempt.done() or not attempt.result():
            raise StoreUnavailable

    async def _ask(self) -> bool:
        try:
            await self._prove()
        except StoreUnavailable:
            return False
        finally:
            self._ended = time.monotonic()
        return True

    def _is_old(self) -> bool:
        return time.monotonic() >= self._ended + self._limits.readiness_seconds
