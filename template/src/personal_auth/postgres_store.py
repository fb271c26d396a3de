"""The state in a PostgreSQL: the table `personal_auth`, one row for each record.

Every call is one statement, and one round trip. The times to live are counted by the database's
clock.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, SupportsFloat

import asyncpg  # type: ignore[import-untyped]

from personal_auth.background import in_background
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

# It logs tracebacks while a server is away; whoever makes a call is told of that as it is.
logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)

# One always stays, by which `others` sees a server that nobody uses.
LEAST_CONNECTIONS, MOST_CONNECTIONS = 1, 5
PAGE = 1000  # rows in one step of a listing
TIDY_SECONDS = 60 * 60
MAKING_THE_TABLE = 0x706572736F6E616C  # the number of our advisory lock

CREATE = """
CREATE TABLE IF NOT EXISTS personal_auth (
    collection text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    expires timestamptz,
    PRIMARY KEY (collection, key)
)"""
# Without a policy nobody but the owner of the table sees a row, whatever is granted to whom, as by
# default privileges or by a provider that shows the schema public to strangers.
FOR_ITS_OWNER = "ALTER TABLE personal_auth ENABLE ROW LEVEL SECURITY"
GET = """
SELECT value FROM personal_auth
WHERE collection = $1 AND key = $2 AND (expires IS NULL OR expires > now())"""
GET_MANY = """
SELECT value FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (collection, key, place)
LEFT JOIN (SELECT * FROM personal_auth WHERE expires IS NULL OR expires > now()) AS live
USING (collection, key) ORDER BY place"""
PUT = """
INSERT INTO personal_auth VALUES ($1, $2, $3, now() + $4::float8 * interval '1 second')
ON CONFLICT (collection, key) DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires"""
PUT_MANY = """
INSERT INTO personal_auth
SELECT collection, key, value, now() + ttl::float8 * interval '1 second'
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new (collection, key, value, ttl)
ON CONFLICT (collection, key) DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires"""
PUT_NEW = """
INSERT INTO personal_auth VALUES ($1, $2, $3, now() + $4::float8 * interval '1 second')
ON CONFLICT DO NOTHING"""
DELETE = """
DELETE FROM personal_auth
WHERE collection = $1 AND key = $2 AND (expires IS NULL OR expires > now())"""
KEYS = """
SELECT key FROM personal_auth WHERE collection = $1 AND (expires IS NULL OR expires > now())"""
ROWS = """
SELECT collection, key, value, extract(epoch FROM expires - now())::float8 AS ttl
FROM personal_auth
WHERE (collection, key) > ($1, $2) AND (expires IS NULL OR expires > now())
ORDER BY collection, key LIMIT $3"""
TIDY = "DELETE FROM personal_auth WHERE expires <= now()"
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()"""


