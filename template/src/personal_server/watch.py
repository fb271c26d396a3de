"""Says once when clients read the list of tools and never call one.

Then the assistant chose not to use them: names that collide with its own features, descriptions
that are too generic, or instructions that are not directive enough.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

logger = logging.getLogger("personal_server")

PATIENCE_SECONDS = 5 * 60


class ListedNeverCalled(Middleware):
    """Logs one line `patience` seconds after the first listing if nothing was called by then."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._listed = 0
        self._called = False

    async def on_list_tools(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        self._listed += 1
        if self._listed == 1:
            asyncio.get_running_loop().call_later(self._patience, self.judge)
        return await call_next(context)

    async def on_call_tool(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        self._called = True
        return await call_next(context)

    def judge(self) -> None:
        """Logs the line, unless a tool was called."""
        if not self._called:
            logger.warning(
                "Tools were listed %d times and none was ever called: the assistant prefers its"
                " own features. docs/troubleshooting.md says how to change its mind.",
                self._listed,
            )
