"""A PostgreSQL database for tools: statements with bound parameters, and what tables there are.

Each call is one transaction, READ ONLY and rolled back unless the database is opened as writable,
and its statement is one: the extended protocol takes no second. What a function with side effects
does, only the role can prevent: docs/postgres.md has one that can do nothing but read.
"""

from __future__ import annotations

import json
import re
from typing import Any, NotRequired

from typing_extensions import TypedDict

from personal_server.postgres_catalog import TABLES, Table, as_table
from personal_server.postgres_errors import NO_COPY, NO_ROWS, PostgresError
from personal_server.postgres_link import Limits, Link
from personal_server.postgres_values import TIMES, cut, json_value, parameter

__all__ = ["Database", "Limits", "PostgresError", "QueryResult", "TableList"]

_COPY = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*copy\b", re.IGNORECASE | re.DOTALL)


class Column(TypedDict):
    name: str
    type: str


class QueryResult(TypedDict):
    columns: list[Column]
    rows: list[list[Any]]
    row_count: int
    status: NotRequired[str]
    notice: NotRequired[str]


class TableList(TypedDict):
    tables: list[Table]
    only_named: NotRequired[list[str]]
    notice: NotRequired[str]


class Database:
    """The database whose URL is in a setting of the environment; nothing is opened until a call.

    It opens a connection for each call. With `keep`, that many stay open between calls and are
    checked before they are used again; docs/postgres.md says when that is worth it.
    """

    def __init__(
        self,
        setting: str = "POSTGRES_URL",
        *,
        writable: bool = False,
        keep: int = 0,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self._limits = limits
        self._link = Link(setting, writable=writable, keep=keep, limits=limits)

    async def run(
        self, statement: str, parameters: list[Any] | None = None, limit: int = 100
    ) -> QueryResult:
        """The result of one statement, whose $1, $2, ... are the parameters.

        Raises:
            PostgresError: It is refused, or PostgreSQL cannot be reached.
        """
        self._check(statement, parameters or [], limit)

        async with self._link.transaction() as connection:
            prepared = await _prepared(connection, statement)
            columns = prepared.get_attributes()
            if not columns and not self._link.writable:
                raise PostgresError(NO_ROWS)
            values = _bound(prepared.get_parameters(), parameters or [])
            status = ""
            if self._link.writable:  # to its end, whatever is shown of it
                rows = await prepared.fetch(*values)
                status = prepared.get_statusmsg()
            else:
                rows = await _first(prepared.cursor(*values, prefetch=limit + 1), limit + 1)

        result = self._result(columns, rows, limit)
        if status:
            result["status"] = status
        return result

    async def tables(self, names: list[str] | None = None) -> TableList:
        """The tables and views that the role may read, or those of the names.

        Raises:
            PostgresError: One of them does not exist, or PostgreSQL cannot be reached.
        """
        wanted = [name.replace('"', "") for name in names] if names else None
        most = self._limits.tables

        async with self._link.transaction() as connection:
            rows = await connection.fetch(TABLES, wanted, most + 1)

        found = [as_table(row) for row in rows[:most]]
        known = {
            name for table in found for name in (table["name"], table["name"].split(".", 1)[1])
        }
        if missing := [name for name in wanted or [] if name not in known]:
            raise PostgresError(
                f"There is no table {missing[0]} that may be read: leave the names out to see all."
            )
        return self._fitting(found, len(rows) > most)

    async def close(self) -> None:
        """No connection stays open; the next call opens a new one."""
        await self._link.close()

    def _check(self, statement: str, parameters: list[Any], limit: int) -> None:
        limits = self._limits
        if not statement.strip():
            raise PostgresError("The statement is empty: give one in PostgreSQL's SQL.")
        if not _is_text([statement, *parameters]):
            raise PostgresError("The call has a zero byte or half a character in it: remove it.")
        if len(statement) > limits.statement:
            raise PostgresError(
                f"The statement has {len(statement)} characters: shorten it to {limits.statement}."
            )
        if _COPY.match(statement) and self._link.writable:  # the driver would wait for data
            raise PostgresError(NO_COPY)
        if len(parameters) > limits.parameters:
            raise PostgresError(
                f"These are {len(parameters)} parameters: give at most {limits.parameters}, or one"
                " array."
            )
        if not 1 <= limit <= limits.rows:
            raise PostgresError(
                f"The limit is out of range: give a number from 1 to {limits.rows}."
            )

    def _result(self, columns: Any, rows: list[Any], limit: int) -> QueryResult:
        kinds = [column.type.name for column in columns]
        shown: list[list[Any]] = []
        left, longest = self._limits.answer, 0
        for row in rows[:limit]:
            cells = [
                cut(json_value(value, kind), self._limits.value)
                for value, kind in zip(row.values(), kinds, strict=True)
            ]
            line = [cell for cell, _ in cells]
            left -= len(json.dumps(line, ensure_ascii=False))
            if left < 0 and shown:
                break
            longest = max([longest, *(length for _, length in cells)])
            shown.append(line)
        result: QueryResult = {
            "columns": [
                {"name": c.name, "type": kind} for c, kind in zip(columns, kinds, strict=True)
            ],
            "rows": shown,
            "row_count": len(shown),
        }
        if notice := self._notice(len(shown), len(rows), limit, longest):
            result["notice"] = notice
        return result

    def _notice(self, shown: int, fetched: int, limit: int, longest: int) -> str:
        notices = []
        if shown < min(fetched, limit):
            notices.append(
                f"Only the first {shown} rows are shown, since more would be too long: select"
                " fewer columns, or the next rows with ORDER BY and OFFSET."
            )
        elif fetched > limit:
            notices.append(
                f"There are more than these {limit} rows: narrow the statement, count in it, or ask"
                " for the next rows with ORDER BY and OFFSET."
            )
        if longest:
            notices.append(
                f"Values of up to {longest} characters are cut to {self._limits.value}, ending in"
                " …: read the rest with substr(column::text, start, length)."
            )
        return " ".join(notices)

    def _fitting(self, found: list[Table], more: bool) -> TableList:
        left, shown = self._limits.answer, 0
        for table in found:
            left -= len(json.dumps(table, ensure_ascii=False))
            if left < 0 and shown:
                break
            shown += 1
        answer: TableList = {"tables": found[:shown]}
        if shown < len(found):
            answer["only_named"] = [table["name"] for table in found[shown:]]
        if more:
            answer["notice"] = (
                f"There are more than these {len(found)} tables: find names in the view"
                " information_schema.tables, then ask for those."
            )
        elif shown < len(found):
            answer["notice"] = "The tables in only_named are not described: ask for them by name."
        return answer


def _is_text(value: Any) -> bool:
    """Tells whether PostgreSQL can take all the text in a value of JSON."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return not isinstance(value, list) or all(_is_text(one) for one in value)


async def _prepared(connection: Any, statement: str) -> Any:
    """Prepares one statement, with times as text wherever that is possible."""
    prepared = await connection.prepare(statement)
    types = [*prepared.get_parameters(), *(column.type for column in prepared.get_attributes())]
    times = {type.name.removesuffix("[]") for type in types} & TIMES
    if times and all(type.kind in ("scalar", "array") for type in types):
        for name in sorted(times):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=str, decoder=str, format="text"
            )
        prepared = await connection.prepare(statement)
    return prepared


def _bound(types: Any, parameters: list[Any]) -> list[Any]:
    if len(types) != len(parameters):
        raise PostgresError(
            f"The statement has {len(types)} parameters ($1, $2, ...) and the call"
            f" {len(parameters)}: give one for each."
        )
    values = []
    for number, (type, given) in enumerate(zip(types, parameters, strict=True), 1):
        try:
            values.append(parameter(given, type.name))
        except (ValueError, OverflowError):
            raise PostgresError(
                f"The parameter ${number} is no {type.name}: give one that can be read as such."
            ) from None
    return values


async def _first(cursor: Any, most: int) -> list[Any]:
    rows = []
    async for row in cursor:
        rows.append(row)
        if len(rows) == most:
            break
    return rows
