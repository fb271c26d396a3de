"""What the owner says of a connection, and its use: on one store, by several servers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from personal_auth import open_store
from personal_auth.addresses import caller
from personal_auth.errors import InvalidGrant, InvalidScope, InvalidToken, StoreUnavailable
from personal_auth.grants import Connection, Grants, Tokens
from personal_auth.limits import Limits
from personal_auth.reading import HeldToReading
from personal_auth.records import Records
from personal_auth.seen import Seen
from personal_auth.store import KeyValue, SnapshotStore
from tests.support.asgi import AppServer
from tests.support.hammer import (
    CALLBACK,
    CLIENT,
    OTHER,
    VERIFIER,
    Chance,
    Death,
    Fate,
    Held,
    Landing,
    Mortal,
    approval,
    grants_over,
)
from tests.support.site import PASSWORD, App, Clock, answer_of
from tests.support.site import ticket as ticket_of

nonces = map("page {}".format, itertools.count())
HOUR = 60 * 60


@dataclass
class Replicas:
    """Two servers on one store."""

    store: KeyValue
    clock: Clock
    one: Grants
    other: Grants

    async def connected(self, nonce: str = "", **choice: Any) -> tuple[str, Tokens]:
        nonce = nonce or next(nonces)
        code = await self.one.codes.issue(approval(nonce, **choice))
        assert code is not None
        return self.one.codes.id_of(nonce), await self.redeem(code)

    async def redeem(self, code: str) -> Tokens:
        return await self.one.redeem(code, CLIENT, CALLBACK, VERIFIER)

    async def reads_only(self, access: str) -> bool:
        """Tells what a token opens, on both the same."""
        found = [await each.check(access) for each in (self.one, self.other)]
        assert found[0] == found[1]
        return found[0].read_only

    async def beside(self, gid: str) -> list[Any]:
        """Returns what is kept of a connection, itself included."""
        keys = [(gid, "grants"), (f"{gid}/name", "grants"), (f"{gid}/reading", "grants")]
        keys.append((gid, "seen"))
        found = [await self.store.get(key, collection=place) for key, place in keys]
        return [record for record in found if record is not None]

    def mortal(self, fate: Fate) -> Grants:
        return grants_over(Mortal(self.store, fate), self.clock)


@asynccontextmanager
async def replicas_at(url: str) -> AsyncIterator[Replicas]:
    clock = Clock()
    if url == "memory:":
        store = SnapshotStore(lambda raw: None, clock=clock)
        yield Replicas(store, clock, grants_over(store, clock), grants_over(store, clock))
        await store.close()
        return
    stores = [open_store(url), open_store(url)]
    one, other = (grants_over(each, clock) for each in stores)
    yield Replicas(stores[0], clock, one, other)
    for each in stores:
        await each.close()


@pytest.fixture(params=["memory", "redis", "postgres"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Plays a scenario with two servers on a store."""
    url = "memory:" if request.param == "memory" else request.getfixturevalue(request.param)

    async def play(scenario: Callable[[Replicas], Awaitable[None]]) -> None:
        async with replicas_at(url) as replicas:
            await scenario(replicas)

    return lambda scenario: asyncio.run(play(scenario))


def in_memory(scenario: Callable[[Replicas], Awaitable[None]]) -> None:
    async def play() -> None:
        async with replicas_at("memory:") as replicas:
            await scenario(replicas)

    asyncio.run(play())


# Narrowed and widened


