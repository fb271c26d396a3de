"""The database tools read and never write, come back after every failure, and tell no password."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from personal_server.postgres import Database, Limits, PostgresError
from tests.generate.project import copy, snapshot
from tests.support.database import Postgres, database
from tests.support.owner import Connection, connect, rpc
from tests.support.process import Running
from tests.support.tls import Authority

SENTENCE = re.compile(r"[A-Z][^\n]*[^.!?]\.( [A-Z][^\n]*\.)?\Z")
PASSWORD = "p@ss/w:rd?#%41 'Ü"
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, since date DEFAULT '2020-01-01');
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, note text);
COMMENT ON TABLE orders IS 'What was ordered'; COMMENT ON COLUMN orders.note IS 'For the kitchen';
CREATE VIEW "Late Orders" AS SELECT * FROM orders;
CREATE TABLE hidden (secret text);
CREATE TYPE mood AS ENUM ('well', 'ill'); CREATE TYPE place AS (street text, built date);
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n;
INSERT INTO orders SELECT n, n FROM generate_series(1, 50) n;
ANALYZE;
CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO orders VALUES (99); RETURN 1; END$$;
CREATE PROCEDURE escape(INOUT n int) LANGUAGE plpgsql AS
  $$BEGIN COMMIT; INSERT INTO orders VALUES (99); END$$;
CREATE SEQUENCE numbers;
GRANT ALL ON customers, orders, "Late Orders" TO reader;
GRANT ALL ON SEQUENCE numbers TO reader;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The role `reader` may write to two tables, so that only the tools keep it from that."""
    with database() as server:
        server.sql("CREATE ROLE reader LOGIN; CREATE ROLE guarded LOGIN")
        quoted = PASSWORD.replace("'", "''")
        server.sql(f"ALTER ROLE guarded PASSWORD '{quoted}'; GRANT reader TO guarded")
        server.sql(TABLES)
        server.ask_for_passwords("guarded")
        yield server


