"""Grants on real stores, by many tasks and processes at once, with deaths between the writes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from personal_auth.errors import InvalidGrant, InvalidToken, Refused, TicketRefused
from personal_auth.grants import REFRESH, Grants, Tokens
from personal_auth.sealing import Sealer, digest, to_text
from personal_auth.store import KeyValue, Record
from tests.support.hammer import (
    CLIENT,
    START,
    VERIFIER,
    Chance,
    Death,
    Fate,
    Held,
    Landing,
    Mortal,
    Processes,
    approval,
    grants_over,
    opened,
    processes,
)
from tests.support.site import Clock

pytestmark = [  # py-key-value-aio's own
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:A configured store is unstable:UserWarning"),
]

nonces = map("page {}".format, itertools.count())


@pytest.fixture(params=["memory", "redis", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a store; the tests of one share it and keep apart by their nonces."""
    found: str = "memory:" if request.param == "memory" else request.getfixturevalue(request.param)
    return found


class House:
    """Replicas over one store."""

    def __init__(self, store: KeyValue, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.healthy = grants_over(store, clock)

    def replica(self, fate: Fate) -> Grants:
        return grants_over(Mortal(self.store, fate), self.clock)

    def replicas(self, count: int, seed: object, death: float = 0.0) -> list[Grants]:
        return [self.replica(Chance((seed, i), death=death)) for i in range(count)]

    def id(self, nonce: str) -> str:
        return self.healthy.codes.id_of(nonce)

    async def seed(self, refresh: str) -> bytes:
        record = await self.store.get(digest(refresh), collection="refresh")
        assert record is not None
        return bytes.fromhex(record["seed"])

    async def code(self, nonce: str) -> str:
        code = await self.healthy.codes.issue(approval(nonce))
        assert code is not None
        return code

    async def connected(self, nonce: str) -> Tokens:
        return await redeem(self.healthy, await self.code(nonce))

    async def grant(self, nonce: str) -> Record | None:
        return await self.store.get(self.id(nonce), collection="grants")


@asynccontextmanager
async def house_at(url: str) -> AsyncIterator[House]:
    async with opened(url) as store:
        yield House(store, Clock())


def run(url: str, scenario: Callable[[House], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        asyncio.get_running_loop().set_exception_handler(_but_not_deaths)
        async with house_at(url) as house:
            await scenario(house)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            ends = await asyncio.gather(*left, return_exceptions=True)
            assert all(end is None or isinstance(end, Death) for end in ends)

    asyncio.run(all_of_it())


def _but_not_deaths(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Death):
        loop.default_exception_handler(context)


async def redeem(grants: Grants, code: str) -> Tokens:
    return await grants.redeem(code, CLIENT, None, VERIFIER)


async def outcome(call: Awaitable[Any]) -> Any:
    """Returns the answer, or the class of the refusal or death that came instead."""
    try:
        return await call
    except (Refused, Death) as error:
        return type(error)


def derived(seed: bytes, message: str) -> str:
    return to_text(Sealer(seed).mac("grants", message.encode()))


async def opens(grants: Grants, access: str) -> bool:
    try:
        await grants.check(access)
    except InvalidToken:
        return False
    return True


# Deaths at every place


@pytest.mark.parametrize(
    "lands",
    [
        (),
        ("live",),
        ("live", "tokens"),
        ("live", "refresh"),
        ("live", "tokens", "refresh"),
    ],
    ids=" ".join,
)
def test_a_death_before_the_grant_is_written_opens_nothing_and_costs_one_approval(
    url: str, lands: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = map("{}".format, itertools.count())
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: f"{lands}{next(names)}")

    async def scenario(house: House) -> None:
        page, next_page = next(nonces), next(nonces)
        code = await house.code(page)

        died = await outcome(redeem(house.replica(Landing(*lands)), code))
        grant, opened = await house.grant(page), await opens(house.healthy, f"pat_{lands}0")
        refreshed = await outcome(house.healthy.refresh(f"prt_{lands}1", CLIENT))
        again = await outcome(redeem(house.healthy, code))
        anew = await house.connected(next_page)

        assert (died, grant, opened, refreshed) == (Death, None, False, InvalidGrant)
        assert (again is InvalidGrant) == ("live" in lands)
        assert await opens(house.healthy, anew.access)
        if lands:
            with pytest.raises(TicketRefused):
                await house.healthy.codes.issue(approval(page))

    run(url, scenario)


def test_a_death_after_the_grant_was_written_leaves_an_unused_grant(url: str) -> None:
    async def scenario(house: House) -> None:
        page = next(nonces)
        code = await house.code(page)
        lost = await redeem(house.healthy, code)

        at_once = await outcome(redeem(house.healthy, code))
        listed = await house.grant(page)
        approved_again = await house.healthy.codes.issue(approval(page))

        assert at_once is InvalidGrant
        assert listed is not None
        assert approved_again is None
        assert await opens(house.healthy, lost.access)

    run(url, scenario)


@pytest.mark.parametrize(
    ("lands", "completes"),
    [((), True), (("codes",), False), (("live",), True), (("codes", "live"), True)],
    ids=str,
)
def test_a_death_while_a_code_is_made_leaves_none_or_the_same_code(
    url: str, lands: tuple[str, ...], completes: bool
) -> None:
    async def scenario(house: House) -> None:
        page = next(nonces)
        dying = house.replica(Landing(*lands))
        first = await outcome(dying.codes.issue(approval(page)))

        again = await outcome(house.healthy.codes.issue(approval(page)))

        assert (first is Death) == (len(lands) < 2)
        if completes:
            assert isinstance(again, str)
            assert first in (Death, again)
            assert await opens(house.healthy, (await redeem(house.healthy, again)).access)
        else:
            assert again is TicketRefused
        assert (await house.grant(page) is not None) == completes

    run(url, scenario)


PARTS_OF_A_REFRESH = ("access", "successor", "used")
SOME_PARTS = [
    parts for count in range(4) for parts in itertools.combinations(PARTS_OF_A_REFRESH, count)
]


async def die_in_a_refresh(house: House, old: Tokens, parts: tuple[str, ...]) -> bool:
    """Lets a replica die after some parts of a refresh were written; tells whether it did."""
    successor = REFRESH + derived(await house.seed(old.refresh), f"refresh|{old.refresh}")
    names = {
        "access": "tokens",
        "successor": digest(successor),
        "used": digest(old.refresh),
    }
    dying = house.replica(Landing(*(names[part] for part in parts)))
    return await outcome(dying.refresh(old.refresh, CLIENT)) is Death


@pytest.mark.parametrize("parts", SOME_PARTS, ids=" ".join)
def test_whoever_dies_in_a_refresh_the_retry_finishes_it(url: str, parts: tuple[str, ...]) -> None:
    async def scenario(house: House) -> None:
        old = await house.connected(next(nonces))
        began = house.clock.now

        died = await die_in_a_refresh(house, old, parts)
        house.clock.advance(120)
        retried = await house.healthy.refresh(old.refresh, CLIENT)
        another = await grants_over(house.store, house.clock).refresh(old.refresh, CLIENT)

        used = {"successor", "used"} & set(parts)
        assert died == (len(parts) < 3)
        assert retried == another
        assert retried.expires == (began if used else house.clock.now) + 3600
        assert await opens(house.healthy, retried.access)
        assert (await house.healthy.refresh(retried.refresh, CLIENT)).access != retried.access

    run(url, scenario)


@pytest.mark.parametrize("parts", SOME_PARTS, ids=" ".join)
def test_a_refresh_token_is_used_once_itself_or_its_successor_says_so(
    url: str, parts: tuple[str, ...]
) -> None:
    async def scenario(house: House) -> None:
        page = next(nonces)
        old = await house.connected(page)

        await die_in_a_refresh(house, old, parts)
        house.clock.advance(121)
        late = await outcome(house.healthy.refresh(old.refresh, CLIENT))

        used = bool({"successor", "used"} & set(parts))
        assert (late is InvalidGrant, await house.grant(page) is None) == (used, used)

    run(url, scenario)


@pytest.mark.parametrize("lands", [("live",), ("live", "grants")], ids=" ".join)
def test_a_death_in_a_revocation_leaves_the_connection_whole_or_gone(
    url: str, lands: tuple[str, ...]
) -> None:
    async def scenario(house: House) -> None:
        by_id, by_token, by_replay, by_code = [next(nonces) for _ in range(4)]
        code = await house.code(by_code)
        tokens = {page: await house.connected(page) for page in (by_id, by_token, by_replay)}
        tokens[by_code] = await redeem(house.healthy, code)
        await house.healthy.refresh(tokens[by_replay].refresh, CLIENT)
        house.clock.advance(121)

        calls = [
            lambda grants: grants.connections.revoke(grants.codes.id_of(by_id)),
            lambda grants: grants.revoke_token(tokens[by_token].access, CLIENT),
            lambda grants: grants.refresh(tokens[by_replay].refresh, CLIENT),
            lambda grants: redeem(grants, code),
        ]
        for call in calls:
            await outcome(call(house.replica(Landing(*lands))))
        left = [await opens(house.healthy, each.access) for each in tokens.values()]
        for call in calls:
            await outcome(call(house.healthy))
        after = [await opens(house.healthy, each.access) for each in tokens.values()]

        assert left == ["grants" not in lands] * 4
        assert after == [False] * 4

    run(url, scenario)


# The other call at the worst moment


@pytest.mark.parametrize("by", ["id", "all"])
@pytest.mark.parametrize("collection", ["tokens", "refresh"])
def test_a_refresh_that_read_the_grant_before_it_was_revoked_opens_nothing(
    url: str, collection: str, by: str
) -> None:
    async def scenario(house: House) -> None:
        page, held = next(nonces), Held("put", collection)
        old = await house.connected(page)

        refreshing = asyncio.create_task(house.replica(held).refresh(old.refresh, CLIENT))
        await held.reached.wait()
        connections = house.healthy.connections
        await (connections.revoke_all() if by == "all" else connections.revoke(house.id(page)))
        held.go_on.set()
        fresh = await refreshing

        assert not await opens(house.healthy, fresh.access)
        assert await outcome(house.healthy.refresh(fresh.refresh, CLIENT)) is InvalidGrant
        assert await outcome(house.healthy.refresh(old.refresh, CLIENT)) is InvalidGrant

    run(url, scenario)


@pytest.mark.parametrize(
    ("verb", "collection"), [("delete", "live"), ("put", "tokens"), ("put", "grants")]
)
def test_a_redeem_that_revoke_all_overtakes_opens_nothing(
    url: str, verb: str, collection: str
) -> None:
    async def scenario(house: House) -> None:
        held = Held(verb, collection)
        code = await house.code(next(nonces))

        redeeming = asyncio.create_task(outcome(redeem(house.replica(held), code)))
        await held.reached.wait()
        await house.healthy.connections.revoke_all()
        held.go_on.set()
        answer = await redeeming

        assert answer is InvalidGrant or not await opens(house.healthy, answer.access)

    run(url, scenario)


def test_the_last_write_of_a_slow_refresh_does_not_undo_what_came_after_it(url: str) -> None:
    async def scenario(house: House) -> None:
        held = Held("put", "refresh")
        old = await house.connected(next(nonces))

        slow = asyncio.create_task(house.replica(held).refresh(old.refresh, CLIENT))
        await held.reached.wait()
        house.clock.advance(2)
        fresh = await house.healthy.refresh(old.refresh, CLIENT)
        newest = await house.healthy.refresh(fresh.refresh, CLIENT)
        held.go_on.set()
        answer = await slow

        assert (answer.access, answer.refresh) == (fresh.access, fresh.refresh)
        assert await house.healthy.refresh(fresh.refresh, CLIENT) == newest
        assert await opens(house.healthy, fresh.access)
        assert await opens(house.healthy, newest.access)

    run(url, scenario)


# Many tasks at once, on replicas that are slow and die


@pytest.mark.parametrize("seed", range(3))
def test_one_of_fifty_redeemers_on_five_replicas_wins(url: str, seed: int) -> None:
    async def scenario(house: House) -> None:
        code = await house.code(next(nonces))
        replicas = house.replicas(5, seed)

        answers = await asyncio.gather(*(outcome(redeem(replicas[i % 5], code)) for i in range(50)))

        winners = [answer for answer in answers if isinstance(answer, Tokens)]
        assert answers.count(InvalidGrant) == 49
        assert len(winners) == 1
        assert await opens(house.healthy, winners[0].access)

    run(url, scenario)


def test_one_server_gives_a_code_to_one_of_fifty_and_one_answer_to_all_who_refresh(
    url: str,
) -> None:
    async def scenario(house: House) -> None:
        code = await house.code(next(nonces))

        answers = await asyncio.gather(*(outcome(redeem(house.healthy, code)) for _ in range(50)))
        [old] = [answer for answer in answers if isinstance(answer, Tokens)]
        fresh = await asyncio.gather(
            *(house.healthy.refresh(old.refresh, CLIENT) for _ in range(25))
        )

        assert answers.count(InvalidGrant) == 49
        assert set(fresh) == {fresh[0]}
        assert await opens(house.healthy, fresh[0].access)

    run(url, scenario)


@pytest.mark.parametrize("seed", range(8))
def test_at_most_one_of_many_dying_redeemers_wins(url: str, seed: int) -> None:
    async def scenario(house: House) -> None:
        page = next(nonces)
        code = await house.code(page)

        replicas = house.replicas(10, seed, death=0.1)
        answers = await asyncio.gather(*(outcome(redeem(each, code)) for each in replicas))
        late = await outcome(redeem(house.healthy, code))

        winners = [answer for answer in [*answers, late] if isinstance(answer, Tokens)]
        assert len(winners) <= 1
        assert not winners or await house.grant(page) is not None
        for winner in winners:
            assert await opens(house.healthy, winner.access)

    run(url, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_simultaneous_refreshes_on_five_replicas_get_the_same_answer(url: str, seed: int) -> None:
    async def scenario(house: House) -> None:
        old = await house.connected(next(nonces))
        replicas = house.replicas(5, seed)

        answers = await asyncio.gather(
            *(replicas[i % 5].refresh(old.refresh, CLIENT) for i in range(30))
        )

        assert set(answers) == {answers[0]}
        assert await opens(house.healthy, answers[0].access)
        assert await house.healthy.refresh(answers[0].refresh, CLIENT) != answers[0]

    run(url, scenario)


def test_replicas_whose_clocks_differ_answer_the_same_tokens(url: str) -> None:
    async def scenario(house: House) -> None:
        old = await house.connected(next(nonces))
        ahead = Clock()
        ahead.advance(5)
        replicas = [
            grants_over(Mortal(house.store, Chance(i, wait=0.01)), clock)
            for i, clock in enumerate([house.clock, ahead] * 5)
        ]

        answers = await asyncio.gather(*(each.refresh(old.refresh, CLIENT) for each in replicas))
        following = [await each.refresh(answers[0].refresh, CLIENT) for each in replicas]

        assert len({(each.access, each.refresh) for each in answers}) == 1
        assert {each.expires for each in answers} <= {START + 3600, START + 3605}
        assert len(set(following)) == 1
        assert await opens(house.healthy, answers[0].access)

    run(url, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_a_chain_of_refreshes_survives_every_death(url: str, seed: int) -> None:
    async def scenario(house: House) -> None:
        tokens = await house.connected(next(nonces))
        for step in range(5):
            answers = await asyncio.gather(
                *(
                    outcome(each.refresh(tokens.refresh, CLIENT))
                    for each in house.replicas(6, (seed, step), death=0.1)
                )
            )
            given = {answer for answer in answers if isinstance(answer, Tokens)}
            retried = await house.healthy.refresh(tokens.refresh, CLIENT)
            assert set(answers) <= {retried, Death}
            assert given <= {retried}
            assert await opens(house.healthy, retried.access)
            tokens = retried

    run(url, scenario)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", ["id", "access", "refresh", "all"])
def test_nothing_opens_after_a_revocation_whatever_was_under_way(
    url: str, seed: int, by: str
) -> None:
    async def scenario(house: House) -> None:
        page, chance = next(nonces), random.Random(f"{seed} {by}")
        first = await house.connected(page)
        seen = [first]
        replicas = house.replicas(4, (seed, by))

        async def keep_refreshing(grants: Grants) -> None:
            newest = first
            for _ in range(20):
                answer = await outcome(grants.refresh(newest.refresh, CLIENT))
                if not isinstance(answer, Tokens):
                    return
                newest = answer
                seen.append(answer)

        async def revoke(grants: Grants) -> list[bool]:
            await asyncio.sleep(chance.random() * 0.05)
            if by == "all":
                await grants.connections.revoke_all()
            elif by == "id":
                assert await grants.connections.revoke(grants.codes.id_of(page))
            else:
                await grants.revoke_token(getattr(first, by), CLIENT)
            return [await opens(each, one.access) for each in replicas for one in seen[-3:]]

        refreshing = [asyncio.create_task(keep_refreshing(each)) for each in replicas[1:]]
        at_once = await revoke(replicas[0])
        await asyncio.gather(*refreshing)
        later = [await opens(house.healthy, tokens.access) for tokens in seen]
        refused = {await outcome(house.healthy.refresh(one.refresh, CLIENT)) for one in seen}

        assert not any(at_once)
        assert not any(later)
        assert refused == {InvalidGrant}

    run(url, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_revoking_all_cuts_the_connection_that_is_being_made(url: str, seed: int) -> None:
    async def scenario(house: House) -> None:
        codes = [await house.code(next(nonces)) for _ in range(8)]
        revoker, *replicas = house.replicas(9, seed)

        async def after_a_moment() -> None:
            await asyncio.sleep(random.Random(seed).random() * 0.006)
            await revoker.connections.revoke_all()

        pairs = zip(replicas, codes, strict=True)
        *answers, _ = await asyncio.gather(
            *(outcome(redeem(each, code)) for each, code in pairs), after_a_moment()
        )
        given = [answer for answer in answers if isinstance(answer, Tokens)]
        opened = [await opens(house.healthy, tokens.access) for tokens in given]
        anew = await house.connected(next(nonces))

        assert not any(opened)
        assert await opens(house.healthy, anew.access)

    run(url, scenario)


@pytest.mark.parametrize("which", range(3))
def test_a_late_replay_on_any_replica_revokes_on_every_replica_and_is_logged(
    url: str, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(house: House) -> None:
        code = await house.code(next(nonces))
        old, other = await redeem(house.healthy, code), await house.connected(next(nonces))
        replicas = house.replicas(3, which)
        fresh = await replicas[0].refresh(old.refresh, CLIENT)
        caplog.set_level(logging.WARNING)

        house.clock.advance(121)
        late = await outcome(replicas[which].refresh(old.refresh, CLIENT))
        opened = [await opens(each, fresh.access) for each in replicas]
        refreshed = {await outcome(each.refresh(fresh.refresh, CLIENT)) for each in replicas}

        assert (late, opened, refreshed) == (InvalidGrant, [False] * 3, {InvalidGrant})
        assert caplog.text.count("refresh_token_replayed_connection_revoked") == 1
        assert await opens(house.healthy, other.access)

    run(url, scenario)


# Processes of their own


@pytest.fixture(scope="module", params=["redis", "postgres"])
def crew(request: pytest.FixtureRequest) -> Iterator[tuple[str, Processes]]:
    url: str = request.getfixturevalue(request.param)
    run(url, lambda house: house.store.get("any"))  # makes PostgreSQL's table
    with processes(url) as crew:
        yield url, crew


def step(*steps: object, **work: object) -> dict[str, Any]:
    return {"steps": steps, **work}


@pytest.fixture
def connected(crew: tuple[str, Processes]) -> list[Any]:
    """The tokens of a new connection, made by a process that is gone."""
    [[code]] = crew[1].run(step(("issue", next(nonces))))
    [[tokens]] = crew[1].run(step(("redeem", code)))
    found: list[Any] = tokens
    return found


def test_one_of_eight_processes_redeems_each_code(crew: tuple[str, Processes]) -> None:
    [codes] = crew[1].run(step(*(("issue", next(nonces)) for _ in range(6))))

    answers = crew[1].run(*(step(*(("redeem", code) for code in codes)) for _ in range(8)))
    won = [answer for answer in itertools.chain(*answers) if isinstance(answer, list)]
    [opened] = crew[1].run(step(*(("check", access) for access, _, _ in won)))

    for of_one_code in zip(*answers, strict=True):
        assert of_one_code.count("invalid_grant") == 7
    assert len(won) == 6
    assert "invalid_token" not in opened


def test_eight_processes_that_refresh_at_once_get_the_same_tokens(
    crew: tuple[str, Processes], connected: list[Any]
) -> None:
    for _ in range(3):
        answers = crew[1].run(*(step(("refresh", connected[1])) for _ in range(8)))
        [[later]] = crew[1].run(step(("refresh", connected[1]), now=START + 120))
        assert answers == [[later]] * 8
        connected = later


@pytest.mark.parametrize("seed", range(3))
def test_processes_that_die_in_a_refresh_leave_what_a_retry_finishes(
    crew: tuple[str, Processes], connected: list[Any], seed: int
) -> None:
    died = 0
    for turn in range(2):
        dying = [step(("refresh", connected[1]), seed=(seed, turn, i), death=0.1) for i in range(6)]

        answers = crew[1].run(*dying)
        [[retried, opened]] = crew[1].run(step(("refresh", connected[1]), ("check", connected[0])))

        assert all(answer in ([], [retried]) for answer in answers)
        assert opened != "invalid_token"
        died += answers.count([])
        connected = retried
    [[opened]] = crew[1].run(step(("check", connected[0])))
    assert opened != "invalid_token"
    assert died > 0


@pytest.mark.parametrize("seed", range(3))
def test_processes_that_die_while_they_redeem_give_a_code_to_one_at_most(
    crew: tuple[str, Processes], seed: int
) -> None:
    [[code]] = crew[1].run(step(("issue", next(nonces))))
    dying = [step(("redeem", code), seed=(seed, i), death=0.1) for i in range(8)]

    answers = crew[1].run(*dying)
    [[late]] = crew[1].run(step(("redeem", code)))
    given = [answer for answer in [*itertools.chain(*answers), late] if answer != "invalid_grant"]
    uses = [step(("check", access), ("refresh", refresh)) for access, refresh, _ in given]
    used = crew[1].run(*uses)

    assert [] in answers
    assert len(given) <= 1
    for grant, fresh in used:
        assert grant != "invalid_token"
        assert isinstance(fresh, list)


@pytest.mark.parametrize("by", ["revoke", "revoke_all"])
def test_no_process_opens_anything_after_another_revoked(
    crew: tuple[str, Processes], connected: list[Any], by: str
) -> None:
    [[gid]] = crew[1].run(step(("check", connected[0])))
    reading = step(*[("refresh", connected[1]), ("check", connected[0])] * 10)
    revoking = step(*[("check", "pat_unknown")] * 4, (by, *([gid] if by == "revoke" else [])))

    *answers, revoked = crew[1].run(*[reading] * 4, revoking)
    seen = {answer[0] for each in answers for answer in each if isinstance(answer, list)}
    [after] = crew[1].run(step(*(("check", access) for access in [connected[0], *seen])))
    [[refreshed]] = crew[1].run(step(("refresh", connected[1])))

    assert revoked[-1] is True
    assert set(after) == {"invalid_token"}
    assert refreshed == "invalid_grant"


def test_a_replay_in_another_process_after_the_window_revokes(
    crew: tuple[str, Processes], connected: list[Any]
) -> None:
    [[fresh]] = crew[1].run(step(("refresh", connected[1])))

    late = crew[1].run(*[step(("refresh", connected[1]), now=START + 121)] * 4)
    after = crew[1].run(*[step(("check", fresh[0]), ("refresh", fresh[1]))] * 4)

    assert late == [["invalid_grant"]] * 4
    assert after == [["invalid_token", "invalid_grant"]] * 4
