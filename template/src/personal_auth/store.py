"""Where state lives: `SnapshotStore` in one file, or any `AsyncKeyValue`.

A collection holds small JSON objects by key. Every record carries its own times; a store's time
to live only tidies up.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, runtime_checkable

from personal_auth import snapshot
from personal_auth.snapshot import Record as Record
from personal_auth.snapshot import Row
from personal_auth.writing import Writer


class KeyValue(Protocol):
    """The part of py-key-value-aio's `AsyncKeyValue` that is used here.

    `delete` must return True exactly once for a key, however many ask at the same time.
    """

    async def get(self, key: str, *, collection: str | None = None) -> Record | None: ...

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None: ...

    async def delete(self, key: str, *, collection: str | None = None) -> bool: ...


@runtime_checkable
class Listing(Protocol):
    """A store that can name every key of a collection.

    Not `AsyncKeyValue`'s optional `keys`, which on some stores names the first few alone.
    """

    async def all_keys(self, collection: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Put:
    """One record to be written; `ttl` in seconds.

    What `gives` somebody more than before is taken back where the one file cannot be written: it is
    as if it had never been asked for. Everything else holds from the moment that it is put, on disk
    or not.
    """

    collection: str
    key: str
    value: Record = field(repr=False)
    ttl: float | None = None
    gives: bool = False


@dataclass(frozen=True, slots=True)
class Gift:
    """A row that is taken back unless it comes onto the disk, and what was there before it."""

    version: int
    collection: str
    key: str
    row: Row
    before: Row | None


class SnapshotStore:
    """Everything in memory; after a change the whole goes to one place, durably.

    After a failed write whoever changes or deletes something is refused until a write succeeds.
    What gives is taken back then; in all else the memory is ahead of the disk. It belongs to one
    event loop at a time.

    Args:
        save: Writes the whole to its place, durably.
        clock: Returns the time, in seconds since 1970.
        later: Within how many seconds a change is written for which nobody waits.
    """

    def __init__(
        self,
        save: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.time,
        later: float = 1.0,
    ) -> None:
        self._clock = clock
        self._rows: dict[str, dict[str, Row]] = {}
        self._soonest = math.inf  # when the first row expires
        self._gifts: list[Gift] = []  # that are not on disk yet
        self._writer = Writer(self.dump, save, later, kept=self._kept, not_kept=self._take_back)

    def load(self, state: object) -> None:
        """Takes over a stored state; None is an empty one.

        Raises:
            StartRefused: It is not ours, a later version wrote it, or it is damaged.
        """
        self._rows.clear()
        self._gifts.clear()
        self._soonest = math.inf
        if state is None:
            return
        for collection, key, row in list(snapshot.read(state)):
            self._keep(collection, key, row)

    def dump(self) -> bytes:
        """Returns the whole state as one JSON document, without what has expired."""
        if self._soonest <= self._clock():
            self._forget_expired()
        return snapshot.write((name, rows.values()) for name, rows in self._rows.items())

    def peek(self, collection: str, key: str) -> Record | None:
        """Returns a live record without leaving the event loop. It must not be altered."""
        row = self._rows.get(collection, {}).get(key)
        return row.value if row is not None and row.live(self._clock()) else None

    def values(self, collection: str) -> list[Record]:
        """Returns the live records of a collection. They must not be altered."""
        now = self._clock()
        return [row.value for row in self._rows.get(collection, {}).values() if row.live(now)]

    def put_soon(self, put: Put) -> None:
        """Changes memory now and the disk within the time given to the constructor."""
        self._change(put)
        self._writer.write_later()

    def delete_soon(self, collection: str, key: str) -> bool:
        """Deletes from memory now and from the disk as `put_soon` writes; True exactly once."""
        found = self._remove(collection, key)
        if found:
            self._writer.write_later()
        return found

    def put_at_start(self, puts: Sequence[Put]) -> None:
        """Writes records before there is an event loop; opens a store that was closed.

        Raises:
            Exception: Nothing is on disk.
        """
        for put in puts:
            self._change(put)
        self._writer.write_at_start()

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        return self.peek(collection or "", key)

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        life = None if ttl is None else float(ttl)
        await self.put_together([Put(collection or "", key, dict(value), life)])

    async def put_together(self, puts: Sequence[Put], seconds: float | None = None) -> None:
        """Writes records at once; they are durable when this returns. Waits as `flush` does."""
        for put in puts:
            self._change(put)
        await self.flush(seconds)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        found = self._remove(collection or "", key)
        await self.flush()  # also for a deletion before this one that is not on disk yet
        return found

    async def all_keys(self, collection: str) -> list[str]:
        now = self._clock()
        return [key for key, row in self._rows.get(collection, {}).items() if row.live(now)]

    async def rows(self) -> AsyncIterator[Put]:
        """Yields all that is live, with its remaining time to live."""
        now = self._clock()
        for collection, rows in list(self._rows.items()):
            for key, row in list(rows.items()):
                if row.live(now):
                    left = None if row.expires is None else row.expires - now
                    yield Put(collection, key, row.value, left)

    async def flush(self, seconds: float | None = None) -> None:
        """Returns once every change made before the call is on disk: see `Writer.flush`."""
        await self._writer.flush(seconds)

    async def close(self) -> None:
        """Writes what is not on disk yet, as far as that is possible, and stops trying."""
        await self._writer.close()

    def _change(self, put: Put) -> None:
        expires = None if put.ttl is None else self._clock() + put.ttl
        row = Row.of(put.key, put.value, expires)
        before = self._rows.get(put.collection, {}).get(put.key)
        self._keep(put.collection, put.key, row)
        version = self._writer.changed()
        if put.gives:
            self._gifts.append(Gift(version, put.collection, put.key, row, before))

    def _kept(self, version: int) -> None:
        self._gifts = [gift for gift in self._gifts if gift.version > version]

    def _take_back(self) -> None:
        for gift in reversed(self._gifts):
            if self._rows.get(gift.collection, {}).get(gift.key) is not gift.row:
                continue  # something came after it, or it was taken
            if gift.before is None:
                del self._rows[gift.collection][gift.key]
            else:
                self._keep(gift.collection, gift.key, gift.before)
        self._gifts = []

    def _remove(self, collection: str, key: str) -> bool:
        row = self._rows.get(collection, {}).pop(key, None)
        if row is None:
            return False
        self._writer.changed()  # also of one that is over: a clock may go back
        return row.live(self._clock())

    def _keep(self, collection: str, key: str, row: Row) -> None:
        self._rows.setdefault(collection, {})[key] = row
        if row.expires is not None:
            self._soonest = min(self._soonest, row.expires)

    def _forget_expired(self) -> None:
        now = self._clock()
        for rows in self._rows.values():
            for key in [key for key, row in rows.items() if not row.live(now)]:
                del rows[key]
        left = (row.expires for rows in self._rows.values() for row in rows.values())
        self._soonest = min((at for at in left if at is not None), default=math.inf)
