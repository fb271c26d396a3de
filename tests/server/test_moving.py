"""An owner's server whose state moves: a client signs in once and goes on at every place."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from tests.support import programs
from tests.support.owner import Connection, connect, rpc
from tests.support.process import Running, command

Run = Callable[..., Running]

FOREIGN = 30_000


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """A Redis in which somebody else keeps a lot."""
    with programs.redis() as url:
        with Redis.from_url(url) as client:
            keys = {f"grants::{number:016x}": "{}" for number in range(FOREIGN)}
            client.mset({**keys, "personal_authority:grants:x": "{}"})
        yield url
        with Redis.from_url(url) as client:
            assert client.exists(*keys, "personal_authority:grants:x") == FOREIGN + 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL in which somebody else keeps a lot, for a role with an odd password."""

    async def fill(url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("CREATE TABLE kv_store (collection text, key text)")
            await connection.execute(
                "INSERT INTO kv_store SELECT 'grants', n::text FROM generate_series(1, $1) n",
                FOREIGN,
            )
        finally:
            await connection.close()

    with programs.postgres() as url:
        asyncio.run(fill(url))
        yield url.replace("owner@", "owner:p%40ss%2Fw%3Ard@")


def still_works(connection: Connection) -> None:
    assert rpc(connection, "tools/list")["tools"]
    assert connection.refresh().status_code == 200


def listed(project: Path, **settings: str) -> list[str]:
    done = command(project, "connections", "--json", **settings)
    assert done.returncode == 0, done.stderr
    return [row["id"] for row in json.loads(done.stdout)]


def moved(project: Path, to: str, *options: str, **settings: str) -> str:
    done = command(project, "state", "move", to, *options, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "p%40ss" not in done.stdout
    return done.stdout


def refused(project: Path, *arguments: str, **settings: str) -> str:
    done = command(project, *arguments, **settings)
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1
    assert "p%40ss" not in done.stderr
    return done.stderr


def test_a_client_that_signed_in_once_goes_on_from_file_to_redis_to_postgres_and_back(
    run: Run, project: Path, redis: str, postgres: str
) -> None:
    server = run()
    connection = connect(server.url, server.password)
    port, before = str(server.port), listed(project)
    busy = refused(project, "state", "move", redis)
    server.stop()

    dry = moved(project, redis, "--dry-run")
    there = moved(project, redis)
    gone = command(project)  # serves, were it not for this
    server = run(MCP_PORT=port, MCP_STORAGE_URL=redis)
    still_works(connection)
    in_redis = listed(project, MCP_STORAGE_URL=redis)
    used = refused(project, "state", "move", postgres, MCP_STORAGE_URL=redis)
    server.stop()

    further = moved(project, postgres, MCP_STORAGE_URL=redis)
    server = run(MCP_PORT=port, MCP_STORAGE_URL=postgres)
    still_works(connection)
    in_postgres = listed(project, MCP_STORAGE_URL=postgres)
    server.stop()

    home = moved(project, "file", MCP_STORAGE_URL=postgres)
    run(MCP_PORT=port)
    still_works(connection)

    assert len(before) == 1
    assert in_redis == in_postgres == listed(project) == before
    assert "stop it" in busy
    assert "Nothing was written" in dry
    assert f"MCP_STORAGE_URL={redis}" in there
    assert gone.returncode == 2
    assert "was moved to the Redis at" in gone.stderr.splitlines()[-1]
    assert "stop every server" in used
    assert "to the URL of the PostgreSQL at" in further
    assert "remove MCP_STORAGE_URL" in home
    assert refused(project, "connections", MCP_STORAGE_URL=redis).startswith("The state of this")
    with Redis.from_url(redis, decode_responses=True) as client:
        assert list(client.scan_iter("personal_auth:*")) == ["personal_auth:owner:key"]
    revoked = command(project, "connections", "revoke", before[0])
    assert revoked.returncode == 0, revoked.stderr
    assert connection.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code == 401


def test_an_empty_store_is_not_begun_while_the_connections_are_still_in_the_file(
    run: Run, project: Path, redis: str
) -> None:
    server, elsewhere = run(), redis.replace("/0", "/1")
    connection = connect(server.url, server.password)
    port = str(server.port)
    server.stop()

    started = command(project, MCP_STORAGE_URL=elsewhere)  # serves, were it not for this
    asked = refused(project, "connections", MCP_STORAGE_URL=elsewhere)
    piped = command(project, "state", "move", "-", stdin=f"{elsewhere}\n")  # no list shows it
    run(MCP_PORT=port, MCP_STORAGE_URL=elsewhere)

    assert started.returncode == 2
    assert "The connections (1) are still in" in started.stderr.splitlines()[-1]
    assert asked.startswith("The connections (1) are still in")
    assert "`state move`" in asked
    assert piped.returncode == 0, piped.stderr
    still_works(connection)


def test_a_target_that_cannot_be_meant_is_one_sentence(project: Path, redis: str) -> None:
    unknown = refused(project, "state", "move", "mysql://owner:SECRET@localhost/x")
    same = refused(project, "state", "move", "file")
    empty = refused(project, "state", "move", redis)

    assert "SECRET" not in unknown
    assert "redis://" in unknown
    assert "already" in same
    assert "nothing to move" in empty


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_an_unreachable_store_is_one_sentence_for_a_command_and_503_for_a_server(
    project: Path, run: Run, kind: str
) -> None:
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        url = f"{kind}://owner:SECRET@127.0.0.1:{probe.getsockname()[1]}/0"

        said = refused(project, "connections", MCP_STORAGE_URL=url)
        server = run(MCP_STORAGE_URL=url)

    assert "cannot be reached (Connection refused)" in said
    assert "SECRET" not in said + server.log
    assert "Until then this server answers 503." in server.log


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_store_that_refuses_stops_the_start_with_one_sentence(
    project: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url: str = request.getfixturevalue(kind)
    wrong = url.replace("127", "ada:SECRET@127", 1) if kind == "redis" else f"{url}_none"

    done = command(project, MCP_STORAGE_URL=wrong)

    assert done.returncode == 2
    assert "correct" in done.stderr.splitlines()[-1]
    assert "SECRET" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_driver_that_is_not_installed_is_one_sentence_with_the_line_to_run(project: Path) -> None:
    blocker = project / "src" / "sitecustomize.py"
    blocker.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('redis', 'asyncpg') else find(name, *a)\n"
    )

    for url, line in [
        ("redis://localhost/0", "--data storage=redis"),
        ("postgresql://localhost/d", "uv add asyncpg"),
    ]:
        # FastMCP's setting lets Python itself start, where sitecustomize counts.
        said = refused(project, "connections", MCP_STORAGE_URL=url, FASTMCP_LOG_LEVEL="INFO")
        assert line in said
