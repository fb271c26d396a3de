"""How a state goes from one store to another, and what holds when that is cut off.

The record of the key says where the state is at any moment. The target's says `moving` while it is
filled; a server refuses to start on it. When all is there and was read back, the source's says
`moved`, and still has the key; then the target gets the key, the source is emptied, and of its
key nothing remains but the name of the place to which the state went. So there is never a moment
at which servers could start on both, and the same move goes on wherever it was cut off.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from personal_auth.adoption import is_foreign
from personal_auth.errors import StartRefused
from personal_auth.sealing import digest
from personal_auth.statedir import StateDir
from personal_auth.store import KeyValue, Put, Record, SnapshotStore

AT_ONCE = 200  # records that are written together
EXPIRING_SECONDS = 60.0  # what lives no longer may be gone when it is looked for
TTL_SECONDS = 30.0  # by which a time to live may differ: the clocks, and the time between
OWNER, KEY = "owner", "key"
PASSING = {"readiness"}  # collections of no worth a minute later


class Whole(KeyValue, Protocol):
    """A store that can say all it holds."""

    def rows(self) -> AsyncIterator[Put]: ...


Told = Callable[[int, int], None]
"""Is called with how many records are done, and of how many."""


@asynccontextmanager
async def file_store(state_dir: StateDir) -> AsyncIterator[SnapshotStore]:
    """Opens the state file for this process alone.

    Raises:
        StartRefused: A server runs on it, or it cannot be used.
    """
    if not state_dir.acquire():
        raise StartRefused(
            f"A server runs on the state directory {state_dir.path}: stop it, and do this again."
        )
    try:
        state = state_dir.read()
        if is_foreign(state):
            raise StartRefused(
                f"The state in {state_dir.path} is of an earlier kind: start the server on it once,"
                " stop it, and do this again."
            )
        snapshot = SnapshotStore(state_dir.write)
        snapshot.load(state)
        yield snapshot
        await snapshot.close()
    finally:
        state_dir.release()


async def survey(source: Whole, target: Whole, to: str) -> Counter[str]:
    """Returns how many records of each collection a move would take along; writes nothing.

    Raises:
        StartRefused: The move would be refused.
    """
    key = _movable(await source.get(KEY, collection=OWNER), to)
    if "moved" not in key:
        await _check_target(target, _mark(key))
    return Counter(put.collection for put in await _rows(source))


async def move(source: Whole, target: Whole, to: str, told: Told) -> Counter[str]:
    """Takes everything from one store to the other; goes on where it was cut off.

    Args:
        source: What a server kept its state in; no server may run on it.
        target: An empty store, or one from which a state was moved away.
        to: What the target is called in a sentence.
        told: Is told how far it has come.

    Raises:
        StartRefused: There is nothing to move, the target holds a state, or something changed it.
        Exception: A store failed; the same call goes on.
    """
    key = _movable(await source.get(KEY, collection=OWNER), to)
    mark, moved = _mark(key), Counter[str]()
    if "moved" not in key:
        moved = await _copy(source, target, mark, told)
        await source.put(KEY, {**key, "moved": to}, collection=OWNER)
    arrived, there = {"key": key["key"]}, await target.get(KEY, collection=OWNER)
    if there not in (mark, arrived):
        raise _lost(to)
    if there == mark:  # else it arrived in an earlier attempt
        await _check_still_there(source, target, to)
        await target.put(KEY, arrived, collection=OWNER)
    await _empty(source)
    await source.put(KEY, {"moved": to}, collection=OWNER)
    return moved


async def put_all(target: KeyValue, puts: Sequence[Put], told: Told | None = None) -> None:
    """Writes records, some at a time, in any order."""
    for start in range(0, len(puts), AT_ONCE):
        if told is not None:
            told(start, len(puts))
        some = puts[start : start + AT_ONCE]
        await asyncio.gather(*(_put(target, put) for put in some))
    if told is not None:
        told(len(puts), len(puts))


async def _copy(source: Whole, target: Whole, mark: Record, told: Told) -> Counter[str]:
    await _check_target(target, mark)
    await target.put(KEY, mark, collection=OWNER)
    await _empty(target)  # of what an earlier attempt left: some of it may be revoked by now
    rows = await _rows(source)
    await put_all(target, rows, told)
    if not _alike(rows, await _rows(source)):
        raise StartRefused(
            "The state changed while it was moved, so a server still runs on it: stop every server"
            " that uses it, and do this again; nothing is lost."
        )
    if not _alike(rows, await _rows(target)):
        raise StartRefused(
            "What arrived is not what was sent, so something else writes to the target too: stop"
            " it, and do this again; nothing is lost."
        )
    return Counter(put.collection for put in rows)


async def _check_still_there(source: Whole, target: Whole, to: str) -> None:
    if not _alike(await _rows(source), await _rows(target)):
        raise _lost(to)


def _lost(to: str) -> StartRefused:
    return StartRefused(
        f"What was moved to {to} is not there any more, and nothing was deleted here: bring that"
        " store back as it was and do this again, or restore a backup."
    )


async def _check_target(target: Whole, mark: Record) -> None:
    key = await target.get(KEY, collection=OWNER)
    if key is None and not await _rows(target):
        return
    if key == mark or (key is not None and set(key) == {"moved"}):
        return
    if key is not None and "key" in key and digest(str(key["key"])) == mark["moving"]:
        raise StartRefused(
            "The target holds this server's state already, or is the same store by another name:"
            " let MCP_STORAGE_URL name it, and delete nothing before the server has started there."
        )
    raise StartRefused(
        "The target holds the state of another server already: name an empty one, such as another"
        " database."
    )


def _movable(key: Record | None, to: str) -> Record:
    """Returns the record of the source's key; with `moved`, all is in the target already.

    Raises:
        StartRefused: There is nothing to move to this target.
    """
    if key is None or ("moved" not in key and "key" not in key):
        raise StartRefused(
            "There is nothing to move: no server has kept its state here, or it is the target of a"
            " move that was cut off."
        )
    if "key" not in key:
        raise StartRefused(f"There is nothing to move: the state went to {key['moved']} already.")
    if key.get("moved", to) != to:
        raise StartRefused(
            f"The state is on its way to {key['moved']}: move it there first, with the same address"
            " as before."
        )
    return key


def _mark(key: Record) -> Record:
    return {"moving": digest(str(key["key"]))}


async def _rows(store: Whole) -> list[Put]:
    return [
        put
        async for put in store.rows()
        if (put.collection, put.key) != (OWNER, KEY) and put.collection not in PASSING
    ]


async def _put(target: KeyValue, put: Put) -> None:
    await target.put(put.key, put.value, collection=put.collection, ttl=put.ttl)


async def _empty(store: Whole) -> None:
    names = [(put.collection, put.key) async for put in store.rows()]
    names.remove((OWNER, KEY))
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        await asyncio.gather(*(store.delete(key, collection=place) for place, key in some))


def _alike(sent: Sequence[Put], found: Sequence[Put]) -> bool:
    """Tells whether two readings show the same records, but for what expires about now."""
    before = {(put.collection, put.key): put for put in sent}
    after = {(put.collection, put.key): put for put in found}
    if after.keys() - before.keys():
        return False
    return all(_same(put, after.get(name)) for name, put in before.items())


def _same(one: Put, other: Put | None) -> bool:
    if other is None:
        return one.ttl is not None and one.ttl < EXPIRING_SECONDS
    if one.ttl is None or other.ttl is None:
        return one.value == other.value and one.ttl is other.ttl
    return one.value == other.value and abs(one.ttl - other.ttl) < TTL_SECONDS
