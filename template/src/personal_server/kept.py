"""The whole state as rows: those of a store of its own, read and replaced, and those of a backup.

A store knows no rename, so a replacement is not one step: what names the server's key is written
last, and whoever is cut off does all of it once more.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from personal_auth import open_store, snapshot
from personal_auth.connections import is_grant_id
from personal_auth.errors import StartRefused, StoreUnavailable
from personal_auth.moving import PASSING, put_all
from personal_auth.shared import SharedStore
from personal_auth.snapshot import Row
from personal_auth.store import Put

Rows = list[tuple[str, str, Row]]


def rows(url: str) -> Rows:
    """Returns everything that a store keeps of a server.

    Raises:
        StartRefused, StoreUnavailable: It cannot be reached.
    """

    async def read(store: SharedStore) -> Rows:
        return [_row(put) async for put in store.rows() if put.collection not in PASSING]

    found: Rows = _with(url, read)
    return found


def replace(url: str, kept: Rows) -> None:
    """Writes rows into a store and deletes whatever else it keeps of a server.

    Raises:
        StartRefused: Servers are connected to it.
        StoreUnavailable: It cannot be reached; to be called again.
    """

    async def write(store: SharedStore) -> None:
        await _check_alone(store)
        await store.put("key", {"restoring": True}, collection="owner")  # no server starts
        names = {(collection, key) for collection, key, _ in kept}
        async for put in store.rows():
            if (put.collection, put.key) not in names:
                await store.delete(put.key, collection=put.collection)
        now = time.time()
        puts = [
            Put(collection, key, row.value, None if row.expires is None else row.expires - now)
            for collection, key, row in kept
            if row.live(now + 1)
        ]
        puts.sort(key=lambda put: (put.collection, put.key) == ("owner", "key"))
        await put_all(store, puts[:-1])
        await put_all(store, puts[-1:])

    _with(url, write)


def check_alone(url: str) -> None:
    """Looks for servers on a store.

    Raises:
        StartRefused: There are some.
        StoreUnavailable: It cannot be reached.
    """
    _with(url, _check_alone)


async def _check_alone(store: SharedStore) -> None:
    if others := await store.others():
        raise StartRefused(
            "Servers are connected to the store that MCP_STORAGE_URL names (connections:"
            f" {others}): stop every one, then restore."
        )


def has_key(found: Rows) -> bool:
    """Tells whether rows are a whole state: one that was moved away has no key any more."""
    return any(name[:2] == ("owner", "key") and "key" in name[2].value for name in found)


def connections(rows: Rows) -> int:
    """Returns how many connections of a state are live."""
    grants = {key: row.value for collection, key, row in rows if collection == "grants"}
    epoch = grants.get("epoch", {}).get("id", "")
    return sum(is_grant_id(key) and grant.get("epoch") == epoch for key, grant in grants.items())


def document(rows: Rows) -> bytes:
    """Returns the state as the file store keeps it, without what has expired."""
    now = time.time()
    collections: dict[str, list[Row]] = {}
    for collection, _, row in rows:
        if row.live(now):
            collections.setdefault(collection, []).append(row)
    return snapshot.write(collections.items())


def _with(url: str, use: Any) -> Any:
    async def run() -> Any:
        store = open_store(url)
        try:
            await store.reach()
            return await use(store)
        except (StartRefused, StoreUnavailable):
            raise
        except Exception as error:  # whatever its driver raises, whose text may hold secrets
            raise StoreUnavailable(
                f"The store failed ({type(error).__name__}): try again once it answers."
            ) from error
        finally:
            await store.close()

    return asyncio.run(run())


def _row(put: Put) -> tuple[str, str, Row]:
    expires = None if put.ttl is None else time.time() + put.ttl
    return put.collection, put.key, Row.of(put.key, put.value, expires)
