"""A disk that a test can fill, stop and look at, and tests that run in an event loop."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class Disk:
    """What `SnapshotStore` saves to: keeps every file, fails or waits when told to."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.error: Exception | None = None
        self.attempts = 0
        self.most_at_once = self._at_once = 0
        self._reached, self._go_on = threading.Event(), threading.Event()
        self._go_on.set()

    def __call__(self, raw: bytes) -> None:
        self.attempts += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self._reached.set()
        assert self._go_on.wait(20)
        self._at_once -= 1
        if self.error is not None:
            raise self.error
        self.files.append(raw)

    def hold(self) -> None:
        """Lets the next write wait until `let_go`."""
        self._reached.clear()
        self._go_on.clear()

    def let_go(self) -> None:
        self._go_on.set()

    async def reached(self) -> None:
        """Returns once a write has begun."""
        assert await asyncio.to_thread(self._reached.wait, 5)

    @property
    def rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What the newest file holds."""
        rows: dict[str, dict[str, dict[str, Any]]] = json.loads(self.files[-1])["rows"]
        return rows


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine; it ends within twenty seconds."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **named), 20))

    return run


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Returns once something holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.002)
