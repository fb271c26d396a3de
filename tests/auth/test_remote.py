"""The stores on a server of their own: real Redis and PostgreSQL, behind the front door."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis

from personal_auth import StartRefused, open_store
from personal_auth.errors import StoreUnavailable
from personal_auth.postgres_store import TIDY, PostgresStore
from personal_auth.records import Records
from personal_auth.remote import named
from personal_auth.shared import SharedStore
from personal_auth.store import Put
from tests.support import programs
from tests.support.relay import relayed
from tests.support.site import App, Clock, Site, approve, connect


@pytest.fixture(scope="module", params=["redis", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def away(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose state is in the store."""
    clock = Clock()
    site = Site(tmp_path_factory.mktemp("away") / "state", clock, client_storage=open_store(url))
    yield site
    site.stop()


def test_a_client_stays_connected_over_a_restart_of_the_server(away: Site) -> None:
    app, tokens = connect(away)
    fresh = app.refresh(tokens["refresh_token"]).json()

    away.restart()

    assert app.refresh(tokens["refresh_token"]).json() == fresh
    assert away.visitor().call(fresh["access_token"]).status_code == 200
    assert not (away.state_dir / "oauth_tokens.json").exists()


def test_one_of_many_redeems_a_code(away: Site) -> None:
    app = App.register(away)
    code = approve(app)

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: app.redeem(code).status_code, range(20)))

    assert sorted(answers) == [200] + [400] * 19


def test_a_hundred_requests_at_once_are_all_answered(away: Site) -> None:
    _, tokens = connect(away)

    with ThreadPoolExecutor(100) as crowd:
        calls = crowd.map(lambda _: away.visitor().call(tokens["access_token"]), range(100))

    assert {call.status_code for call in calls} == {200}


def test_connections_are_listed_and_revoked(away: Site) -> None:
    _, tokens = connect(away)
    _, kept = connect(away)

    async def revoke_one() -> int:
        before = await away.provider.service.connections.all()
        gid = (await away.provider.service.check(tokens["access_token"])).grant_id
        await away.provider.service.connections.revoke(gid)
        return len(before) - len(await away.provider.service.connections.all())

    revoked = asyncio.run_coroutine_threadsafe(revoke_one(), away.loop).result(10)

    assert revoked == 1
    assert away.visitor().call(tokens["access_token"]).status_code == 401
    assert away.visitor().call(kept["access_token"]).status_code == 200


def test_connections_that_were_dropped_are_made_anew(away: Site, url: str) -> None:
    _, tokens = connect(away)

    drop_all(url)
    codes = [away.visitor().call(tokens["access_token"]).status_code for _ in range(3)]

    assert codes == [200] * 3


def test_a_store_that_hangs_is_503_in_time_and_needs_no_restart(away: Site, url: str) -> None:
    _, tokens = connect(away)

    def timed(_: object) -> tuple[int, float]:
        began = time.monotonic()
        status = away.visitor().call(tokens["access_token"]).status_code
        return status, time.monotonic() - began

    with stopped(url), ThreadPoolExecutor(30) as crowd:
        found = list(crowd.map(timed, range(30)))
    after = retried(lambda: away.visitor().call(tokens["access_token"]).status_code == 200)

    assert {status for status, _ in found} == {503}
    assert max(seconds for _, seconds in found) < 4.5
    assert after


def test_nothing_lies_in_the_state_directory(away: Site, tmp_path: Path) -> None:
    connect(away)

    assert not away.state_dir.exists() or not list(away.state_dir.iterdir())


# The stores alone


Work = Callable[[SharedStore], Awaitable[Any]]


def using(url: str, work: Work) -> Any:
    """Does some work with a store of its own."""

    async def opened() -> Any:
        store = open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(opened())


def test_a_change_whose_answer_is_lost_is_made_once_and_claimed_by_nobody(
    redis: str, tmp_path: Path, clock: Clock
) -> None:
    port = int(redis.rpartition(":")[2].partition("/")[0])
    with relayed(port) as relay:
        url = redis.replace(f":{port}", f":{relay.port}")
        site = Site(tmp_path / "lossy", clock, client_storage=open_store(url))
        try:
            waiting = App.register(site)
            code = approve(waiting)
            relay.lose_the_answer(b"DEL")
            claims = [waiting.redeem(code) for _ in range(2)]
            app, tokens = connect(site)
            relay.lose_the_answer(b":refresh:")
            renewed = [app.refresh(tokens["refresh_token"]).json() for _ in range(2)]
            relay.lose_the_answer(b"DEL")
            form = {"token": tokens["refresh_token"], "client_id": app.id}
            revoked = site.visitor().post("/revoke", data=form)
            opened = site.visitor().call(renewed[0]["access_token"])
        finally:
            site.stop()

    assert [claim.json()["error"] for claim in claims] == ["invalid_grant"] * 2
    assert renewed[0]["refresh_token"] == renewed[1]["refresh_token"]
    assert (revoked.status_code, opened.status_code) == (200, 401)


