"""Work that goes on while nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from personal_auth.errors import StoreUnavailable

_background: set[asyncio.Task[Any]] = set()


def in_background(call: Coroutine[Any, Any, Any]) -> None:
    """Runs a call that nobody waits for; a store that cannot be reached is no error of its."""
    task = asyncio.get_running_loop().create_task(_quietly(call))
    _background.add(task)
    task.add_done_callback(_background.discard)


def looked_at(ended: asyncio.Future[Any]) -> None:
    """Marks the failure of what has ended as known, whoever waited for it or nobody."""
    if not ended.cancelled():
        ended.exception()  # whoever waited was told; nobody may be waiting any more


async def _quietly(call: Coroutine[Any, Any, Any]) -> None:
    try:
        await call
    except StoreUnavailable:
        return  # logged where it happened