def test_narrowing_holds_at_once_for_every_token_on_every_server(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, before = await here.connected()
        free = await here.reads_only(before.access)

        assert await here.other.connections.narrow(gid, True)
        held = await here.reads_only(before.access)
        after = await here.one.refresh(before.refresh, CLIENT)
        asked = await here.one.refresh(after.refresh, CLIENT, "tools")
        tokens = [before.access, after.access, asked.access]

        assert (free, held) == (False, True)
        assert [await here.reads_only(each) for each in tokens] == [True] * 3
        assert (after.scopes, asked.scopes) == (
            ("tools:read", "offline_access"),
            ("tools:read",),
        )

        assert await here.one.connections.narrow(gid, False)
        assert [await here.reads_only(each) for each in tokens] == [False] * 3

    run(scenario)


def test_a_connection_that_was_approved_to_read_reads_until_the_owner_widens_it(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected(read_only=True)
        refreshed = await here.other.refresh(tokens.refresh, CLIENT)

        assert tokens.scopes == refreshed.scopes == ("tools:read", "offline_access")
        assert await here.reads_only(tokens.access)
        assert await here.reads_only(refreshed.access)

        await here.one.connections.narrow(gid, False)
        assert not await here.reads_only(tokens.access)

    run(scenario)


def test_what_the_client_did_not_ask_for_no_widening_gives_it(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected(scopes=("tools:read", "offline_access"))

        await here.one.connections.narrow(gid, False)
        with pytest.raises(InvalidScope):
            await here.one.refresh(tokens.refresh, CLIENT, "tools")
        refreshed = await here.one.refresh(tokens.refresh, CLIENT)

        assert await here.reads_only(tokens.access)
        assert await here.reads_only(refreshed.access)

    run(scenario)


def test_a_token_that_was_refreshed_for_less_stays_less_when_the_connection_is_widened(
    run: Any,
) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected()
        less = await here.one.refresh(tokens.refresh, CLIENT, "tools:read")

        await here.one.connections.narrow(gid, True)
        await here.one.connections.narrow(gid, False)

        assert await here.reads_only(less.access)
        assert not await here.reads_only(tokens.access)

    run(scenario)


def test_a_refresh_that_is_repeated_after_narrowing_gives_the_same_tokens(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected()
        first = await here.one.refresh(tokens.refresh, CLIENT)

        await here.one.connections.narrow(gid, True)
        again = await here.other.refresh(tokens.refresh, CLIENT)

        assert (again.access, again.refresh) == (first.access, first.refresh)
        assert again.scopes == ("tools:read", "offline_access")
        assert await here.reads_only(again.access)

    run(scenario)


def test_a_name_that_is_given_at_the_same_moment_does_not_undo_a_narrowing(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected()
        held = Held("put", "grants")
        slow = asyncio.create_task(here.mortal(held).connections.rename(gid, "Phone"))
        await held.reached.wait()

        await here.one.connections.narrow(gid, True)
        held.go_on.set()
        assert await slow

        [listed] = [each for each in await here.one.connections.listed() if each.id == gid]
        assert (listed.own_name, listed.read_only, listed.held_to_reading) == ("Phone", True, True)
        assert await here.reads_only(tokens.access)

    run(scenario)


@pytest.mark.parametrize("say", ["narrow", "rename"])
def test_what_is_said_while_the_connection_is_revoked_leaves_nothing(run: Any, say: str) -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        held = Held("put", "grants")
        connections = here.mortal(held).connections
        slow = asyncio.create_task(
            connections.narrow(gid, True) if say == "narrow" else connections.rename(gid, "Phone")
        )
        await held.reached.wait()

        await here.one.connections.revoke(gid)
        held.go_on.set()

        assert await slow is False
        assert await here.beside(gid) == []

    run(scenario)


def test_a_revoked_connection_leaves_nothing_of_itself(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, tokens = await here.connected()
        await here.one.connections.rename(gid, "Phone")
        await here.one.connections.narrow(gid, True)
        seen = Seen(Records(here.store), Limits(), here.clock)
        seen.saw(gid)
        await seen.write()
        before = len(await here.beside(gid))

        await here.one.revoke_token(tokens.refresh, CLIENT)

        assert (before, await here.beside(gid)) == (4, [])
        assert not await here.one.connections.narrow(gid, False)
        assert not await here.one.connections.rename(gid, "Phone")

    run(scenario)


@pytest.mark.parametrize("lands", [(), ("tokens",), ("tokens", "refresh"), ("refresh", "grants")])
def test_a_death_while_it_is_made_leaves_no_connection_wider_than_approved(
    run: Any, lands: tuple[str, ...]
) -> None:
    async def scenario(here: Replicas) -> None:
        nonce = next(nonces)
        code = await here.one.codes.issue(approval(nonce, read_only=True))
        assert code is not None
        dying = here.mortal(Landing("live", *lands))

        with pytest.raises((Death, InvalidGrant)):
            await dying.redeem(code, CLIENT, CALLBACK, VERIFIER)

        found = [
            each
            for each in await here.one.connections.listed()
            if each.id == here.one.codes.id_of(nonce)
        ]
        assert all(each.read_only for each in found)

    run(scenario)


def test_a_store_that_goes_away_in_a_revocation_does_not_hide_that_it_was_done() -> None:
    async def scenario(here: Replicas) -> None:
        class Away(Held):
            async def after(self, call: Any) -> None:
                if call.verb == "delete" and call.key.endswith("/name"):
                    raise OSError

        gid, tokens = await here.connected()

        revoked = await here.mortal(Away("", "")).connections.revoke(gid)

        assert revoked
        with pytest.raises(InvalidToken):
            await here.one.check(tokens.access)

    in_memory(scenario)


# Approved twice


@pytest.mark.parametrize("choices", [(True, False), (False, True), (True, True)])
def test_of_two_approvals_of_one_page_the_narrower_holds(
    run: Any, choices: tuple[bool, bool]
) -> None:
    async def scenario(here: Replicas) -> None:
        nonce = next(nonces)

        first, second = [
            await here.one.codes.issue(approval(nonce, read_only=choice)) for choice in choices
        ]
        assert first == second is not None
        tokens = await here.redeem(second or "")

        assert await here.reads_only(tokens.access)

    run(scenario)


@pytest.mark.parametrize("redeemed", [False, True], ids=["in the middle", "already"])
def test_an_approval_to_read_that_failed_and_is_repeated_holds_for_good(redeemed: bool) -> None:
    class FailsAtTheSecondLook(Held):
        looks = 0

        async def before(self, call: Any) -> None:
            self.looks += call.verb == "get" and call.key == "epoch"
            if self.looks == 2:
                raise OSError

    async def scenario(here: Replicas) -> None:
        nonce = next(nonces)
        code = await here.one.codes.issue(approval(nonce))
        tokens = await here.redeem(code or "") if redeemed else None
        failing = here.mortal(FailsAtTheSecondLook("", ""))
        with pytest.raises(StoreUnavailable):
            await failing.codes.issue(approval(nonce, read_only=True))
        await here.one.codes.issue(approval(nonce, read_only=True))
        tokens = tokens or await here.redeem(code or "")
        here.clock.advance(Limits().code_memory_seconds + 1)
        refreshed = await here.one.refresh(tokens.refresh, CLIENT)

        assert await here.reads_only(refreshed.access)

    in_memory(scenario)


@pytest.mark.parametrize("approved", [False, True], ids=["not yet", "already"])
def test_of_approvals_and_a_redemption_at_once_the_narrower_holds(run: Any, approved: bool) -> None:
    async def scenario(here: Replicas) -> None:
        for race in range(100):
            nonce = next(nonces)
            wide, narrow, app = [here.mortal(Chance((race, who))) for who in range(3)]
            approvals = [
                wide.codes.issue(approval(nonce)),
                narrow.codes.issue(approval(nonce, read_only=True)),
            ]
            if approved:
                code = await here.one.codes.issue(approval(nonce))
                redemption = app.redeem(code or "", CLIENT, CALLBACK, VERIFIER)
                tokens, *_ = await asyncio.gather(redemption, *approvals, return_exceptions=True)
            else:
                answers = await asyncio.gather(*approvals, return_exceptions=True)
                tokens = await here.redeem(next(each for each in answers if type(each) is str))
            here.clock.advance(Limits().code_memory_seconds + 1)
            refreshed = await here.one.refresh(tokens.refresh, CLIENT)

            assert await here.reads_only(refreshed.access), race

    run(scenario)


def test_a_page_that_is_approved_again_after_it_connected_narrows_but_never_widens(
    run: Any,
) -> None:
    async def scenario(here: Replicas) -> None:
        nonce = next(nonces)
        _, tokens = await here.connected(nonce)

        wide = await here.one.codes.issue(approval(nonce))
        before = await here.reads_only(tokens.access)
        narrow = await here.one.codes.issue(approval(nonce, read_only=True))
        held = await here.reads_only(tokens.access)
        await here.one.codes.issue(approval(nonce))

        assert (wide, narrow) == (None, None)
        assert (before, held, await here.reads_only(tokens.access)) == (False, True, True)

    run(scenario)


# Tokens for scripts


def test_a_token_for_a_script_opens_at_once_and_ends_at_its_time(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, access = await here.one.issue_token("Backup\x1b[2J", read_only=False, seconds=HOUR)

        connection = await here.other.check(access)
        [listed] = [each for each in await here.other.connections.listed() if each.id == gid]
        here.clock.advance(HOUR - 1)
        last = await here.other.check(access)
        here.clock.advance(1)

        assert connection == last
        assert connection == Connection(
            gid, f"token:{gid}", listed.name, ("tools",), here.clock.now
        )
        assert (listed.expires, listed.client.redirect_uris) == (here.clock.now, ())
        assert "\x1b" not in listed.name
        with pytest.raises(InvalidToken):
            await here.one.check(access)
        assert gid not in {each.id for each in await here.one.connections.listed()}

    run(scenario)


def test_a_token_for_a_script_is_no_refresh_token_and_no_client_of_another(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, access = await here.one.issue_token("Backup", read_only=False, seconds=HOUR)

        for client in (CLIENT, OTHER):
            await here.one.revoke_token(access, client)
            with pytest.raises(InvalidGrant):
                await here.one.refresh(access, client)

        assert (await here.one.check(access)).grant_id == gid

    run(scenario)


def test_a_revoked_token_for_a_script_opens_nothing_any_more(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, access = await here.one.issue_token("Backup", read_only=True, seconds=HOUR)
        _, kept = await here.one.issue_token("Other", read_only=True, seconds=HOUR)

        assert await here.other.connections.revoke(gid)

        with pytest.raises(InvalidToken):
            await here.one.check(access)
        assert await here.reads_only(kept)
        await here.one.connections.revoke_all()
        with pytest.raises(InvalidToken):
            await here.one.check(kept)

    run(scenario)


def test_a_read_only_token_for_a_script_is_widened_and_narrowed_like_any(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, access = await here.one.issue_token("Backup", read_only=True, seconds=HOUR)
        said = []
        for read_only in (False, True):
            said.append(await here.reads_only(access))
            await here.one.connections.narrow(gid, read_only)
        said.append(await here.reads_only(access))

        here.clock.advance(HOUR - 1)

        assert said == [True, False, True]
        assert await here.reads_only(access)

    run(scenario)


@pytest.mark.parametrize("lands", [(), ("tokens",)])
def test_a_death_before_a_token_for_a_script_is_complete_opens_nothing(
    run: Any, lands: tuple[str, ...]
) -> None:
    async def scenario(here: Replicas) -> None:
        name = next(nonces)

        with pytest.raises(Death):
            await here.mortal(Landing(*lands)).issue_token(name, read_only=True, seconds=HOUR)

        assert name not in {each.name for each in await here.one.connections.listed()}

    run(scenario)


# Use


def test_several_servers_add_up_what_they_saw_and_the_latest_use_is_said(run: Any) -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        early, late = (Seen(Records(here.store), Limits(), here.clock) for _ in range(2))
        for seen, address in ((early, "192.0.2.1"), (late, "192.0.2.2")):
            here.clock.advance(10)
            caller.set(address)
            seen.saw(gid)
            seen.called(gid)
            seen.called(gid)
            await seen.write()

        [found] = await early.of(gid)

        assert found == {"last": here.clock.now, "calls": 4, "address": "192.0.2.2"}
        assert await late.of(gid) == [found]

    run(scenario)


def test_however_often_a_connection_calls_it_is_written_at_most_once_a_minute() -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        writes: list[str] = []

        class Noting(Held):
            async def before(self, call: Any) -> None:
                if call.verb == "put":
                    writes.append(call.collection)

        seen = Seen(Records(Mortal(here.store, Noting("", ""))), Limits(), here.clock)
        for _ in range(50):
            seen.saw(gid)
            seen.called(gid)
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        soon = list(writes)
        await seen.write()

        [found] = await seen.of(gid)
        assert (soon, writes) == (["seen"], ["seen", "seen"])
        assert found["calls"] == 50

    in_memory(scenario)


def test_a_store_that_is_away_costs_no_request_and_no_count() -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        away = [True]

        class Away(Held):
            async def before(self, call: Any) -> None:
                if away[0] and call.verb == "put":
                    raise OSError

        limits = Limits(seen_every_seconds=0)
        seen = Seen(Records(Mortal(here.store, Away("", ""))), limits, here.clock)
        seen.saw(gid)
        seen.called(gid)
        await seen.write()
        away[0] = False
        seen.saw(gid)
        await seen.write()

        [found] = await seen.of(gid)
        stored = await here.store.get(gid, collection="seen")
        assert stored == found == {"last": here.clock.now, "calls": 1, "address": ""}

    in_memory(scenario)


def test_a_connection_that_ends_while_its_use_is_written_troubles_nobody() -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        held, troubles = Held("get", "grants"), list[Any]()
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: troubles.append(context)
        )
        seen = Seen(Records(Mortal(here.store, held)), Limits(seen_every_seconds=0.05), here.clock)

        seen.saw(gid)
        await held.reached.wait()
        seen.saw(gid)
        await here.one.connections.end(gid)
        held.go_on.set()
        await asyncio.sleep(0.1)

        assert troubles == []

    in_memory(scenario)


def test_a_connection_that_ended_is_not_written_again() -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()
        seen = Seen(Records(here.store), Limits(), here.clock)
        seen.saw(gid)

        await here.one.connections.revoke(gid)
        await seen.write()

        assert await here.beside(gid) == []

    in_memory(scenario)


# Through the front door


@pytest.fixture
def place(tmp_path: Path) -> Iterator[AppServer]:
    """A server that can hold connections to reading."""
    place = AppServer(
        tmp_path / "state", add=lambda server, auth: server.add_middleware(HeldToReading(auth))
    )
    yield place
    place.stop()


def approved(app: App, **form: str) -> str:
    """Approves an app with what the form says more; returns the code."""
    owner = app.site.visitor()
    ticket = ticket_of(owner.get("/authorize", params=app.query()))
    answer = owner.submit(ticket=ticket, password=PASSWORD, decision="approve", **form)
    assert answer.status_code == 303, answer.text
    return answer_of(answer)["code"]


@pytest.mark.parametrize(
    ("form", "scope"),
    [({}, "tools"), ({"read_only": "yes"}, "tools:read"), ({"read_only": ""}, "tools")],
)
def test_the_consent_pages_choice_is_what_the_token_answer_says(
    place: AppServer, form: dict[str, str], scope: str
) -> None:
    app = App.register(place)

    tokens = app.redeem(approved(app, **form)).json()

    assert tokens["scope"] == scope
    found = place.run(place.provider.verify_token(tokens["access_token"]))
    assert found is not None
    assert (found.scopes, found.claims["read_only"]) == ([scope], scope != "tools")


def test_a_wrong_password_keeps_the_choice(place: AppServer) -> None:
    app, owner = App.register(place), place.visitor()
    page = owner.get("/authorize", params=app.query())

    again = owner.submit(
        ticket=ticket_of(page), password="wrong", decision="approve", read_only="yes"
    )

    assert 'name="read_only" value="yes">' in page.text
    assert 'name="read_only" value="yes" checked>' in again.text


def test_a_client_that_asks_only_to_read_is_offered_no_more_and_gets_no_more(
    place: AppServer,
) -> None:
    app, owner = App.register(place), place.visitor()
    page = owner.get("/authorize", params=app.query(scope="tools:read"))

    answer = owner.submit(ticket=ticket_of(page), password=PASSWORD, decision="approve")
    tokens = app.redeem(answer_of(answer)["code"]).json()

    assert "Use the tools that only read" in page.text
    assert "Use every tool" not in page.text
    assert "read_only" not in page.text
    assert tokens["scope"] == "tools:read"
    assert "tools:read" not in app.refresh(tokens["refresh_token"], scope="tools").json()


def test_where_nothing_enforces_it_the_choice_is_not_offered_and_a_form_that_makes_it_opens_nothing(
    tmp_path: Path,
) -> None:
    place = AppServer(tmp_path / "state")
    app = App.register(place)
    page = place.visitor().get("/authorize", params=app.query())

    tokens = app.redeem(approved(app, read_only="yes")).json()
    called = place.visitor().call(tokens["access_token"])
    place.stop()

    assert "read_only" not in page.text
    assert called.status_code == 401


def test_where_nothing_enforces_it_a_client_that_asks_only_to_read_is_told_so(
    tmp_path: Path,
) -> None:
    place = AppServer(tmp_path / "state")
    app = App.register(place)

    page = place.visitor().get("/authorize", params=app.query(scope="tools:read"))
    place.stop()

    assert page.status_code == 400
    assert "this server does not hold apps to reading" in page.text


def test_the_state_file_holds_no_token_for_a_script_in_clear(place: AppServer) -> None:
    grants = place.provider.service.grants
    _, access = place.run(grants.issue_token("Backup", read_only=True, seconds=HOUR))

    text = (place.state_dir / "oauth_tokens.json").read_text()

    assert "Backup" in text
    assert access not in text
    assert access.removeprefix("pat_") not in text
    assert json.loads(text)


def test_what_was_used_is_on_disk_when_the_server_has_stopped(tmp_path: Path) -> None:
    place = AppServer(tmp_path / "state")
    grants, service = place.provider.service.grants, place.provider.service
    gid, access = place.run(grants.issue_token("Backup", read_only=False, seconds=HOUR))
    for _ in range(3):
        assert place.visitor().call(access).status_code == 200
        service.seen.called(gid)
    place.stop()

    again = AppServer(tmp_path / "state")
    [listed] = again.run(again.provider.service.connections.listed())
    again.stop()

    assert (listed.calls, listed.last_used) == (3, place.clock.now)
    assert listed.address


def test_a_store_that_is_away_does_not_keep_a_server_from_stopping() -> None:
    async def scenario(here: Replicas) -> None:
        gid, _ = await here.connected()

        class Away(Held):
            async def before(self, call: Any) -> None:
                raise OSError

        records = Records(Mortal(here.store, Away("", "")))
        seen = Seen(records, Limits(), here.clock)
        seen.saw(gid)

        await seen.write()

        with pytest.raises(StoreUnavailable):
            await records.get("grants", gid)

    in_memory(scenario)
