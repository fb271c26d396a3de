"""uvicorn on a thread of the tests, told to begin and to end.

Left to itself it looks ten times a second whether it is to end, and then waits a tenth of a second.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import suppress
from typing import Any

import uvicorn


class Serving(uvicorn.Server):
    """One app that is served from now on, until `end`."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, log_level="critical", ws="none", **options))
        self._begun, self._told = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        assert self._begun.wait(20), "the server did not start in time"
        assert self.started, "the server did not start"
        self.loop = self.servers[0].get_loop()
        self.port: int = self.servers[0].sockets[0].getsockname()[1]

    def end(self) -> None:
        """Returns when every request is answered and the app has shut down."""
        self.should_exit = True
        self.loop.call_soon_threadsafe(self._told.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not end in time"

    def _live(self) -> None:
        try:
            self.run()
        finally:
            self._begun.set()

    async def startup(self, *sockets: Any, **options: Any) -> None:
        await super().startup(*sockets, **options)
        self._begun.set()

    async def main_loop(self) -> None:
        for ticks in itertools.count(step=10):  # every tenth sets the date of the answers
            if await self.on_tick(ticks):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    async def shutdown(self, *_: Any, **__: Any) -> None:
        for server in self.servers:
            server.close()
        for connection in [*self.server_state.connections]:
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.002)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()
