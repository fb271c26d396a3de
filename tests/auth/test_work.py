"""What a request costs, counted: durable writes, hashes of passwords, steps to a store, log lines.

Figures here are exact: one that grows is a change that somebody has to want.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_auth import open_store, owner
from personal_auth.audit import LINES_A_MINUTE
from personal_auth.limits import Limits
from personal_auth.shared import SharedStore
from personal_auth.store import Put
from tests.support.asgi import AppServer
from tests.support.counting import Counting
from tests.support.owner import Connection
from tests.support.owner import connect as connect_to
from tests.support.process import Running, command
from tests.support.site import (
    CALLBACK,
    PASSWORD,
    App,
    Visitor,
    approve,
    connect,
    ticket,
)

DURABLE = ["fsync of the file", "rename", "fsync of the folder"]
SOON_SECONDS = 0.02
CONNECTIONS = 5  # of a store, as many as are kept to a PostgreSQL

Steps = list[list[str]]


@dataclass
class Work:
    """What a server did since it was last asked."""

    server: AppServer
    disk: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)

    def written(self) -> list[str]:
        """Returns what was done to the disk, what comes a little later included."""
        self.server.run(asyncio.sleep(10 * SOON_SECONDS))
        done, self.disk[:] = self.disk[:], []
        return done

    def hashed(self) -> int:
        """Returns how often a password was hashed."""
        number = len(self.hashes)
        self.hashes.clear()
        return number


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """A server on the file store, whose work is counted."""
    server = AppServer(tmp_path / "state", limits=Limits(write_later_seconds=SOON_SECONDS))
    counted = Work(server)
    count(counted, monkeypatch)
    yield counted
    server.stop()


def count(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, replace, argon2id = os.fsync, os.replace, owner.Argon2id

    def counted_fsync(handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        work.disk.append("fsync of the folder" if folder else "fsync of the file")
        fsync(handle)

    def counted_replace(*arguments: Any, **named: Any) -> None:
        work.disk.append("rename")
        replace(*arguments, **named)

    class Counted:
        def __new__(cls, *arguments: Any, **named: Any) -> Any:
            work.hashes.append("made")
            return argon2id(*arguments, **named)

        @staticmethod
        def verify_phc_encoded(*arguments: Any) -> None:
            work.hashes.append("compared")
            argon2id.verify_phc_encoded(*arguments)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(os, "replace", counted_replace)
    monkeypatch.setattr(owner, "Argon2id", Counted)


def asked(app: App, visitor: Visitor) -> str:
    """Returns the ticket of an app's consent page."""
    return ticket(visitor.get("/authorize", params=app.query()))


def revoke(app: App, token: str) -> httpx.Response:
    return app.site.visitor().post("/revoke", data={"client_id": app.id, "token": token})


# Durable writes, on the file store


def test_a_refresh_is_one_durable_write(work: Work) -> None:
    app, tokens = connect(work.server)
    work.written()

    fresh = app.refresh(tokens["refresh_token"]).json()
    first = work.written()
    app.refresh(tokens["refresh_token"])
    retried = work.written()
    app.refresh(fresh["refresh_token"])

    assert [first, retried, work.written()] == [DURABLE] * 3


def test_a_code_is_redeemed_in_one_durable_write_its_claim_its_tokens_and_its_grant(
    work: Work,
) -> None:
    app = App.register(work.server)
    code = approve(app)
    work.written()

    app.redeem(code)

    assert work.written() == DURABLE


def test_an_approval_is_one_durable_write_with_a_sign_in_or_without(work: Work) -> None:
    browser = work.server.visitor()
    first, second = App.register(work.server), App.register(work.server)
    page = asked(first, browser)
    work.written()

    browser.submit(ticket=page, password=PASSWORD, decision="approve")
    with_a_sign_in = work.written()
    browser.submit(ticket=asked(second, browser), decision="approve")

    assert with_a_sign_in == DURABLE
    assert work.written() == DURABLE


def test_a_sign_in_in_a_browser_that_is_known_is_one_durable_write_too(work: Work) -> None:
    browser = work.server.visitor()
    first, second = App.register(work.server), App.register(work.server)
    browser.submit(ticket=asked(first, browser), password=PASSWORD, decision="approve")
    del browser.cookies["__Host-pa_session"]
    assert "__Host-pa_device" in browser.cookies
    page = asked(second, browser)
    work.written()

    browser.submit(ticket=page, password=PASSWORD, decision="approve")

    assert work.written() == DURABLE


def test_a_revocation_is_one_durable_write_and_one_for_what_is_beside_the_grant(work: Work) -> None:
    unused, its_tokens = connect(work.server)
    used, tokens = connect(work.server)
    work.server.visitor().call(tokens["access_token"])
    work.written()

    revoke(unused, its_tokens["refresh_token"])
    of_the_unused = work.written()
    revoke(used, tokens["refresh_token"])
    of_the_used = work.written()
    revoke(used, tokens["refresh_token"])

    assert (of_the_unused, of_the_used) == (DURABLE, DURABLE * 2)
    assert work.written() == []


