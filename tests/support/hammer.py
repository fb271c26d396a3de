"""Grants over one store from many sides: replicas that are slow and may die at any call."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, SupportsFloat, TypeVar

import asyncpg
from key_value.aio.stores.postgresql import PostgreSQLStore
from key_value.aio.stores.redis import RedisStore
from redis.asyncio import Redis

from personal_auth.client import Client
from personal_auth.codes import Approval
from personal_auth.connections import Connections
from personal_auth.grants import Grants
from personal_auth.identity import Identity
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.sealing import Sealer, digest, to_text
from personal_auth.seen import Seen
from personal_auth.store import KeyValue, Record, SnapshotStore

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
URL = "https://mcp.example.com"
START = 1_800_000_000.0
VERIFIER = "correct-verifier-of-forty-three-characters."
CHALLENGE = to_text(bytes.fromhex(digest(VERIFIER)))
CALLBACK = "https://app.example/callback"
CLIENT = Client("c1.app", "Test app", (CALLBACK,))
OTHER = Client("c1.other", "Other app", (CALLBACK,))
SCOPES = ("tools", "offline_access")
SEALER = Sealer(bytes(range(32)))


def approval(
    nonce: str,
    client: Client = CLIENT,
    scopes: tuple[str, ...] = SCOPES,
    *,
    read_only: bool = False,
) -> Approval:
    return Approval(client, CALLBACK, CHALLENGE, scopes, nonce, read_only)


def grants_over(
    store: KeyValue,
    clock: Callable[[], float],
    *,
    url: str = URL,
    access_seconds: int = 3600,
    refresh_seconds: int | None = None,
    limits: Limits | None = None,
) -> Grants:
    records, limits = Records(store), limits or Limits()
    return Grants(
        records,
        lambda: SEALER,
        Identity.of(url),
        limits,
        connections=Connections(records, Seen(records, limits, clock), limits, clock),
        clock=clock,
        access_seconds=access_seconds,
        refresh_seconds=refresh_seconds,
    )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[KeyValue]:
    """Opens the store at a URL; `memory:` is a new one each time."""
    if url == "memory:":
        snapshot = SnapshotStore(lambda raw: None, clock=lambda: START)
        yield snapshot
    elif url.startswith("redis:"):
        client = Redis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
        )
        async with client:
            yield RedisStore(client=client)
    else:
        async with asyncpg.create_pool(url, min_size=1, max_size=5, timeout=5) as pool:
            yield PostgreSQLStore(pool=pool)


class Death(BaseException):
    """The process ends here."""


class Call(NamedTuple):
    """One call of a store."""

    verb: str
    collection: str
    key: str


class Fate(Protocol):
    """What befalls a process around each call of its store."""

    async def before(self, call: Call) -> None:
        """Waits, or raises Death: the call is never made."""

    async def after(self, call: Call) -> None:
        """Waits, or raises Death: the call was made and nobody learns of it."""


class Mortal:
    """A store as one process sees it; once it died it calls nothing any more."""

    def __init__(self, store: KeyValue, fate: Fate) -> None:
        self._store, self._fate = store, fate
        self.dead = False

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        call = Call("get", collection or "", key)
        return await self._made(call, lambda: self._store.get(key, collection=collection))

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        call = Call("put", collection or "", key)
        await self._made(call, lambda: self._store.put(key, value, collection=collection, ttl=ttl))

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        call = Call("delete", collection or "", key)
        return await self._made(call, lambda: self._store.delete(key, collection=collection))

    async def _made(self, call: Call, make: Callable[[], Awaitable[T]]) -> T:
        await self._lived(self._fate.before(call))
        answer = await make()
        await self._lived(self._fate.after(call))
        return answer

    async def _lived(self, moment: Awaitable[None]) -> None:
        try:
            await moment
        except Death:
            self.dead = True
        if self.dead:
            raise Death


class Landing:
    """Of the writes to come exactly those that are named are made; then death.

    A name is a collection, or a key in it.
    """

    def __init__(self, *names: str) -> None:
        self._names, self._under_way = names, 0

    async def before(self, call: Call) -> None:
        if call.verb == "get":
            return
        if call.collection in self._names or call.key in self._names:
            self._under_way += 1
            return
        await asyncio.sleep(0.01)  # lets what is written together begin
        while self._under_way:
            await asyncio.sleep(0.001)
        raise Death

    async def after(self, call: Call) -> None:
        self._under_way -= call.verb != "get"


class Held:
    """Stops before the first such call until it may go on."""

    def __init__(self, verb: str, collection: str) -> None:
        self._call = (verb, collection)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def before(self, call: Call) -> None:
        if (call.verb, call.collection) == self._call:
            self.reached.set()
            await self.go_on.wait()

    async def after(self, call: Call) -> None:
        pass


class Chance:
    """Waits of random length; now and then death, before or after a call."""

    def __init__(self, seed: object, *, wait: float = 0.002, death: float = 0.0) -> None:
        self._random = random.Random(repr(seed))
        self._wait, self._death = wait, death

    async def before(self, call: Call) -> None:
        await self._moment()

    async def after(self, call: Call) -> None:
        await self._moment()

    async def _moment(self) -> None:
        if self._random.random() < self._death:
            raise Death
        if self._random.random() < 0.7:
            await asyncio.sleep(self._random.random() * self._wait)


class Processes:
    """Processes of their own on one store, each with its own connections to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *works: dict[str, Any]) -> list[list[Any]]:
        """Lets one process for each work start at the same moment; returns their answers.

        A work has `steps`, each a name and its arguments, done one after the other at the time
        `now`; with `death` its process exits at a store call with that probability, by `seed`.
        An answer is [access, refresh, expires], true, or the code of an error. Of a process that
        died only the answers that it gave before are there.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(works) + "\n")
        self._process.stdin.flush()
        answers: list[list[Any]] = json.loads(self._process.stdout.readline())
        return answers


@contextmanager
def processes(url: str) -> Iterator[Processes]:
    """Starts the program that makes processes on the store at a URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.hammer_process", url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'template/src'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Processes(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(20) == 0
