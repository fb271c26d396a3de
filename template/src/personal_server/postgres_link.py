"""Connections to PostgreSQL: one for each call, or kept and checked before they are used again.

A serverless PostgreSQL drops idle connections, and others are restarted: a connection that was
opened at start goes stale. Whatever happens to one is a sentence for the assistant, and the next
call works. The log names the kind of an error and never its text, which may hold the URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from personal_server.hangup import while_asked
from personal_server.postgres_errors import (
    LOST,
    LOST_WHILE_WRITING,
    PostgresError,
    cannot_connect,
    refused_statement,
)
from personal_server.postgres_url import UrlRefused, arguments

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # for the server to stop a statement by itself, and for a polite goodbye
IDLE_SECONDS = 120.0  # in a transaction whose client is gone
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True)
class Limits:
    """Every bound of the database tools; sizes are in characters where nothing else is said."""

    rows: int = 1_000  # that a call may ask for
    tables: int = 300  # that are described at once
    answer: int = 60_000  # as JSON: some 20,000 tokens
    value: int = 10_000
    statement: int = 20_000
    parameters: int = 100
    received_bytes: int = 16 * 2**20  # that PostgreSQL may send in a call
    connect_seconds: float = 10.0
    statement_seconds: float = 30.0
    busy_seconds: float = 10.0  # how long a call waits for its turn
    connections: int = 5  # at once


class Bounded(asyncpg.Connection):  # type: ignore[misc]
    """A connection that ends when the server sends more than it may: a row can have a gigabyte."""

    __slots__ = ("loop", "most", "received")

    def __init__(self, protocol: Any, transport: Any, loop: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, loop, *rest)
        self.loop, self.most, self.received = loop, Limits.received_bytes, 0
        transport.set_protocol(_Counting(self, protocol, transport))

    @property
    def sent_too_much(self) -> bool:
        return self.received > self.most


class _Counting(asyncio.Protocol):
    def __init__(self, connection: Bounded, inner: Any, transport: Any) -> None:
        self._connection, self._inner, self._transport = connection, inner, transport
        for name in ("connection_lost", "eof_received", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(inner, name))

    def data_received(self, data: bytes) -> None:
        self._connection.received += len(data)
        if self._connection.sent_too_much:
            self._transport.abort()
        else:
            self._inner.data_received(data)


class Link:
    """The way to one database, whose URL stands in the environment.

    With `keep`, that many connections stay open between calls. A read-only link begins each
    transaction as READ ONLY, in a session whose transactions are read-only by default as well.
    """

    def __init__(self, setting: str, *, writable: bool, keep: int, limits: Limits) -> None:
        self.writable = writable
        self._setting, self._keep, self._limits = setting, keep, limits
        self._turns = asyncio.Semaphore(limits.connections)
        self._idle: list[Bounded] = []
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._session_settings = True  # until a pooler in between refuses them
        milliseconds = round(limits.statement_seconds * 1000)
        self._begin = (
            f"BEGIN {'' if writable else 'READ ONLY'};"
            "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';"
            f"SET LOCAL idle_in_transaction_session_timeout = {round(IDLE_SECONDS * 1000)};"
            # A shorter limit of the role stays. As a query this also takes the snapshot, after
            # which nothing turns the transaction into one that writes.
            f"SELECT pg_catalog.set_config('statement_timeout', '{milliseconds}', true)"
            " WHERE pg_catalog.current_setting('statement_timeout')::interval"
            f" NOT BETWEEN '1 ms' AND '{milliseconds} ms'"
        )

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Bounded]:
        """Yields a connection in a transaction; it is committed if the link is writable.

        Raises:
            PostgresError: PostgreSQL cannot be reached, refuses, takes too long or goes away.
        """
        async with self._turn(), while_asked():
            connection = await self._begun()
            try:
                with self._one_sentence(connection):
                    async with asyncio.timeout(self._limits.statement_seconds + GRACE_SECONDS):
                        yield connection
                        await connection.execute("COMMIT" if self.writable else "ROLLBACK")
            except BaseException:
                self._dismiss(connection)
                raise
            await self._let_go(connection)

    async def close(self) -> None:
        """No connection stays open; the next call opens a new one."""
        while self._idle:
            self._dismiss(self._idle.pop())
        if self._goodbyes:
            await asyncio.wait(self._goodbyes)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.busy_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise PostgresError("Other calls keep the database busy: try again later.") from None
        try:
            yield
        finally:
            self._turns.release()

    async def _begun(self) -> Bounded:
        """Returns a connection in its transaction; to begin one is the check of a kept one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed() or connection.loop is not asyncio.get_running_loop():
                continue
            try:
                return await self._in_transaction(connection, GRACE_SECONDS)
            except BROKEN:  # stale, as are the others if nothing answers
                while self._idle:
                    self._dismiss(self._idle.pop())
        return await self._connected()

    async def _in_transaction(self, connection: Bounded, seconds: float) -> Bounded:
        connection.received = 0
        try:
            async with asyncio.timeout(seconds):
                await connection.execute(self._begin)
        except BaseException:
            self._dismiss(connection)
            raise
        return connection

    async def _connected(self) -> Bounded:
        try:
            connection = await self._connect()
            return await self._in_transaction(connection, self._limits.connect_seconds)
        except PostgresError:
            raise
        except Exception as error:  # whatever is in it, the text may hold a part of the URL
            logger.error("%s cannot be used to connect: %s.", self._setting, _kind(error))
            raise PostgresError(cannot_connect(self._setting, error)) from None

    async def _connect(self) -> Bounded:
        url = os.environ.get(self._setting, "").strip()
        if not url:
            raise PostgresError(
                f"{self._setting} is not set: write the URL of a database into .env, as"
                " .env.example shows, and restart the server."
            )
        try:
            given = arguments(url, self._limits.connect_seconds)
        except UrlRefused as refused:
            raise PostgresError(f"{self._setting} {refused}.") from None
        settings = {} if self.writable else {"default_transaction_read_only": "on"}
        if "target_session_attrs" in given["dsn"]:  # which would take the session for a standby's
            settings = {}
        try:
            return await self._open(given, settings if self._session_settings else {})
        except asyncpg.PostgresError as error:
            if not settings or "startup parameter" not in str(error):
                raise
        self._session_settings = False
        return await self._open(given, {})

    async def _open(self, given: dict[str, Any], settings: dict[str, str]) -> Bounded:
        async with asyncio.timeout(given["timeout"]):
            connection: Bounded = await asyncpg.connect(
                **given,
                connection_class=Bounded,
                server_settings=settings,
                statement_cache_size=0,  # no named statements, which a pooler would mix up
            )
        connection.most = self._limits.received_bytes
        return connection

    async def _let_go(self, connection: Bounded) -> None:
        if await self._is_clean(connection) and len(self._idle) < self._keep:
            self._idle.append(connection)
        else:
            await asyncio.shield(self._dismiss(connection))

    async def _is_clean(self, connection: Bounded) -> bool:
        """Cleans a connection that is to be kept; a failure costs no answer, which is complete."""
        if len(self._idle) >= self._keep:
            return False
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await connection.execute("DISCARD ALL")
        except BROKEN:
            return False
        except BaseException:
            self._dismiss(connection)
            raise
        return True

    def _dismiss(self, connection: Bounded) -> asyncio.Task[None]:
        """Ends a connection in the background, and first what it runs: the caller may be gone."""
        task = asyncio.get_running_loop().create_task(_goodbye(connection))
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)
        return task

    @contextlib.contextmanager
    def _one_sentence(self, connection: Bounded) -> Any:
        try:
            yield
        except asyncpg.QueryCanceledError:
            raise PostgresError(self._too_long()) from None
        except TimeoutError:
            logger.error("%s: PostgreSQL did not answer in time.", self._setting)
            raise PostgresError(self._too_long()) from None
        except (*BROKEN, ValueError, OverflowError, UnicodeError) as error:
            if connection.sent_too_much:
                raise PostgresError(
                    f"The result is larger than {self._limits.received_bytes // 2**20} MiB: select"
                    " fewer rows or columns, or a part of a long value with left(column, 1000)."
                ) from None
            if connection.is_closed() or _is_shutdown(error):
                logger.error("%s: the connection was lost: %s.", self._setting, _kind(error))
                raise PostgresError(LOST_WHILE_WRITING if self.writable else LOST) from None
            raise PostgresError(refused_statement(error, self.writable)) from None

    def _too_long(self) -> str:
        return (
            f"The statement was stopped after {self._limits.statement_seconds:g} seconds: ask for"
            " less at a time, or by a condition that an index serves."
        )


async def _goodbye(connection: Bounded) -> None:
    with contextlib.suppress(*BROKEN):
        await connection.close(timeout=GRACE_SECONDS)


def _is_shutdown(error: BaseException) -> bool:
    return str(getattr(error, "sqlstate", None) or "").startswith(("57P", "08"))


def _kind(error: BaseException) -> str:
    return " ".join(filter(None, [type(error).__name__, getattr(error, "sqlstate", "")]))
