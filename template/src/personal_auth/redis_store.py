"""The state in a Redis: one string of JSON for each record, under `personal_auth:`.

Every call is one command, so what Redis promises of a command holds for it: of any number of
deletions one returns True, of any number of `SET ... NX` one writes. Several records are written
by a command for each, sent together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, SupportsFloat

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from personal_auth.errors import StartRefused, StoreUnavailable
from personal_auth.shared import (
    CALL_SECONDS,
    CONNECT_SECONDS,
    NAMESPACE,
    dumped,
    loaded,
    reason,
    refused,
    unreachable,
)
from personal_auth.store import Put, Record

CONNECTIONS = 20
PAGE = 1000  # keys that Redis looks at in one step of a listing
GONE_FOR_GOOD = -2  # what PTTL says of a key that is not there


class RedisStore:
    """One database of a Redis.

    Args:
        url: A URL that `remote.check_url` let pass.
        where: What the server is called in a sentence; without a secret.
    """

    def __init__(self, url: str, where: str) -> None:
        self._url, self._where = url, where
        self._client: Any = None

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        text = await self._redis.get(_name(collection, key))
        return None if text is None else loaded(text)

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Record | None]:
        texts = await self._redis.mget([_name(*each) for each in keys])
        return [None if text is None else loaded(text) for text in texts]

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        await self._redis.set(_name(collection, key), dumped(dict(value)), px=_milliseconds(ttl))

    async def put_many(self, puts: Sequence[Put]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for put in puts:
            name = _name(put.collection, put.key)
            pipeline.set(name, dumped(put.value), px=_milliseconds(put.ttl))
        await pipeline.execute()

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return bool(await self._redis.delete(_name(collection, key)))

    async def put_new(self, put: Put) -> bool:
        name, text = _name(put.collection, put.key), dumped(put.value)
        return bool(await self._redis.set(name, text, px=_milliseconds(put.ttl), nx=True))

    async def all_keys(self, collection: str) -> list[str]:
        beginning = _name(collection, "")
        return [name.removeprefix(beginning) async for name in self._names(beginning)]

    async def rows(self) -> AsyncIterator[Put]:
        beginning = f"{NAMESPACE}:"
        page: list[str] = []
        async for name in self._names(beginning):
            page.append(name)
            if len(page) == PAGE:
                for put in await self._read(page):
                    yield put
                page = []
        for put in await self._read(page):
            yield put

    async def others(self) -> int:
        try:
            clients = await self._redis.client_list()
            own = await self._redis.client_info()
        except exceptions.ResponseError:  # few are allowed to ask this
            return 0
        here = (NAMESPACE, str(own["db"]))
        return sum((c["name"], c["db"]) == here and c["id"] != str(own["id"]) for c in clients)

    async def reach(self) -> None:
        try:
            await self.get("key", collection="owner")
        except Exception as error:
            raise _explained(error, self._where) from None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @property
    def _redis(self) -> Any:
        if self._client is None:
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS,
                timeout=CALL_SECONDS,  # how long a call waits for one of them
                socket_timeout=CALL_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
                decode_responses=True,
                client_name=NAMESPACE,
                # Once more at once, for a connection that was dropped while nobody used it. A
                # server that does not answer is not asked again.
                retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
            )
            self._client = Redis.from_pool(pool)
        return self._client

    async def _names(self, beginning: str) -> AsyncIterator[str]:
        seen: set[str] = set()  # Redis may name a key twice while it makes room
        async for name in self._redis.scan_iter(match=f"{beginning}*", count=PAGE):
            if name not in seen:
                seen.add(name)
                yield name

    async def _read(self, names: list[str]) -> list[Put]:
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
            pipeline.pttl(name)
        answers = await pipeline.execute() if names else []
        found = zip(names, answers[::2], answers[1::2], strict=True)
        return [
            _put(name, text, left) for name, text, left in found if text and left != GONE_FOR_GOOD
        ]


def _name(collection: str | None, key: str) -> str:
    return f"{NAMESPACE}:{collection or ''}:{key}"


def _put(name: str, text: str, milliseconds: int) -> Put:
    _, collection, key = name.split(":", 2)
    return Put(collection, key, loaded(text), None if milliseconds < 0 else milliseconds / 1000)


def _milliseconds(ttl: SupportsFloat | None) -> int | None:
    return None if ttl is None else max(int(float(ttl) * 1000), 1)


def _explained(error: Exception, where: str) -> StartRefused | StoreUnavailable:
    chain = [error, error.__cause__, error.__context__]
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return refused(
            where,
            "speaks no TLS or has a certificate that is not trusted: write redis:// for a Redis"
            " without TLS, or name its authority with ?ssl_ca_certs=/path/to/ca.pem",
        )
    if isinstance(error, exceptions.AuthenticationError):
        return refused(where, "refuses the user or the password: correct them in the URL")
    if isinstance(error, exceptions.NoPermissionError):
        return refused(
            where, f"allows this user too little: give it all commands on the keys {NAMESPACE}:*"
        )
    if isinstance(error, exceptions.BusyLoadingError):
        return unreachable(where, "it is still loading its data")
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        return unreachable(where, _why(error))
    return refused(
        where,
        f"does not do what is asked of it ({type(error).__name__}): the URL must end with the"
        " number of a database that it has, such as /0",
    )


def _why(error: Exception) -> str:
    if isinstance(error, exceptions.TimeoutError | asyncio.TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} seconds"
    return reason(error.__cause__, error.__context__, error)