class _Knowing(asyncpg.Connection):  # type: ignore[misc]
    """Asks what a statement takes and gives before its first use, not before each.

    Without names for statements, each use sends the statement itself along. The driver has no
    public way to this; should it rename what is overridden here, it asks each time again.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._known: dict[str, Any] = {}

    async def _get_statement(self, query: str, *arguments: Any, **named: Any) -> Any:
        if query not in self._known:
            self._known[query] = await super()._get_statement(query, *arguments, **named)
        return self._known[query]


class PostgresStore:
    """One table of a PostgreSQL database.

    Args:
        url: A URL that `remote.check_url` let pass.
        where: What the server is called in a sentence; without a secret.
    """

    def __init__(self, url: str, where: str) -> None:
        self._url, self._where = url, where
        self._pool: Any = None
        self._opening: asyncio.Task[Any] | None = None
        self._tidied = float("-inf")

    async def get(self, key: str, *, collection: str | None = None) -> Record | None:
        text = await self._run("fetchval", GET, collection or "", key)
        return None if text is None else loaded(text)

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Record | None]:
        columns = [each[0] for each in keys], [each[1] for each in keys]
        texts = [row["value"] for row in await self._run("fetch", GET_MANY, *columns)]
        return [None if text is None else loaded(text) for text in texts]

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        life = None if ttl is None else float(ttl)
        row = collection or "", key, dumped(dict(value)), life
        await self._run("execute", PUT, *row)
        self._tidy_now_and_then()

    async def put_many(self, puts: Sequence[Put]) -> None:
        lives = [None if put.ttl is None else repr(float(put.ttl)) for put in puts]
        columns = (
            [put.collection for put in puts],
            [put.key for put in puts],
            [dumped(put.value) for put in puts],
            lives,  # as text: the driver has to ask the database what an array of numbers is
        )
        await self._run("execute", PUT_MANY, *columns)
        self._tidy_now_and_then()

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        done: str = await self._run("execute", DELETE, collection or "", key)
        return done != "DELETE 0"

    async def put_new(self, put: Put) -> bool:
        row = put.collection, put.key, dumped(put.value), put.ttl
        done: str = await self._run("execute", PUT_NEW, *row)
        return done != "INSERT 0 0"

    async def all_keys(self, collection: str) -> list[str]:
        return [row["key"] for row in await self._run("fetch", KEYS, collection)]

    async def rows(self) -> AsyncIterator[Put]:
        after = "", ""
        while page := await self._run("fetch", ROWS, *after, PAGE):
            for row in page:
                yield Put(row["collection"], row["key"], loaded(row["value"]), row["ttl"])
            after = page[-1]["collection"], page[-1]["key"]

    async def others(self) -> int:
        return int(await self._run("fetchval", OTHERS, NAMESPACE))

    async def reach(self) -> None:
        try:
            await self.get("key", collection="owner")
        except Exception as error:
            raise _explained(error, self._where) from None

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), CALL_SECONDS)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    async def _run(self, method: str, query: str, *arguments: object) -> Any:
        pool = self._pool or await self._opened()
        connection = await pool.acquire(timeout=CALL_SECONDS)
        try:
            return await getattr(connection, method)(query, *arguments)
        except (TimeoutError, asyncio.CancelledError):
            connection.terminate()  # else its release waits for a server that does not answer
            raise
        finally:
            await pool.release(connection, timeout=CALL_SECONDS)

    async def _opened(self) -> Any:
        """Returns the pool; all who ask at once wait for the one attempt."""
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._attempted)
        return await asyncio.shield(self._opening)

    def _attempted(self, task: asyncio.Task[Any]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # whoever waited was told

    async def _open(self) -> Any:
        pool = await asyncpg.create_pool(
            self._url,
            min_size=LEAST_CONNECTIONS,
            max_size=MOST_CONNECTIONS,
            timeout=CONNECT_SECONDS,
            command_timeout=CALL_SECONDS,
            statement_cache_size=0,  # a pooler such as PgBouncer may stand in between
            connection_class=_Knowing,
            server_settings={"application_name": NAMESPACE},
            reset=_nothing,  # no statement of ours leaves anything behind in a session
        )
        try:
            async with pool.acquire() as connection:
                await _make_table(connection)
        except BaseException:
            pool.terminate()
            raise
        self._pool = pool
        return pool

    def _tidy_now_and_then(self) -> None:
        if time.monotonic() - self._tidied >= TIDY_SECONDS:
            self._tidied = time.monotonic()
            in_background(self._tidy())

    async def _tidy(self) -> None:
        try:
            await self._run("execute", TIDY)
        except Exception as error:  # only tidies: the next one is in an hour
            raise StoreUnavailable from error


async def _make_table(connection: Any) -> None:
    if await connection.fetchval("SELECT to_regclass($1)::text", NAMESPACE) is None:
        async with connection.transaction():  # servers that start at once would break each other's
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MAKING_THE_TABLE)
            await connection.execute(CREATE)
            await connection.execute(FOR_ITS_OWNER)
    elif await connection.fetchval("SELECT row_security_active($1::text)", NAMESPACE):
        raise asyncpg.InsufficientPrivilegeError("Every row of the table is hidden from this user.")


async def _nothing(connection: Any) -> None:
    pass


def _explained(error: Exception, where: str) -> StartRefused | StoreUnavailable:
    if isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in str(error):
        return refused(
            where,
            "speaks no TLS or has a certificate that is not trusted: see to its TLS, or to sslmode"
            " and sslrootcert in the URL",
        )
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return refused(
            where, "refuses the user or the password: correct them in the URL, or see pg_hba.conf"
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return refused(where, "has no such database: make it with createdb, or correct the URL")
    if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidSchemaNameError):
        return refused(
            where,
            f"does not let this user make or use the table {NAMESPACE}: make the user the owner of"
            " the database and of that table, or grant it CREATE on its schema",
        )
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return refused(where, "only reads: name the server that writes, not a replica of it")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return unreachable(where, "it has no connection to spare")
    if isinstance(error, asyncpg.CannotConnectNowError):
        return unreachable(where, "it is starting or stopping")
    if isinstance(error, TimeoutError):
        return unreachable(where, f"no answer within {CONNECT_SECONDS:.0f} seconds")
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
        return unreachable(where, reason(error))
    return refused(
        where, f"does not do what is asked of it ({type(error).__name__}): look into its log"
    )
