"""Where state lives: `SnapshotStore` in one file, or any `AsyncKeyValue`.

A collection holds small JSON objects by key. Every record carries its own times; a store's time
to live only tidies up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, TypeVar, runtime_checkable

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.errors import StartRefused, StoreUnavailable

FORMAT = "personal-auth"
VERSION = 1

Record = dict[str, Any]
T = TypeVar("T")


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
    """A store that can name the keys of a collection."""

    async def keys(
        self, collection: str | None = None, *, limit: int | None = None
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Put:
    """One record to be written; `ttl` in seconds."""

    collection: str
    key: str
    value: Record = field(repr=False)
    ttl: float | None = None


@dataclass(slots=True)
class Row:
    value: Record = field(repr=False)
    expires: float | None
    raw: str = field(repr=False)

    def live(self, now: float) -> bool:
        return self.expires is None or self.expires > now


class SnapshotStore:
    """Everything in memory; after a change the whole goes to one place, durably.

    One write serves all who wait at that moment. After a failed write the memory is ahead of the
    disk: whoever changes or deletes something is refused until a write succeeds, and one is tried
    again by itself.
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
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def load(self, state: Record | None) -> None:
        """Takes over a stored state.

        Raises:
            StartRefused: It is not ours, or a later version wrote it.
        """
        self._rows.clear()
        if state is None:
            return
        if state.get("format") != FORMAT or not isinstance(state.get("rows"), dict):
            raise StartRefused(
                "The stored state was not written by this server and was left as it is:"
                " move it away to start anew."
            )
        if state.get("version") != VERSION:
            raise StartRefused(
                f"The stored state has version {state.get('version')!r} and this server reads"
                f" version {VERSION}: run the server that wrote it, or update this one."
            )
        try:
            for collection, rows in state["rows"].items():
                for key, row in rows.items():
                    expires = row.get("expires")
                    self._set(collection, key, dict(row["value"]), expires and float(expires))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StartRefused(
                "The stored state is damaged and was left as it is: restore it from a backup,"
                " or move it away to start anew."
            ) from error

    def dump(self) -> bytes:
        """Returns the whole state as one JSON document, without what has expired."""
        now = self._clock()
        parts = []
        for name, rows in self._rows.items():
            for key in [key for key, row in rows.items() if not row.live(now)]:
                del rows[key]
            parts.append(f"{json.dumps(name)}:{{{','.join(row.raw for row in rows.values())}}}")
        head = f'"format":"{FORMAT}","version":{VERSION}'
        return f'{{{head},"rows":{{{",".join(parts)}}}}}\n'.encode()

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

    def put_at_start(self, puts: Sequence[Put]) -> None:
        """Writes records before there is an event loop.

        Raises:
            OSError: Nothing is on disk.
        """
        for put in puts:
            self._change(put)
        self._save(self.dump())
        self._durable = self._version

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
        self._change(Put(collection or "", key, dict(value), float(ttl) if ttl else None))
        await self.flush()

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        found = self._rows.get(collection or "", {}).pop(key, None) is not None
        if found:
            self._version += 1
        await self.flush()  # also for a deletion before this one that is not on disk yet
        return found

    async def keys(self, collection: str | None = None, *, limit: int | None = None) -> list[str]:
        now = self._clock()
        rows = self._rows.get(collection or "", {})
        return [key for key, row in rows.items() if row.live(now)][:limit]

    async def flush(self) -> None:
        """Returns once every change made before the call is on disk.

        Raises:
            StoreUnavailable: The write failed.
        """
        target = self._version
        while self._durable < target:
            if self._writing is None:
                self._writing = asyncio.create_task(self._write())
                self._writing.add_done_callback(_looked_at)
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Writes what is not on disk yet, as far as that is possible, and stops trying."""
        with contextlib.suppress(StoreUnavailable):
            await self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self) -> None:
        version, raw = self._version, self.dump()
        try:
            await asyncio.to_thread(self._save, raw)
        except Exception as error:
            audit.record(Event.STORE_FAILED, reason=type(error).__name__)
            self._write_later()
            raise StoreUnavailable from error
        else:
            self._durable = version
        finally:
            self._writing = None

    def _write_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._later, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        in_background(self.flush())

    def _change(self, put: Put) -> None:
        expires = None if put.ttl is None else self._clock() + put.ttl
        self._set(put.collection, put.key, put.value, expires)
        self._version += 1

    def _set(self, collection: str, key: str, value: Record, expires: float | None) -> None:
        row: Record = {"value": value} if expires is None else {"value": value, "expires": expires}
        raw = f"{json.dumps(key)}:{json.dumps(row, separators=(',', ':'))}"
        self._rows.setdefault(collection, {})[key] = Row(value, expires, raw)


_background: set[asyncio.Task[Any]] = set()


def in_background(call: Coroutine[Any, Any, Any]) -> None:
    """Runs a call that nobody waits for; a store that cannot be reached is no error of its."""
    task = asyncio.get_running_loop().create_task(_quietly(call))
    _background.add(task)
    task.add_done_callback(_background.discard)


def _looked_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited was told; nobody may be waiting any more


async def _quietly(call: Coroutine[Any, Any, Any]) -> None:
    try:
        await call
    except StoreUnavailable:
        return  # logged where it happened
