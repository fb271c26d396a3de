"""Where state lives: `SnapshotStore` in one file, or any `AsyncKeyValue`.

A collection holds small JSON objects by key. Every record carries its own times; a store's time
to live only tidies up.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, runtime_checkable

from personal_auth import audit, snapshot
from personal_auth.audit import Event
from personal_auth.errors import StateDirLost, StoreUnavailable
from personal_auth.snapshot import Record as Record
from personal_auth.snapshot import Row


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
    """One record to be written; `ttl` in seconds."""

    collection: str
    key: str
    value: Record = field(repr=False)
    ttl: float | None = None


@dataclass(slots=True)
class Write:
    """One write of the whole, which begins in a moment or is under way, and who waits for it."""

    loop: asyncio.AbstractEventLoop
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class SnapshotStore:
    """Everything in memory; after a change the whole goes to one place, durably.

    One write serves all who wait at that moment. After a failed write the memory is ahead of the
    disk: whoever changes or deletes something is refused until a write succeeds, and one is tried
    again by itself. It belongs to one event loop at a time.
    """

    def __init__(
        self,
        save: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.time,
        later: float = 1.0,
    ) -> None:
        self._save = save
        self._clock = clock
        self._later = later
        self._rows: dict[str, dict[str, Row]] = {}
        self._version = self._durable = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")  # one, so in order
        self._writing: Write | None = None
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._trouble = ""
        self._closed = False
        self._soonest = math.inf  # when the first row expires

    def load(self, state: object) -> None:
        """Takes over a stored state; None is an empty one.

        Raises:
            StartRefused: It is not ours, a later version wrote it, or it is damaged.
        """
        self._rows.clear()
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
        self._write_later()

    def delete_soon(self, collection: str, key: str) -> bool:
        """Deletes from memory now and from the disk as `put_soon` writes; True exactly once."""
        row = self._rows.get(collection, {}).pop(key, None)
        found = row is not None and row.live(self._clock())
        if found:
            self._version += 1
            self._write_later()
        return found

    def put_at_start(self, puts: Sequence[Put]) -> None:
        """Writes records before there is an event loop; opens a store that was closed.

        Raises:
            Exception: Nothing is on disk.
        """
        for put in puts:
            self._change(put)
        self._writer.submit(self._save, self.dump()).result()
        self._durable, self._closed = self._version, False

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
        row = self._rows.get(collection or "", {}).pop(key, None)
        found = row is not None and row.live(self._clock())
        if found:
            self._version += 1
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
        """Returns once every change made before the call is on disk.

        Args:
            seconds: How long to wait; the write goes on without whoever waited.

        Raises:
            StoreUnavailable: The write failed.
            TimeoutError: It takes longer.
        """
        target, loop = self._version, asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while self._durable < target:
                if self._writing is None or self._writing.loop is not loop:
                    self._writing = Write(loop)
                    # Of no request in particular: what it logs names nobody's address.
                    loop.call_soon(self._begin, self._writing, context=Context())
                ended = loop.create_future()
                self._writing.waiting.append(ended)
                await ended

    async def close(self) -> None:
        """Writes what is not on disk yet, as far as that is possible, and stops trying."""
        self._closed = True
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        with contextlib.suppress(StoreUnavailable):
            while self._durable < self._version:
                await self.flush()

    def _begin(self, write: Write) -> None:
        version = self._version

        def end(saved: Future[None]) -> None:
            error = saved.exception()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                write.loop.call_soon_threadsafe(self._end, write, version, error, context=Context())

        try:
            self._writer.submit(self._save, self.dump()).add_done_callback(end)
        except Exception as error:
            self._end(write, version, error)

    def _end(self, write: Write, version: int, error: BaseException | None) -> None:
        if self._writing is write:
            self._writing = None
        try:
            if error is None:
                self._succeeded(version)
            else:
                self._failed(error)
        finally:
            _wake(write.waiting, error)

    def _failed(self, error: BaseException) -> None:
        reason = cause(error)
        if reason != self._trouble:  # told once, not at every attempt
            note = str(error) if isinstance(error, StateDirLost) else "Nothing can be granted."
            audit.record(Event.STORE_FAILED, note, reason=reason)
        self._trouble = reason
        self._write_later()

    def _succeeded(self, version: int) -> None:
        self._durable = version
        if self._trouble:
            audit.record(Event.STORE_BACK)
        self._trouble = ""

    def _write_later(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._closed and (self._timer is None or self._timer[0] is not loop):
            self._timer = loop, loop.call_later(self._later, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        in_background(self.flush())

    def _change(self, put: Put) -> None:
        expires = None if put.ttl is None else self._clock() + put.ttl
        self._keep(put.collection, put.key, Row.of(put.key, put.value, expires))
        self._version += 1

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


def _wake(waiting: Sequence[asyncio.Future[None]], error: BaseException | None) -> None:
    for ended in waiting:
        if ended.done():  # whoever waited has gone
            continue
        if error is None:
            ended.set_result(None)
        else:
            refused = StoreUnavailable()
            refused.__cause__ = error
            ended.set_exception(refused)
            looked_at(ended)  # whoever waits may be ended in this very moment


def cause(error: BaseException) -> str:
    """Returns what may be said of a failure of a store: never its text, which may hold secrets."""
    return getattr(error, "strerror", None) or type(error).__name__


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