def test_a_call_is_compared_with_two_routes_before_its_own(work: Work) -> None:
    paths = [route.path for route in work.server.app.routes]

    assert paths.index("/mcp") == 2


def test_nothing_that_strangers_ask_is_written(work: Work) -> None:
    stranger, app = work.server.visitor(), App.register(work.server)
    page = asked(app, stranger)

    wrong = stranger.submit(ticket=page, password="wrong", decision="approve")
    denied = stranger.submit(ticket=page, decision="deny")
    answers = [
        stranger.get("/.well-known/oauth-authorization-server"),
        stranger.call(None),
        stranger.call("pat_of_nobody"),
        app.redeem("pac_of_nobody"),
        app.refresh("prt_of_nobody"),
        revoke(app, "prt_of_nobody"),
    ]

    assert (wrong.status_code, denied.status_code) == (403, 303)
    assert [answer.status_code for answer in answers] == [200, 401, 401, 400, 400, 200]
    assert work.written() == []


def test_a_registration_that_does_not_fit_its_id_is_written_with_those_of_its_moment(
    work: Work,
) -> None:
    long_uri = f"https://claude.ai/{secrets.token_hex(200)}"

    clients = [App.register(work.server, CALLBACK, f"{long_uri}/{n}") for n in range(10)]

    assert {client.id.startswith("c1-") for client in clients} == {True}
    assert work.written() in (DURABLE, DURABLE * 2)


def test_calls_are_written_once_a_minute_however_many_there_are(work: Work) -> None:
    _, tokens = connect(work.server)
    caller = work.server.visitor()
    work.written()

    caller.call(tokens["access_token"])
    first = work.written()
    answers = [caller.call(tokens["access_token"]).status_code for _ in range(20)]

    assert first == DURABLE
    assert answers == [200] * 20
    assert work.written() == []


# Hashes of passwords


def test_a_sign_in_is_one_hash_whether_the_password_is_right_or_wrong(work: Work) -> None:
    browser, app = work.server.visitor(), App.register(work.server)
    page = asked(app, browser)

    browser.submit(ticket=page, password="wrong", decision="approve")
    wrong = work.hashed()
    browser.submit(ticket=page, password=PASSWORD, decision="approve")

    assert (wrong, work.hashed()) == (1, 1)


def test_a_password_that_waits_is_not_hashed(work: Work) -> None:
    stranger, app = work.server.visitor(), App.register(work.server)
    page = asked(app, stranger)
    attempts = Limits().free_attempts

    answers = [
        stranger.submit(ticket=page, password="wrong", decision="approve").status_code
        for _ in range(attempts + 5)
    ]

    assert answers == [403] * attempts + [429] * 5
    assert work.hashed() == attempts


def test_a_password_that_is_set_in_plain_text_is_hashed_once_more_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = AppServer(tmp_path / "state", password=PASSWORD)
    work, app = Work(server), App.register(server)
    count(work, monkeypatch)

    found = []
    for _ in range(3):
        approve(app)
        found.append(work.hashed())
    server.stop()

    assert found == [2, 1, 1]


def test_nothing_but_a_typed_password_is_hashed(work: Work) -> None:
    app, tokens = connect(work.server)
    browser = work.server.visitor()
    approve(app, browser)
    work.hashed()

    browser.submit(ticket=asked(App.register(work.server), browser), decision="approve")
    work.server.visitor().call(tokens["access_token"])
    work.server.visitor().call("pat_of_nobody")
    fresh = app.refresh(tokens["refresh_token"]).json()
    revoke(app, fresh["access_token"])

    assert work.hashed() == 0


# Steps to a store on a server of its own: what is asked together is one step


@dataclass
class Far:
    """A server whose state is in a store, and the way there."""

    server: AppServer
    way: Counting
    url: str

    def steps(self, call: Callable[[], httpx.Response], status: int = 200) -> Steps:
        """Returns the commands of each step that a request takes."""
        self.server.run(asyncio.sleep(0.2))  # what nobody waited for is over
        self.way.taken()
        answer = call()
        assert answer.status_code == status, answer.text
        return self.way.taken()

    def either(self, redis: str, postgres: str) -> Steps:
        """Returns one of two lists of steps, as `GET, SET SET` says two."""
        steps = redis if self.url.startswith("redis") else postgres
        return [step.split() for step in steps.split(", ")]