@pytest.fixture(autouse=True)
def setting(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", server.url_of("reader"))


def during(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(work())  # type: ignore[arg-type]


def run(statement: str, *parameters: Any, limit: int = 100, **options: Any) -> Any:
    async def once() -> Any:
        opened = Database(**options)
        try:
            return await opened.run(statement, list(parameters), limit)
        finally:
            await opened.close()

    return asyncio.run(once())


def refusal(statement: str, *parameters: Any, **options: Any) -> str:
    with pytest.raises(PostgresError) as caught:
        run(statement, *parameters, **options)

    assert SENTENCE.match(str(caught.value)), str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def row(statement: str, *parameters: Any) -> Any:
    return run(statement, *parameters)["rows"][0]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not come true in 10 s"
        time.sleep(0.02)


# Reading


def test_values_arrive_as_json_that_loses_nothing() -> None:
    statement = """SELECT 1, 9007199254740993, 12.50::numeric, 'NaN'::numeric, 'Infinity'::float8,
      true, NULL, 'text', '\\x00ff'::bytea, '2025-12-31'::date, 'infinity'::date,
      '0044-03-15 BC'::date, '2025-12-31 12:00+00'::timestamptz, '24:00'::time,
      '1 mon 3 days'::interval, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
      '{1,2,NULL}'::int[], '{2025-12-31,infinity}'::date[], '{"a": [1.5, null]}'::jsonb,
      '{well,ill}'::mood[], '10.0.0.0/8'::cidr, B'101', 'a b'::tsvector, '16/B374D848'::pg_lsn"""

    assert row(statement) == [
        *(1, "9007199254740993", "12.50", "NaN", "Infinity", True, None, "text", "\\x00ff"),
        *("2025-12-31", "infinity", "0044-03-15 BC", "2025-12-31 12:00:00+00", "24:00:00"),
        *("1 mon 3 days", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", [1, 2, None]),
        *(["2025-12-31", "infinity"], {"a": [1.5, None]}, ["well", "ill"], "10.0.0.0/8", "101"),
        *("'a' 'b'", "16/B374D848"),
    ]


def test_ranges_and_composite_values_arrive_too() -> None:
    statement = """SELECT '[2025-01-01,2025-02-01)'::daterange, 'empty'::int4range,
      '(,5)'::numrange, ('A street', '2025-01-01')::place, '((0,0),(1,1))'::path,
      '{[1,3),[5,7)}'::int4multirange, 'infinity'::date"""

    assert row(statement) == [
        *("[2025-01-01,2025-02-01)", "empty", "(,5)"),
        {"street": "A street", "built": "2025-01-01"},
        *([[0.0, 0.0], [1.0, 1.0]], ["[1,3)", "[5,7)"], "infinity"),
    ]


def test_json_that_clients_cannot_read_arrives_as_text() -> None:
    deep = "[" * 900 + "]" * 900

    answer = run("SELECT $1::text::json, '{\"half\": \"\\ud83d\"}'::json, '1e999'::json", deep)

    assert answer["rows"] == [[deep, {"half": "?"}, "Infinity"]]
    json.dumps(answer, allow_nan=False).encode()


def test_parameters_are_bound_in_the_types_of_their_places() -> None:
    given = ["2025-12-31", "5", 7, {"a": 1}, ["1", 2, None], "1.50", "true", "\\x00ff", 1]
    casts = ["date", "int", "text", "jsonb", "int[]", "numeric", "bool", "bytea", "float8"]
    places = ", ".join(f"${n}::{cast}" for n, cast in enumerate(casts, 1))

    answer = row(f"SELECT {places}", *given)

    assert answer == [
        *("2025-12-31", 5, "7", {"a": 1}, [1, 2, None], "1.50", True, "\\x00ff", 1.0),
    ]
    assert row("SELECT $1", "'; DROP TABLE orders; --") == ["'; DROP TABLE orders; --"]
    assert row("SELECT count(*) FROM orders WHERE id = ANY ($1)", [1, 2, 999]) == [2]


@pytest.mark.parametrize(
    ("statement", "parameters", "says"),
    [
        ("SELECT $1::int", ["x"], "parameter $1 is no int4"),
        ("SELECT $1::int", [1.5], "parameter $1 is no int4"),
        ("SELECT $1::int", [[1]], "parameter $1 is no int4"),
        ("SELECT $1::int", [2**40], "A parameter does not fit"),
        ("SELECT $1::daterange", ["[2025-01-01,)"], "cast such as $1::text::date"),
        ("SELECT $1::date", ["soon"], "invalid input syntax for type date"),
        ("SELECT $1::int", [], "has 1 parameters ($1, $2, ...) and the call 0"),
        ("SELECT 1", ["a"], "has 0 parameters ($1, $2, ...) and the call 1"),
        ("SELECT $1::text", ["\0"], "zero byte"),
        ("SELECT $1::jsonb", [{"a": ["\ud800"]}], "half a character"),
        ("SELECT '\0'", [], "zero byte"),
        (" ", [], "statement is empty"),
        ("SELECT 1" + " " * 20_000, [], "shorten it to 20000"),
        ("SELEC 1", [], "(42601): syntax error at or near"),
        ("SELECT nam FROM customers", [], "Hint: Perhaps you meant"),
        ("SELECT * FROM hidden", [], "permission denied for table hidden"),
        ("SELECT 1 / 0", [], "division by zero"),
        ("SELECT most_common_vals FROM pg_stats", [], "cast it to text"),
    ],
)
def test_a_statement_that_cannot_be_answered_is_refused_in_one_sentence(
    statement: str, parameters: list[Any], says: str
) -> None:
    assert says in refusal(statement, *parameters)


def test_an_answer_says_when_there_is_more_of_it() -> None:
    rows = run("SELECT n FROM generate_series(1, 200) n", limit=150)
    wide = run("SELECT n, repeat('x', 1000) FROM generate_series(1, 500) n", limit=1000)
    long = run("SELECT repeat('é', 30000), '{}'::jsonb")
    exact = run("SELECT n FROM generate_series(1, 150) n", limit=150)

    assert (rows["row_count"], len(rows["rows"])) == (150, 150)
    assert "more than these 150 rows" in rows["notice"]
    assert f"Only the first {wide['row_count']} rows" in wide["notice"]
    assert len(json.dumps(wide)) < 62_000
    assert len(long["rows"][0][0]) == 10_001
    assert "Values of up to 30000 characters are cut to 10000" in long["notice"]
    assert "notice" not in exact


def test_a_result_without_end_is_not_taken_into_memory() -> None:
    small = Limits(received_bytes=2**20)

    says = refusal("SELECT repeat('x', 100000000)", limits=small)

    assert says.startswith("The result is larger than 1 MiB")
    assert "larger than 1 MiB" in refusal(
        "SELECT repeat('x', 9000) FROM generate_series(1, 900)", limits=small, limit=900
    )


@pytest.mark.parametrize("limit", [-1, 0, 1001, 10**30])
def test_the_number_of_rows_has_bounds(limit: int) -> None:
    assert "from 1 to 1000" in refusal("SELECT 1", limit=limit)


def tables(*names: str, **options: Any) -> Any:
    return during(lambda: Database(**options).tables(list(names) or None))


def test_tables_are_described_with_what_a_query_needs() -> None:
    found = {table["name"]: table for table in tables()["tables"]}

    assert list(found) == ["public.Late Orders", "public.customers", "public.orders"]
    assert found["public.Late Orders"]["kind"] == "view"
    assert found["public.customers"] == {
        "name": "public.customers",
        "kind": "table",
        "rows_estimate": 50,
        "keys": ["PRIMARY KEY (id)"],
        "columns": [
            {"name": "id", "type": "integer", "required": True},
            {"name": "name", "type": "text", "required": True},
            {"name": "since", "type": "date", "default": "'2020-01-01'::date"},
        ],
    }
    orders = found["public.orders"]
    assert orders["comment"] == "What was ordered"
    assert orders["columns"][2]["comment"] == "For the kitchen"
    assert "FOREIGN KEY (customer) REFERENCES customers(id)" in orders["keys"]


def test_tables_are_described_by_name() -> None:
    named = tables("orders", 'public."Late Orders"')["tables"]

    assert [table["name"] for table in named] == ["public.Late Orders", "public.orders"]
    for name in ("hidden", "nothing"):
        with pytest.raises(PostgresError, match=f"no table {name} that may be read"):
            tables("orders", name)


def test_what_is_not_described_is_named() -> None:
    short = tables(limits=Limits(answer=700))
    few = tables(limits=Limits(tables=2))

    assert [table["name"] for table in short["tables"]] == [
        "public.Late Orders",
        "public.customers",
    ]
    assert short["only_named"] == ["public.orders"]
    assert "more than these 2 tables" in few["notice"]


# Only reading


ESCAPES = [
    "DELETE FROM orders",
    "DELETE FROM orders RETURNING id",
    "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
    "SELECT sneak()",
    "CALL escape(1)",
    "SELECT nextval('numbers')",
    "SELECT 1 INTO made",
    "SELECT id FROM orders FOR UPDATE",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "SELECT 1; DELETE FROM orders",
    "COMMIT; DELETE FROM orders",
    "COMMIT",
    "ROLLBACK AND CHAIN",
    "BEGIN READ WRITE",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('transaction_read_only', 'off', true), sneak()",
    "SELECT set_config('default_transaction_read_only', 'off', false), sneak()",
    "DO $$BEGIN COMMIT; DELETE FROM orders; END$$",
    "PREPARE later AS DELETE FROM orders",
    "CREATE TEMPORARY TABLE made (id int)",
    "COPY orders TO PROGRAM 'true'",
    "COPY orders TO '/tmp/orders'",
    "COPY orders FROM STDIN",
    "COPY orders TO STDOUT",
    "SET statement_timeout = 0",
    "LISTEN everything",
    "NOTIFY everybody",
    "LOCK TABLE orders",
    "VACUUM",
    "TRUNCATE orders",
    "DROP TABLE orders",
]


@pytest.mark.parametrize("role", ["reader", "owner"])
def test_nothing_that_is_sent_writes(
    server: Postgres, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", server.url_of(role))

    async def attempts() -> list[str]:
        said, kept = [], Database(keep=1)
        for statement in ESCAPES:
            with pytest.raises(PostgresError) as caught:
                await kept.run(statement)
            said.append(str(caught.value))
        for name in ("transaction_read_only", "default_transaction_read_only"):
            assert (await kept.run(f"SHOW {name}"))["rows"] == [["on"]]
        await kept.close()
        return said

    said = during(attempts)

    assert server.sql("SELECT count(*) FROM orders WHERE id <= 50")[0][0] == 50
    assert server.sql("SELECT count(*) FROM orders")[0][0] == 50
    assert server.sql("SELECT count(*) FROM pg_class WHERE relname = 'made'")[0][0] == 0
    assert all(SENTENCE.match(sentence) for sentence in said)
    assert sum("This tool only reads" in sentence for sentence in said) >= 25


def test_a_call_leaves_nothing_for_the_next_on_the_same_connection() -> None:
    async def calls() -> list[Any]:
        kept = Database(keep=1)
        first = await kept.run(
            "SELECT pg_backend_pid(), pg_advisory_lock(7), set_config('work_mem', '99MB', false),"
            " set_config('default_transaction_read_only', 'off', false)"
        )
        second = await kept.run(
            "SELECT pg_backend_pid(), current_setting('work_mem'),"
            " current_setting('default_transaction_read_only'),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
        )
        await kept.close()
        return [*first["rows"][0][:1], *second["rows"][0]]

    before, after, memory, read_only, locks = during(calls)

    assert before == after
    assert (memory != "99MB", read_only, locks) == (True, "on", 0)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(0.2)"
        " FROM generate_series(1, 900)",
        "SELECT count(*) FROM generate_series(1, 100000000000)",
    ],
)
def test_a_statement_that_takes_too_long_is_stopped_on_the_server(
    server: Postgres, statement: str
) -> None:
    hasty = Limits(statement_seconds=0.3)

    assert "stopped after 0.3 seconds" in refusal(statement, limits=hasty, limit=900)
    assert server.sessions("reader") == []


def test_a_shorter_time_limit_of_the_role_stays(server: Postgres) -> None:
    server.sql("ALTER ROLE reader SET statement_timeout = '1234ms'")
    try:
        assert row("SHOW statement_timeout") == ["1234ms"]
    finally:
        server.sql("ALTER ROLE reader RESET statement_timeout")
    assert row("SHOW statement_timeout") == ["30s"]


# Writing


def test_a_writable_database_keeps_what_succeeds_and_only_that(server: Postgres) -> None:
    async def writes() -> list[Any]:
        open_to_change = Database(writable=True)
        made = await open_to_change.run("INSERT INTO orders VALUES ($1) RETURNING id", [60])
        changed = await open_to_change.run("UPDATE orders SET note = $1 WHERE id = 60", ["warm"])
        return [made, changed]

    made, changed = during(writes)

    assert (made["rows"], made["status"]) == ([[60]], "INSERT 0 1")
    assert (changed["rows"], changed["status"]) == ([], "UPDATE 1")
    assert server.sql("SELECT note FROM orders WHERE id = 60")[0][0] == "warm"
    twice = "INSERT INTO orders VALUES (61), (60)"
    assert "duplicate key value" in refusal(twice, writable=True)
    assert "use SELECT or INSERT" in refusal("/* */ COPY orders FROM STDIN", writable=True)
    assert run("DELETE FROM orders WHERE id > 50", writable=True)["status"] == "DELETE 1"


# Connections that end


@pytest.fixture(params=[0, 2], ids=["a connection per call", "kept connections"])
def keep(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_sessions_ended_between_calls_are_not_noticed(server: Postgres, keep: int) -> None:
    async def calls() -> list[Any]:
        opened = Database(keep=keep)
        answers = []
        for _ in range(3):
            answers += await asyncio.gather(*(opened.run("SELECT 1") for _ in range(3)))
            ended = await asyncio.to_thread(server.end_sessions, "reader")
            assert ended == keep
        server_restarts = asyncio.to_thread(server.control, "-m", "immediate", "restart")
        await server_restarts
        answers.append(await opened.run("SELECT 1"))
        await opened.close()
        return answers

    answers = during(calls)

    assert [answer["rows"] for answer in answers] == [[[1]]] * 10


@pytest.mark.parametrize("how", ["ended", "restarted"])
def test_a_session_ended_during_a_call_is_one_sentence_and_the_next_call_works(
    server: Postgres, keep: int, how: str
) -> None:
    async def calls() -> tuple[str, Any]:
        opened = Database(keep=keep)
        await opened.run("SELECT 1")
        call = asyncio.create_task(opened.run("SELECT pg_sleep(30)"))
        await asyncio.to_thread(wait_until, lambda: sleeping(server))
        if how == "ended":
            await asyncio.to_thread(server.end_sessions, "reader")
        else:
            await asyncio.to_thread(server.control, "-m", "fast", "restart")
        with pytest.raises(PostgresError) as caught:
            await call
        answer = await opened.run("SELECT 1")
        await opened.close()
        return str(caught.value), answer["rows"]

    says, rows = during(calls)

    assert says == "The connection to PostgreSQL was lost during the call: call the tool again."
    assert rows == [[1]]


def sleeping(server: Postgres) -> bool:
    return any("pg_sleep" in query for _, state, query in server.sessions("reader") if state)


def test_a_cancelled_call_is_cancelled_on_the_server(server: Postgres, keep: int) -> None:
    async def calls() -> Any:
        opened = Database(keep=keep)
        call = asyncio.create_task(opened.run("SELECT pg_sleep(30)"))
        await asyncio.to_thread(wait_until, lambda: sleeping(server))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(wait_until, lambda: not server.sessions("reader"))
        answer = await opened.run("SELECT 1")
        await opened.close()
        return answer["rows"]

    assert during(calls) == [[1]]


def test_a_silent_server_is_given_up_and_found_again(server: Postgres, keep: int) -> None:
    hasty = Limits(connect_seconds=0.3, statement_seconds=0.1)

    async def calls() -> tuple[list[str], float, Any]:
        opened, said = Database(keep=keep, limits=hasty), []
        await opened.run("SELECT 1")
        with server.silent():
            began = time.monotonic()
            with pytest.raises(PostgresError) as caught:
                await opened.run("SELECT 1")
            said.append(str(caught.value))
            took = time.monotonic() - began
        answer = await opened.run("SELECT 1")
        await opened.close()
        return said, took, answer["rows"]

    said, took, rows = during(calls)

    assert said[0].startswith("PostgreSQL did not answer in time: see whether it runs")
    assert took < 10  # a bound, not a measurement: without one it would hang for ever
    assert rows == [[1]]


def test_more_calls_than_connections_wait_for_their_turn(server: Postgres) -> None:
    few = Limits(connections=2, busy_seconds=0.3)

    async def calls() -> tuple[list[Any], str]:
        opened = Database(limits=few)
        answers = await asyncio.gather(*(opened.run("SELECT pg_sleep(0.01)") for _ in range(8)))
        held = [asyncio.create_task(opened.run("SELECT pg_sleep(30)")) for _ in range(2)]
        await asyncio.to_thread(wait_until, lambda: len(server.sessions("reader")) == 2)
        with pytest.raises(PostgresError) as caught:
            await opened.run("SELECT 1")
        for call in held:
            call.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await opened.close()
        return answers, str(caught.value)

    answers, says = during(calls)

    assert len(answers) == 8
    assert says == "Other calls keep the database busy: try again later."


# The setting


def test_a_password_may_have_any_character(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    escaped = quote(PASSWORD, safe="")
    for options in ("", "?connect_timeout=5&application_name=mine&channel_binding=prefer"):
        monkeypatch.setenv("POSTGRES_URL", server.url_of("guarded", escaped, options))
        assert row("SELECT current_user") == ["guarded"]
    monkeypatch.setenv(
        "POSTGRES_URL", server.url_of("guarded", "", "?password=" + escaped + "&sslmode=disable")
    )
    assert row("SELECT current_user") == ["guarded"]


UNUSABLE = {
    "": "POSTGRES_URL is not set",
    "not a url": "is no URL of a PostgreSQL database",
    "mysql://guarded:SECRET@127.0.0.1/x": "is no URL of a PostgreSQL database",
    "postgresql://guarded:SECRET@127.0.0.1:PORT/postgres": "refuses the user or the password",
    "postgresql://guarded:SEC@RET@127.0.0.1:PORT/postgres": "write @ as %40",
    "postgresql://guarded:SEC/RET@127.0.0.1:PORT/postgres": "write @ as %40",
    "postgresql://guarded:SEC?RET@127.0.0.1:PORT/postgres": "is no URL: write",
    "postgresql://guarded:SEC#RET@127.0.0.1:PORT/postgres": "write @ as %40",
    "postgresql://guarded:SEC[RET@127.0.0.1:PORT/postgres": "is no URL: write",
    "postgresql://guarded:SECRET": "has a port that is no number",
    "postgresql://guarded:S%45CRET@127.0.0.1:PORT/postgres": "refuses the user or the password",
    "postgresql://reader:SECRET@127.0.0.1:PORT/nothing": "The database in POSTGRES_URL does not",
    "postgresql://reader:SECRET@127.0.0.1:CLOSED/postgres": "Nothing listens at the host and port",
    "postgresql://reader:SECRET@host.invalid/postgres": "The host in POSTGRES_URL is not known",
    "postgresql://reader:SECRET@/postgres?host=/nowhere": "Nothing listens at the host and port",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?sslmode=SECRET": "has an unknown sslmode",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?sslmode=require": "offers no TLS",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?sslrootcert=/SECRET": "names a file in",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?SECRET=1": "has an option that cannot",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?SECRET": "is no URL: write",
    "postgresql://reader:SECRET@127.0.0.1:PORT/postgres?connect_timeout=SECRET": "no number of",
    "postgresql://reader:SECRET@127.0.0.1:SILENT/postgres?connect_timeout=0.2": "did not answer",
}


@pytest.mark.parametrize(("url", "cause"), UNUSABLE.items())
def test_a_url_that_cannot_be_used_is_one_sentence_without_a_piece_of_it(
    server: Postgres,
    url: str,
    cause: str,
    unused_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = {"PORT": server.port, "CLOSED": unused_port, "SILENT": silent.getsockname()[1]}
        for name, port in ports.items():
            url = url.replace(f":{name}", f":{port}")
        monkeypatch.setenv("POSTGRES_URL", url)

        says = refusal("SELECT 1")

    assert cause in says
    assert not [piece for piece in ("SEC", "RET", "S%45") if piece in says + caplog.text]


def test_tls_is_verified_as_libpq_does(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "Another authority")
    server.offer_tls(authority.issue("localhost"))

    def with_options(options: str, host: str = "localhost") -> None:
        url = server.url_of("reader", "", f"?{options}").replace("127.0.0.1", host)
        monkeypatch.setenv("POSTGRES_URL", url)

    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for options, uses_tls in (
        ("sslmode=require", True),
        (f"sslmode=verify-full&sslrootcert={authority.file}", True),
        ("", True),
        ("sslmode=disable", False),
    ):
        with_options(options)
        assert row(encrypted) == [uses_tls]
    for options, host in (
        (f"sslmode=verify-full&sslrootcert={other.file}", "localhost"),
        (f"sslmode=verify-full&sslrootcert={authority.file}", "127.0.0.1"),
        ("sslrootcert=system", "localhost"),
        ("sslmode=require&channel_binding=require", "localhost"),
    ):
        with_options(options, host)
        assert "certificate of the PostgreSQL server cannot be verified" in refusal("SELECT 1")


def test_a_pooler_that_refuses_settings_of_the_session_is_asked_without_them(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pooler(server.port or 0) as pooler:
        url = server.url_of("reader", "", "?sslmode=disable")
        monkeypatch.setenv("POSTGRES_URL", url.replace(str(server.port), str(pooler.port)))

        async def calls() -> list[Any]:
            opened = Database()
            answers = [await opened.run("SHOW transaction_read_only") for _ in range(2)]
            with pytest.raises(PostgresError, match="only reads"):
                await opened.run("SELECT sneak()")
            return answers

        answers = during(calls)

    assert [answer["rows"] for answer in answers] == [[["on"]]] * 2
    assert pooler.refused == 1


class Pooler:
    """Passes everything on, but refuses a session that begins with settings, as PgBouncer does."""

    def __init__(self, behind: int) -> None:
        self.behind, self.refused = behind, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Pooler:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        begin = client.recv(65536)
        if b"default_transaction_read_only" in begin:
            self.refused += 1
            said = b"unsupported startup parameter: default_transaction_read_only"
            fields = b"SFATAL\0VFATAL\0C08P01\0M" + said + b"\0\0"
            client.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
            client.close()
            return
        with client, contextlib.suppress(OSError):  # either end may go away
            server = socket.create_connection(("127.0.0.1", self.behind))
            with server:
                server.sendall(begin)
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


# Through the front door


@pytest.fixture(scope="module")
def served(
    server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Connection]]:
    folder = tmp_path_factory.mktemp("database")
    project = folder / "my-server"
    copy(snapshot(folder / "template"), project, examples=["postgres"])
    write = (project / "docs/postgres.md").read_text().split("```python\n")[1].split("```")[0]
    (project / "src/my_server/tools/postgres_write.py").write_text(write)
    (project / ".env").write_text(
        f"POSTGRES_URL='{server.url_of('guarded', quote(PASSWORD, safe=''))}'\n"
        f"POSTGRES_WRITE_URL='{server.url_of('guarded', 'SECRET')}'\n"
    )
    running = Running(project)
    yield running, connect(running.url, running.password)
    running.kill()


def called(connection: Connection, tool: str, **arguments: Any) -> Any:
    return rpc(connection, "tools/call", name=f"myserver_{tool}", arguments=arguments)


def test_a_client_sees_what_each_tool_may_change(served: tuple[Running, Connection]) -> None:
    listed = {tool["name"]: tool for tool in rpc(served[1], "tools/list")["tools"]}

    hints = {name: tool["annotations"]["readOnlyHint"] for name, tool in listed.items()}

    assert hints == {
        "myserver_describe_tables": True,
        "myserver_query_database": True,
        "myserver_change_database": False,
    }
    assert listed["myserver_change_database"]["annotations"]["destructiveHint"] is True
    assert '"null"' not in json.dumps([tool["outputSchema"] for tool in listed.values()])


def test_a_client_asks_the_database_and_a_wrong_password_stops_only_the_tool(
    served: tuple[Running, Connection],
) -> None:
    running, client = served

    found = called(client, "describe_tables", tables=["orders"])["structuredContent"]
    counted = called(
        client, "query_database", sql="SELECT count(*) FROM orders WHERE id < $1", parameters=[11]
    )
    refused = called(client, "change_database", sql="DELETE FROM orders")
    sneaked = called(client, "query_database", sql="DELETE FROM orders RETURNING 1")
    unknown = called(client, "query_database", sql="SELECT 1", limit="many")

    assert found["tables"][0]["name"] == "public.orders"
    assert counted["structuredContent"]["rows"] == [[10]]
    assert refused["isError"]
    assert "user or the password in POSTGRES_WRITE_URL" in refused["content"][0]["text"]
    assert "only reads" in sneaked["content"][0]["text"]
    assert SENTENCE.match(unknown["content"][0]["text"])
    told = running.log + json.dumps([refused, sneaked])
    assert "SECRET" not in told
    assert PASSWORD not in told
    assert quote(PASSWORD, safe="") not in told


def test_a_client_that_hangs_up_ends_its_statement(
    server: Postgres, served: tuple[Running, Connection]
) -> None:
    _, client = served
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"sql": "SELECT pg_sleep(25)"}
    params = {"name": "myserver_query_database", "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    head = (
        "POST /mcp HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        "Mcp-Method: tools/call\r\nMcp-Name: myserver_query_database\r\n"
        f"Authorization: Bearer {client.access_token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).replace("PORT", client.url.rpartition(":")[2])

    def runs() -> bool:
        return any("pg_sleep" in query for _, _, query in server.sessions("guarded"))

    with socket.create_connection(("127.0.0.1", int(client.url.rpartition(":")[2]))) as browser:
        browser.sendall((head + body).encode())
        wait_until(runs)

    wait_until(lambda: not runs())


def test_the_role_in_the_docs_can_read_and_nothing_else(
    server: Postgres, served: tuple[Running, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (served[0].project / "docs/postgres.md").read_text()
    role = page.split("```sql\n")[1].split("```")[0]
    server.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    server.sql(role.replace("DATABASE mydatabase", "DATABASE postgres"))
    monkeypatch.setenv("POSTGRES_URL", server.url_of("assistant"))

    assert row("SELECT count(*) FROM customers") == [50]
    assert row("SHOW statement_timeout") == ["30s"]
    for statement in ("INSERT INTO customers VALUES (99, 'x')", "CREATE TABLE made (id int)"):
        assert "permission denied" in refusal(statement, writable=True) or "only" in refusal(
            statement, writable=True
        )
    assert "permission denied" in refusal("SELECT pg_read_file('/etc/passwd')")
