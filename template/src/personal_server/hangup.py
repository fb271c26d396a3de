"""Noticing that the client of a call has hung up: nobody else tells a tool that answers as JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_http_request
from starlette.requests import Request

LOOK_SECONDS = 0.5


class HungUp(ToolError):
    """The client is gone, so that nobody reads this."""


@contextlib.asynccontextmanager
async def while_asked() -> AsyncIterator[None]:
    """Cancels what is inside once the client has hung up; outside of HTTP it does nothing.

    Raises:
        HungUp: It has.
    """
    try:
        request = get_http_request()
    except RuntimeError:
        yield
        return
    try:
        async with asyncio.timeout(None) as asked:
            watch = asyncio.create_task(_watch(request, asked))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if not asked.expired():
            raise
        raise HungUp("The client hung up, and the call was cancelled.") from None


async def _watch(request: Request, asked: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # this request cannot be watched
        while not await request.is_disconnected():
            await asyncio.sleep(LOOK_SECONDS)
        asked.reschedule(asyncio.get_running_loop().time())