@pytest.fixture(scope="module", params=["redis", "postgres"])
def far(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    way = Counting(request.getfixturevalue(request.param))
    store = open_store(way.url)
    folder = tmp_path_factory.mktemp("far")
    server = AppServer(folder / "state", around=way.first, client_storage=store)
    server.run(use_every_connection(store))
    yield Far(server, way, way.url)
    server.stop(way.close())


async def use_every_connection(store: SharedStore) -> None:
    """Lets each connection to the store be open, and know what it will be asked."""
    puts = [Put("some", "a", {}, 60), Put("some", "b", {}, 60)]
    calls: list[Callable[[], Any]] = [
        lambda: store.get("a", collection="some"),
        lambda: store.get_many([("some", "a"), ("some", "b")]),
        lambda: store.put("a", {}, collection="some"),
        lambda: store.put_many(puts),
        lambda: store.delete("a", collection="some"),
    ]
    for call in calls:
        await asyncio.gather(*(call() for _ in range(CONNECTIONS)))


def test_a_call_asks_for_its_token_and_then_for_all_that_it_depends_on(far: Far) -> None:
    _, tokens = connect(far.server)
    caller = far.server.visitor()
    caller.call(tokens["access_token"])  # notes that the connection was used, once a minute

    found = far.steps(lambda: caller.call(tokens["access_token"]))

    assert found == far.either("GET, MGET", "SELECT, SELECT")


def test_a_token_that_is_refused_asks_once(far: Far) -> None:
    found = far.steps(lambda: far.server.visitor().call("pat_of_nobody"), 401)

    assert found == far.either("GET", "SELECT")


def test_what_needs_no_state_asks_for_nothing(far: Far) -> None:
    stranger = far.server.visitor()

    assert far.steps(lambda: stranger.get("/.well-known/oauth-authorization-server")) == []
    assert far.steps(lambda: stranger.call(None), 401) == []
    registration = {"client_name": "Some app", "redirect_uris": [CALLBACK]}
    assert far.steps(lambda: stranger.post("/register", json=registration), 201) == []


def test_a_refresh_reads_twice_and_writes_once(far: Far) -> None:
    app, tokens = connect(far.server)

    found = far.steps(lambda: app.refresh(tokens["refresh_token"]))
    retried = far.steps(lambda: app.refresh(tokens["refresh_token"]))
    refused = far.steps(lambda: app.refresh("prt_of_nobody"), 400)

    assert found == far.either("GET, MGET, SET SET SET", "SELECT, SELECT, INSERT")
    assert retried == far.either("GET, MGET, SET", "SELECT, SELECT, INSERT")
    assert refused == far.either("GET", "SELECT")


def test_an_approval_reads_who_is_there_and_writes_once(far: Far) -> None:
    browser, app = far.server.visitor(), App.register(far.server)
    approve(App.register(far.server), browser)
    page = asked(app, browser)

    found = far.steps(lambda: browser.submit(ticket=page, decision="approve"), 303)

    assert found == far.either("GET, GET, MGET, SET SET", "SELECT, SELECT, SELECT, INSERT")


def test_a_code_is_claimed_and_its_grant_is_written_last(far: Far) -> None:
    app = App.register(far.server)
    code = approve(app)

    found = far.steps(lambda: app.redeem(code))

    assert found == far.either(
        "GET, DEL, MGET, SET SET, SET", "SELECT, DELETE, SELECT, INSERT, INSERT"
    )


def test_a_revocation_deletes_the_grant_first_and_what_is_beside_it_together(far: Far) -> None:
    app, tokens = connect(far.server)

    found = far.steps(lambda: revoke(app, tokens["refresh_token"]))

    assert found == far.either(
        "MGET, GET, GET, DEL, DEL DEL DEL",
        "SELECT, SELECT, SELECT, DELETE, DELETE DELETE DELETE",
    )


# Lines of the log and entries of the trail, of a generated server


@pytest.fixture
def generated(rendered: Path, tmp_path: Path) -> Iterator[Running]:
    project = Path(shutil.copytree(rendered, tmp_path / "my-server"))
    server = Running(project, MCP_PASSWORD=PASSWORD)
    yield server
    server.kill()


def test_a_call_is_no_line_of_the_log_and_one_entry_of_the_trail(generated: Running) -> None:
    connection = connect_to(generated.url, PASSWORD)
    before = generated.log

    answers = [call(connection) for _ in range(10)]
    said = generated.log.removeprefix(before)
    assert generated.stop() == 0
    shown = command(generated.project, "trail", "--json", "--limit", "1000")

    assert answers == [200] * 10
    assert said == ""
    assert [entry["kind"] for entry in json.loads(shown.stdout)].count("call") == 10


def test_each_step_at_the_gate_is_one_line_of_the_log(generated: Running) -> None:
    before = generated.log

    connection = connect_to(generated.url, PASSWORD)
    connection.refresh()
    said = generated.log.removeprefix(before).splitlines()

    assert [line.partition("[")[2].partition("]")[0] for line in said] == [
        "client_registered",
        "approval_asked",
        "owner_signed_in",
        "connection_approved",
        "tokens_issued",
        "tokens_refreshed",
    ]


def test_refused_tokens_are_a_line_each_and_twenty_a_minute(generated: Running) -> None:
    stranger = Connection(generated.url, "", "pat_of_nobody", "")
    before = generated.log

    first = call(stranger)
    one = generated.log.removeprefix(before).splitlines()
    others = [call(stranger) for _ in range(2 * LINES_A_MINUTE)]

    assert [first, *others] == [401] * (1 + 2 * LINES_A_MINUTE)
    assert len(one) == 1
    assert len(generated.log.removeprefix(before).splitlines()) == LINES_A_MINUTE


def call(connection: Connection) -> int:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    return connection.post({**message, "params": {"name": "myserver_list"}}).status_code
