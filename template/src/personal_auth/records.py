"""The one way to a store: bounded in time, several records at once, one kind of failure."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.background import looked_at
from personal_auth.control import ControlStore
from personal_auth.errors import NotOnDisk, StoreUnavailable
from personal_auth.shared import SharedStore
from personal_auth.store import KeyValue, Listing, Put, Record, SnapshotStore

T = TypeVar("T")

PROBE_SECONDS = 60  # how long the record of a proof may stay
SETTLE_SECONDS = 1.0  # how long replicas that start at once wait before they read back


class Records:
    """The one way to a store: bounded in time, and every failure is `StoreUnavailable`."""

    def __init__(self, store: KeyValue, call_seconds: float = 5.0) -> None:
        self._seconds = call_seconds
        self._failed = False
        self.use(store)

    def use(self, store: KeyValue) -> None:
        """Goes to another store from now on."""
        self.store = store
        self._snapshot = store if isinstance(store, SnapshotStore) else None
        self._shared = store if isinstance(store, SharedStore) else None

    async def get(self, collection: str, key: str) -> Record | None:
        """Returns a record, or None."""
        if self._snapshot is not None:
            return self._snapshot.peek(collection, key)
        return await self._bounded(self.store.get(key, collection=collection))

    async def get_together(self, *wanted: tuple[str, str]) -> list[Record | None]:
        """Returns the records of (collection, key) pairs in one step."""
        if self._snapshot is not None:
            return [self._snapshot.peek(collection, key) for collection, key in wanted]
        if self._shared is not None:
            return await self._bounded(self._shared.get_many(wanted)) if wanted else []
        return list(await asyncio.gather(*(self.get(*each) for each in wanted)))

    async def put(self, *puts: Put) -> None:
        """Writes records together; they are durable when this returns."""
        if self._snapshot is not None:
            await self._told(self._snapshot.put_together(puts, self._seconds))
        elif isinstance(self.store, ControlStore):
            await self._bounded(self.store.put_together(puts))
        elif self._shared is not None and len(puts) > 1:
            await self._bounded(self._shared.put_many(puts))
        else:
            await asyncio.gather(*(self._bounded(self._put(put)) for put in puts))

    async def put_in_order(self, *steps: Sequence[Put]) -> None:
        """Writes new records, step after step, durably; in one file all of them or none."""
        if self._snapshot is None:
            for step in steps:
                await self.put(*step)
            return
        puts = [put for step in steps for put in step]
        try:
            await self.put(*puts)
        except NotOnDisk:  # or not soon enough: then they are there still
            for put in puts:
                self._snapshot.delete_soon(put.collection, put.key)
            raise

    async def put_soon(self, *puts: Put) -> None:
        """Writes records that are there when this returns, and durable a little later."""
        if self._snapshot is None:
            await self.put(*puts)
            return
        for put in puts:
            self._snapshot.put_soon(put)

    async def settle(self) -> None:
        """Returns once every change before the call is durable, whoever made it."""
        if self._snapshot is not None:
            await self._told(self._snapshot.flush(self._seconds))

    async def prove(self) -> None:
        """Shows that the state can be written; in one file, that no write of it is owed."""
        if self._snapshot is None:
            await self.put(Put("readiness", "probe", {}, PROBE_SECONDS))
        await self.settle()

    async def put_new(self, *puts: Put) -> list[Record]:
        """Writes what is not there yet; returns what holds, whoever wrote it.

        A store that cannot write only what is absent is given a second: then all who wrote at
        once read the same.
        """
        if self._shared is not None:
            await asyncio.gather(*(self._bounded(self._shared.put_new(put)) for put in puts))
        else:
            await self.put(*puts)
            await asyncio.sleep(SETTLE_SECONDS)
        found = await self.get_together(*((put.collection, put.key) for put in puts))
        return [record or {} for record in found]

    async def claim(self, put: Put) -> bool:
        """Writes a record only if there is none; True for whoever wrote it, for one at most.

        A store that cannot write only what is absent is given a second: then all who wrote at
        once read the one that stayed.
        """
        if self._snapshot is not None:
            if self._snapshot.peek(put.collection, put.key) is not None:
                return False
            self._snapshot.put_soon(put)  # in the same step of the event loop
            await self.settle()
            return True
        if self._shared is not None:
            return await self._bounded(self._shared.put_new(put))
        if await self.get(put.collection, put.key) is not None:
            return False
        mark = {**put.value, "by": secrets.token_hex(16)}
        return await self.put_new(Put(put.collection, put.key, mark, put.ttl)) == [mark]

    async def delete(self, collection: str, key: str) -> bool:
        """Deletes a record; True exactly once."""
        return await self._bounded(self.store.delete(key, collection=collection))

    async def take(self, collection: str, key: str) -> bool:
        """Deletes a record; True exactly once. In one file it is durable with the next write."""
        if self._snapshot is not None:
            return self._snapshot.delete_soon(collection, key)
        return await self.delete(collection, key)

    async def keys(self, collection: str) -> list[str]:
        """Names the keys of a collection.

        Raises:
            StoreUnavailable: The store cannot list, or cannot be reached.
        """
        if not isinstance(self.store, Listing):
            raise StoreUnavailable("This store cannot list what it holds; revoking still works.")
        return await self._bounded(self.store.all_keys(collection))

    def _put(self, put: Put) -> Coroutine[Any, Any, None]:
        return self.store.put(put.key, put.value, collection=put.collection, ttl=put.ttl)

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        return await self._told(_in_time(call, self._seconds))

    async def _told(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            answer = await call
        except StoreUnavailable:
            raise
        except Exception as error:
            self._failed = True
            audit.record(Event.STORE_FAILED, reason=type(error).__name__)
            raise (StoreUnavailable if self._snapshot is None else NotOnDisk) from error
        if self._failed:
            self._failed = False
            audit.record(Event.STORE_BACK)
        return answer


async def _in_time(call: Coroutine[Any, Any, T], seconds: float) -> T:
    # Not by wait_for, which waits until the call has ended: a driver whose server hangs may take
    # for ever to give up (asyncpg first asks that server to cancel).
    task = asyncio.ensure_future(call)
    task.add_done_callback(looked_at)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()