def drop_all(url: str) -> None:
    """Lets the server hang up on everybody."""
    if url.startswith("redis"):
        with Redis.from_url(url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal")
    else:
        ask(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        )


def ask(url: str, *statements: str) -> Any:
    """Asks PostgreSQL; returns the last statement's value."""

    async def asked() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(asked())


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """Lets every process of the server stand still."""
    if url.startswith("redis"):
        with Redis.from_url(url) as client:
            first = int(client.info("server")["process_id"])
    else:
        folder = Path(ask(url, "SHOW data_directory"))
        first = int((folder / "postmaster.pid").read_text().splitlines()[0])
    frozen = programs.freeze(first)
    try:
        yield
    finally:
        programs.thaw(frozen)


def retried(call: Callable[[], bool], seconds: float = 10) -> bool:
    """Calls until it is true; False when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if call():
            return True
    return False


def test_a_record_comes_back_as_it_was_put_and_ends_with_its_time(url: str) -> None:
    odd = {"text": "\x00 \ud800 é 🙈", "number": 1.5, "list": [None, True, {"deep": ""}]}

    async def work(store: SharedStore) -> None:
        await store.put("k", odd, collection="odd")
        assert await store.get("k", collection="odd") == odd
        assert await store.get("k", collection="other") is None
        await store.put("short", {}, collection="odd", ttl=0.2)
        assert sorted(await store.all_keys("odd")) == ["k", "short"]
        while await store.get("short", collection="odd") is not None:
            await asyncio.sleep(0.02)
        assert await store.delete("short", collection="odd") is False
        assert await store.all_keys("odd") == ["k"]
        await store.put("k", {"new": 1}, collection="odd", ttl=600)
        rows = [put async for put in store.rows() if put.collection == "odd"]
        assert [(put.key, put.value) for put in rows] == [("k", {"new": 1})]
        assert rows[0].ttl == pytest.approx(600, abs=5)

    using(url, work)


def test_several_records_are_written_each_with_its_time_and_read_as_they_were_asked_for(
    url: str,
) -> None:
    async def work(store: SharedStore) -> None:
        odd = {"text": "\x00 \ud800 é 🙈"}
        await store.put("b", {"old": 1}, collection="several", ttl=0.2)
        await store.put_many(
            [
                Put("several", "a", odd, 600),
                Put("several", "b", {"new": 1}),
                Put("other", "a", {}, 0.2),
            ]
        )
        wanted = [("other", "a"), ("several", "b"), ("several", "c"), ("several", "a")]
        assert await store.get_many([*wanted, wanted[1]]) == [{}, {"new": 1}, None, odd, {"new": 1}]
        while await store.get("a", collection="other") is not None:
            await asyncio.sleep(0.02)
        assert await store.get_many(wanted) == [None, {"new": 1}, None, odd]
        lives = {put.key: put.ttl async for put in store.rows() if put.collection == "several"}
        assert lives == {"a": pytest.approx(600, abs=5), "b": None}

    using(url, work)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_behind_a_pooler_each_statement_may_run_in_another_session(
    postgres: str, mode: str
) -> None:
    async def write_and_read(store: SharedStore, name: str) -> None:
        for number in range(20):
            puts = [Put(mode, f"{name}-{number}-{each}", {each: number}, 600) for each in "ab"]
            await store.put_many(puts)
            found = await store.get_many([(put.collection, put.key) for put in puts])
            assert found == [put.value for put in puts]
            assert await store.delete(puts[0].key, collection=mode)
            assert await store.get(puts[0].key, collection=mode) is None

    async def work(store: SharedStore) -> None:
        await asyncio.gather(*(write_and_read(store, name) for name in "cdefghij"))
        assert len(await store.all_keys(mode)) == 8 * 20

    with programs.pgbouncer(postgres, mode) as through:
        using(through, work)


def test_of_many_at_once_one_writes_what_is_absent_and_one_deletes_it(url: str) -> None:
    async def work(store: SharedStore) -> None:
        others = [open_store(url) for _ in range(4)]
        puts = [(each, Put("once", "k", {"by": i})) for i, each in enumerate(others * 15)]
        wrote = await asyncio.gather(*(each.put_new(put) for each, put in puts))
        held = await store.get("k", collection="once")
        deleted = await asyncio.gather(*(each.delete("k", collection="once") for each, _ in puts))
        for each in others:
            await each.close()

        assert wrote.count(True) == deleted.count(True) == 1
        assert held == {"by": wrote.index(True)}

    using(url, work)


def test_of_many_servers_at_once_one_claims_what_nobody_has(url: str) -> None:
    async def work(store: SharedStore) -> None:
        others = [open_store(url) for _ in range(4)]
        claims = [Records(each).claim(Put("claims", "k", {}, 60)) for each in others * 15]
        claimed = await asyncio.gather(*claims)
        later = await Records(store).claim(Put("claims", "k", {}, 60))
        for each in others:
            await each.close()

        assert (claimed.count(True), later) == (1, False)

    using(url, work)


def test_every_key_of_a_collection_is_listed_beside_thirty_thousand_others(url: str) -> None:
    if url.startswith("redis"):
        with Redis.from_url(url) as client:
            client.mset({f"grants::{number}": "{}" for number in range(30_000)})
    else:
        ask(
            url,
            "CREATE TABLE kv_store AS SELECT 'many' AS collection, n::text AS key"
            " FROM generate_series(1, 30000) n",
        )

    async def work(store: SharedStore) -> None:
        for start in range(0, 1500, 100):
            names = [(f"k{n}", c) for n in range(start, start + 100) for c in ("many", "more")]
            await asyncio.gather(*(store.put(key, {}, collection=c) for key, c in names))
        began = time.monotonic()
        keys = await store.all_keys("many")
        seconds = time.monotonic() - began
        rows = [put.key async for put in store.rows() if put.collection == "many"]
        assert sorted(keys) == sorted(rows) == sorted(f"k{n}" for n in range(1500))
        assert seconds < 2.5

    using(url, work)


def test_four_that_start_at_once_on_an_empty_database_all_come_up(postgres: str) -> None:
    ask(postgres, "CREATE DATABASE empty")
    url = postgres.rpartition("/")[0] + "/empty"

    async def work(store: SharedStore) -> list[Any]:
        stores = [store, *(open_store(url) for _ in range(3))]
        puts = [each.put_new(Put("owner", "key", {"by": i})) for i, each in enumerate(stores)]
        wrote = await asyncio.gather(*puts)
        for each in stores[1:]:
            await each.close()
        return wrote

    assert sorted(using(url, work)) == [False, False, False, True]


def test_who_may_read_every_table_of_the_database_reads_nothing_of_the_state(postgres: str) -> None:
    ask(postgres, "CREATE DATABASE shared")
    url = postgres.rpartition("/")[0] + "/shared"
    ask(url, "CREATE ROLE assistant LOGIN")
    ask(url, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO assistant")
    using(url, lambda store: store.put("key", {"key": "ab"}, collection="owner"))
    assistant = url.replace("owner@", "assistant@")

    assert ask(url, "SELECT count(*) FROM personal_auth") == 1
    assert ask(assistant, "SELECT count(*) FROM personal_auth") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        ask(assistant, "INSERT INTO personal_auth VALUES ('grants', 'x', '{}')")
    assert "owner of the database and of that table" in refusal(assistant)


def test_expired_rows_are_removed(postgres: str) -> None:
    async def work(store: SharedStore) -> None:
        assert isinstance(store, PostgresStore)
        await store.put("k", {}, collection="tidy", ttl=0)
        await store._run("execute", TIDY)

    using(postgres, work)

    assert ask(postgres, "SELECT count(*) FROM personal_auth WHERE collection = 'tidy'") == 0


ODD = "p@ss/w:rd?#%é"
ODD_CODES = "p%40ss%2Fw%3Ard%3F%23%25%C3%A9"


def reaching(url: str) -> None:
    using(url, lambda store: store.reach())


def refusal(url: str) -> str:
    with pytest.raises(StartRefused) as refused:
        reaching(url)
    return str(refused.value)


def test_redis_takes_a_percent_coded_password_and_refuses_a_wrong_one(redis: str) -> None:
    with Redis.from_url(redis) as client:
        client.config_set("requirepass", ODD)
    try:
        reaching(redis.replace("//", f"//:{ODD_CODES}@"))
        said = [refusal(redis), refusal(redis.replace("//", "//:SECRET@"))]
    finally:
        with Redis.from_url(redis.replace("//", f"//:{ODD_CODES}@")) as client:
            client.config_set("requirepass", "")

    assert (
        said == [f"{named(redis)} refuses the user or the password: correct them in the URL."] * 2
    )


def test_redis_may_give_a_user_no_more_than_our_keys(redis: str) -> None:
    page = (Path(__file__).parents[2] / "template/docs/stores.md.jinja").read_text()
    rights = re.search(r"on >password (~personal_auth.*)`", page)
    assert rights
    with Redis.from_url(redis) as client:
        client.execute_command(*["ACL", "SETUSER", "some", "on", ">pw", "~other:*", "+@all"])
        client.execute_command(*["ACL", "SETUSER", "ours", "on", ">pw"], *rights[1].split())

    async def all_of_it(store: SharedStore) -> None:
        await store.reach()
        assert await store.put_new(Put("acl", "k", {}, 60))
        await store.put("k", {}, collection="acl")
        assert await store.all_keys("acl") == ["k"]
        assert [put async for put in store.rows()]
        assert await store.others() >= 0
        assert await store.delete("k", collection="acl")

    using(redis.replace("//", "//ours:pw@"), all_of_it)

    assert "personal_auth:*" in refusal(redis.replace("//", "//some:pw@"))
    assert "number of a database" in refusal(redis.rpartition("/")[0] + "/99")


@pytest.fixture(scope="module")
def guarded(postgres: str) -> Iterator[str]:
    """A PostgreSQL that asks for a password; the role may make nothing."""
    host = re.sub("//.*@", f"//ada:{ODD_CODES}@", postgres)
    hba = ask(postgres, "SHOW hba_file")
    before = Path(hba).read_text()
    ask(
        postgres,
        f"CREATE ROLE ada LOGIN PASSWORD '{ODD}'",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "CREATE DATABASE adas OWNER ada",
    )
    Path(hba).write_text(f"host all ada 127.0.0.1/32 scram-sha-256\n{before}")
    ask(postgres, "SELECT pg_reload_conf()")
    yield host
    Path(hba).write_text(before)


def test_postgres_takes_a_percent_coded_password_and_refuses_a_wrong_one(guarded: str) -> None:
    url = guarded.rpartition("/")[0] + "/adas"
    assert retried(lambda: "password" in refusal(url.replace(ODD_CODES, "SECRET")))

    reaching(url)
    wrong = refusal(url.replace(ODD_CODES, "SECRET"))

    assert wrong.startswith(f"{named(url)} refuses the user or the password")
    assert "SECRET" not in wrong
    assert "no such database" in refusal(guarded.rpartition("/")[0] + "/none")


def test_postgres_that_lets_nobody_make_a_table_says_what_to_grant(
    guarded: str, postgres: str
) -> None:
    ask(postgres, "CREATE DATABASE closed")
    closed = guarded.rpartition("/")[0] + "/closed"

    assert "grant it CREATE" in refusal(closed)


def test_postgres_that_only_reads_is_not_taken(postgres: str) -> None:
    ask(postgres, "CREATE DATABASE replica")
    ask(postgres, "ALTER DATABASE replica SET default_transaction_read_only = on")

    assert "only reads" in refusal(postgres.rpartition("/")[0] + "/replica")


def test_tls_is_spoken_and_a_certificate_is_looked_at(tmp_path: Path) -> None:
    port, folder = programs.free_port(), str(tmp_path)
    certificate = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(
        certificate.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--save", ""]
    files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]
    program = programs.need("redis-server")
    process = subprocess.Popen([program, *options, *files], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        programs.wait_for(port)
        url = f"rediss://localhost:{port}/0"
        reaching(f"{url}?ssl_ca_certs={tmp_path / 'cert.pem'}")
        reaching(f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false")
        said = refusal(url)
    finally:
        process.terminate()
        process.wait(10)

    assert "not trusted" in said


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_a_server_that_is_not_there_may_come_back(kind: str) -> None:
    url = f"{kind}://ada:SECRET@127.0.0.1:{programs.free_port()}/0"

    with pytest.raises(StoreUnavailable) as away:
        reaching(url)

    assert "cannot be reached (Connection refused): start it" in away.value.description
    assert "SECRET" not in away.value.description
