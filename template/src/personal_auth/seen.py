"""When was a connection last used, from where, and how often?

Kept in memory and written at most once a minute for each connection, without anybody waiting for
it: a call is never slower for being counted, and a count may lack what a killed server had in
memory. Several servers on one store add up; of two that write in the same instant, one is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from personal_auth.addresses import caller
from personal_auth.background import in_background
from personal_auth.errors import StoreUnavailable
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.store import Put, Record


@dataclass(slots=True)
class Use:
    """How a connection was used since it was last written; `last` is a POSIX time."""

    last: float = 0.0
    calls: int = 0
    address: str = ""
    waiting: asyncio.TimerHandle | None = None
    not_before: float = 0.0
    """In the event loop's time."""


class Seen:
    """Counts for one server over one store."""

    def __init__(self, records: Records, limits: Limits, clock: Callable[[], float]) -> None:
        self._records = records
        self._limits = limits
        self._clock = clock
        self._uses: dict[str, Use] = {}

    def saw(self, gid: str) -> None:
        """Notes a request of a connection, from the caller's address."""
        use = self._uses.get(gid)
        if use is None:
            use = self._uses[gid] = Use()
        use.last, use.address = self._clock(), caller.get()
        if use.waiting is None:
            loop = asyncio.get_running_loop()
            use.waiting = loop.call_at(use.not_before, self._write_soon, gid)

    def called(self, gid: str) -> None:
        """Notes that a connection called a tool."""
        if gid in self._uses:
            self._uses[gid].calls += 1

    async def of(self, *gids: str) -> list[Record]:
        """Returns last use, calls and address of connections, what is in memory included."""
        stored = await self._records.get_together(*(("seen", gid) for gid in gids))
        return [
            self._added(record, self._uses.get(gid))
            for gid, record in zip(gids, stored, strict=True)
        ]

    async def write(self) -> None:
        """Writes what is in memory, as far as the store can be reached."""
        writes = []
        for gid, use in self._uses.items():
            if use.waiting is not None:
                use.waiting.cancel()
                writes.append(self._write(gid, use))
        await asyncio.gather(*writes, return_exceptions=True)

    def _write_soon(self, gid: str) -> None:
        use = self._uses.get(gid)
        if use is not None:  # else the connection ended meanwhile
            in_background(self._write(gid, use))

    async def _write(self, gid: str, use: Use) -> None:
        use.waiting = None
        use.not_before = asyncio.get_running_loop().time() + self._limits.seen_every_seconds
        stored, grant = await self._records.get_together(("seen", gid), ("grants", gid))
        if grant is None:
            self._uses.pop(gid, None)  # ended meanwhile
            return
        record, calls, use.calls = self._added(stored, use), use.calls, 0
        try:
            await self._records.put_soon(Put("seen", gid, record, self._limits.seen_seconds))
        except StoreUnavailable:
            use.calls += calls
            raise

    def _added(self, stored: Record | None, use: Use | None) -> Record:
        record = stored or {"last": None, "calls": 0, "address": ""}
        if use is None or not use.last:
            return record
        record = {**record, "calls": record["calls"] + use.calls}
        if record["last"] is not None and record["last"] > use.last:
            return record  # another server saw it later
        return {**record, "last": use.last, "address": use.address}
