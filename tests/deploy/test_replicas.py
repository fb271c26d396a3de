"""Two and four servers behind Caddy on one store: what holds whichever of them is asked.

Here on Redis, in test_replicas_postgres.py on PostgreSQL.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.engines import Engine, Redis, started
from tests.support.process import wait_for_readiness
from tests.support.relay import relayed
from tests.support.replicas import Crowd, Door, Replica
from tests.support.site import PASSWORD, App, Visitor, answer_of, approve, connect
from tests.support.site import ticket as ticket_of

BOUND_SECONDS = 6.0  # a request to a server whose store is silent


def at(door: Door, app: App) -> App:
    """Returns a client that comes through another door."""
    return replace(app, site=door)


def opens(door: Door, access: str) -> bool:
    status = door.visitor().call(access).status_code
    assert status in {200, 401}
    return status == 200


def same_tokens(*answers: httpx.Response) -> bool:
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    given = [answer.json() for answer in answers]
    return len({(one["access_token"], one["refresh_token"], one["scope"]) for one in given}) == 1


def all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Makes calls at the same moment; returns their answers in order."""
    barrier = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def submit(door: Door, owner: Visitor, ticket: str, password: str = PASSWORD) -> httpx.Response:
    """Approves at some door what a page of another one asked."""
    browser = Visitor(door, cookies=owner.cookies)
    return browser.submit(ticket=ticket, password=password, decision="approve")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with started(Redis) as engine:
        yield engine


class Promises:
    """A class for each engine inherits these; its module has the fixture `engine`."""

    @pytest.fixture(params=[2, 4])
    def count(self, request: pytest.FixtureRequest) -> int:
        """How many replicas stand behind the balancer."""
        number: int = request.param
        return number

    def test_four_that_start_at_once_on_an_empty_store_have_one_key_and_one_password(
        self, crowd: Crowd
    ) -> None:
        app = App.register(crowd.replicas[0])
        folders = {each.state_dir for each in crowd.replicas}
        [left] = [file for folder in folders for file in folder.glob("*password*")]
        password = left.read_text().strip()

        codes = []
        for replica in crowd.replicas:
            owner = replica.visitor()
            page = owner.get("/authorize", params=app.query())
            codes.append(submit(replica, owner, ticket_of(page), password).status_code)
        logs = [each.log for each in crowd.replicas]

        assert codes == [303] * 4
        assert left.name == "initial-password"
        assert sum(str(left) in log for log in logs) == 1
        assert sum("Another replica made the password" in log for log in logs) == 3
        assert not any(password in log for log in logs)

    def test_one_of_fifty_who_redeem_a_code_on_all_replicas_wins_and_stays_connected(
        self, house: Crowd, count: int
    ) -> None:
        door, asked = house.doors[count], house.replicas[:count]
        app = App.register(door)
        code = approve(app)

        answers = all_at_once([lambda: app.redeem(code)] * 50)
        late = app.redeem(code)

        [won] = [answer.json() for answer in answers if answer.status_code == 200]
        lost = [(a.status_code, a.json()["error"]) for a in answers if a.status_code != 200]
        assert lost == [(400, "invalid_grant")] * 49
        assert late.json()["error"] == "invalid_grant"
        assert [opens(each, won["access_token"]) for each in asked] == [True] * count
        assert {answer.headers["x-replica"] for answer in answers} == {each.name for each in asked}

    def test_a_refresh_repeated_on_another_replica_or_at_once_on_all_has_one_answer(
        self, house: Crowd, count: int
    ) -> None:
        asked = house.replicas[:count]
        app, tokens = connect(house.doors[count])

        first = app.refresh(tokens["refresh_token"])
        again = [at(each, app).refresh(tokens["refresh_token"]) for each in asked]
        newest = first.json()["refresh_token"]
        at_once = all_at_once(
            [lambda each=each: at(each, app).refresh(newest) for each in asked * 3]
        )

        assert same_tokens(first, *again)
        assert same_tokens(*at_once)
        assert [opens(each, at_once[0].json()["access_token"]) for each in asked] == [True] * count

    @pytest.mark.parametrize("by", ["the client", "a command", "a command for all"])
    def test_a_revocation_holds_on_every_replica_at_the_next_request(
        self, house: Crowd, by: str
    ) -> None:
        app, tokens = connect(house.doors[4], client_name=by)
        access, refresh = tokens["access_token"], tokens["refresh_token"]
        before = [opens(each, access) for each in house.replicas]

        if by == "the client":
            form = {"token": refresh, "client_id": app.id}
            assert house.doors[4].visitor().post("/revoke", data=form).status_code == 200
        elif by == "a command":
            listed = json.loads(house.command("connections", "--json"))
            [mine] = [each["id"] for each in listed if each["client"] == by]
            house.command("connections", "revoke", mine)
        else:
            house.command("connections", "revoke", "--all")
        after = [opens(each, access) for each in house.replicas]
        refreshed = [at(each, app).refresh(refresh).status_code for each in house.replicas]

        assert before == [True] * 4
        assert after == [False] * 4  # far sooner than the second that is promised
        assert refreshed == [400] * 4

    def test_a_sign_in_that_begins_on_one_replica_ends_on_another_and_holds_on_all(
        self, house: Crowd
    ) -> None:
        first, second, third, _ = house.replicas
        app, owner = App.register(first), first.visitor()
        ticket = ticket_of(owner.get("/authorize", params=app.query()))

        browser = Visitor(second, cookies=owner.cookies)
        approved = browser.submit(ticket=ticket, password=PASSWORD, decision="approve")
        twice = submit(third, browser, ticket, "no password")
        redeemed = at(third, app).redeem(answer_of(approved)["code"])
        pages = [self.page(each, browser, app) for each in house.replicas]
        house.command("password", stdin=f"{PASSWORD}\n")
        after = [self.page(each, browser, app) for each in house.replicas]

        assert (approved.status_code, redeemed.status_code) == (303, 200)
        assert answer_of(twice) == answer_of(approved)
        assert ['type="password"' in page for page in pages] == [False] * 4
        assert ['type="password"' in page for page in after] == [True] * 4

    def page(self, door: Door, browser: Visitor, app: App) -> str:
        answer = Visitor(door, cookies=browser.cookies).get("/authorize", params=app.query())
        assert answer.status_code == 200
        return answer.text

    # Deaths

    def dies(self, house: Crowd, writes: int, call: Callable[[Door], httpx.Response]) -> None:
        """Lets a replica die once it has made so many writes of a call, and starts it anew."""
        victim = house.replicas[3]
        armed = httpx.post(f"{victim.url}/die", params={"after": writes}, trust_env=False)
        assert armed.status_code == 200
        with pytest.raises(httpx.TransportError):
            call(victim)
        assert victim.running.process.wait(10) == -9
        victim.start()

    @pytest.mark.parametrize("writes", [0, 1, 2])
    def test_a_death_in_an_approval_leaves_no_code_or_the_same_code_elsewhere(
        self, house: Crowd, writes: int
    ) -> None:
        first, second = house.replicas[:2]
        app, owner = App.register(first), first.visitor()
        ticket = ticket_of(owner.get("/authorize", params=app.query()))

        self.dies(house, writes, lambda victim: submit(victim, owner, ticket))
        again = submit(second, owner, ticket)
        anew = app.redeem(approve(app, owner))

        assert again.status_code == (400 if writes == 1 else 303)  # without its code's claim
        if again.status_code == 303:
            assert at(second, app).redeem(answer_of(again)["code"]).status_code == 200
        assert anew.status_code == 200

    @pytest.mark.parametrize("writes", [0, 1, 2, 3, 4])
    def test_a_death_in_a_redeem_opens_nothing_before_its_last_write(
        self, house: Crowd, writes: int
    ) -> None:
        first, second = house.replicas[:2]
        app, owner = App.register(first), first.visitor()
        ticket = ticket_of(owner.get("/authorize", params=app.query()))
        code = answer_of(submit(first, owner, ticket))["code"]

        self.dies(house, writes, lambda victim: at(victim, app).redeem(code))
        page = submit(second, owner, ticket)
        again = at(second, app).redeem(code)
        anew = app.redeem(approve(app, owner))

        # The same code; that it was burned; after the last write, that the app is connected.
        assert page.status_code == {0: 303, 4: 200}.get(writes, 400)
        assert again.status_code == (200 if writes == 0 else 400)
        assert anew.status_code == 200

    @pytest.mark.parametrize("writes", [0, 1, 2, 3])
    def test_a_death_in_a_refresh_is_finished_by_the_retry_on_another_replica(
        self, house: Crowd, writes: int
    ) -> None:
        app, tokens = connect(house.replicas[0])
        old = tokens["refresh_token"]

        self.dies(house, writes, lambda victim: at(victim, app).refresh(old))
        again = [at(each, app).refresh(old) for each in house.replicas]
        fresh = again[0].json()

        assert same_tokens(*again)
        assert [opens(each, fresh["access_token"]) for each in house.replicas] == [True] * 4
        assert app.refresh(fresh["refresh_token"]).status_code == 200

    @pytest.mark.parametrize("writes", [0, 1])
    def test_a_death_in_a_revocation_leaves_the_connection_whole_or_gone_everywhere(
        self, house: Crowd, writes: int
    ) -> None:
        app, tokens = connect(house.replicas[0])
        form = {"token": tokens["access_token"], "client_id": app.id}

        self.dies(house, writes, lambda victim: victim.visitor().post("/revoke", data=form))
        left = [opens(each, tokens["access_token"]) for each in house.replicas]
        again = house.replicas[1].visitor().post("/revoke", data=form)
        after = [opens(each, tokens["access_token"]) for each in house.replicas]

        assert left == [writes == 0] * 4
        assert again.status_code == 200
        assert after == [False] * 4

    # The store goes away and comes back

    @pytest.mark.parametrize("way", ["stopped", "frozen"])
    def test_without_its_store_each_replica_says_503_in_time_and_goes_on_when_it_is_back(
        self, house: Crowd, way: str
    ) -> None:
        engine, asked = house.engine, house.replicas[:2]
        app, tokens = connect(house.doors[2])
        waiting = App.register(house.doors[2])
        owner = house.doors[2].visitor()
        code = approve(waiting, owner)
        page = owner.get("/authorize", params=waiting.query())
        calls = self.what_needs_the_store(app, tokens, waiting, code, owner, ticket_of(page))

        (engine.stop if way == "stopped" else engine.freeze)()
        told = all_at_once(
            [lambda call=call, each=each: timed(call, each) for each in asked for call in calls]
        )
        alive = [timed(lambda door: get(door, "/healthz"), each) for each in asked]
        unready = [self.unready(each) for each in asked]
        late = Replica(house.project, engine.url, f"late-{way}")
        try:
            if way == "stopped":
                late.start()
                unready.append(self.unready(late))
            (engine.start if way == "stopped" else engine.thaw)()
            for replica in [*asked, *([late] if way == "stopped" else [])]:
                wait_for_readiness(replica.url, 200)
                assert opens(replica, tokens["access_token"])
            house.wait_until_balanced(2)
        finally:
            late.kill()

        for answer, seconds in [*told, *unready]:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "5", answer.text
            assert "cannot reach its state" in answer.text
            assert seconds < BOUND_SECONDS
        assert all(answer.status_code == 200 and seconds < 1 for answer, seconds in alive)
        assert waiting.redeem(code).status_code == 200
        assert same_tokens(*(at(each, app).refresh(tokens["refresh_token"]) for each in asked))
        assert [each.running.process.poll() for each in asked] == [None, None]
        assert not any("Traceback" in each.log for each in asked)

    def unready(self, door: Door) -> tuple[httpx.Response, float]:
        wait_for_readiness(door.url, 503)
        return timed(lambda door: get(door, "/readyz"), door)

    def what_needs_the_store(
        self,
        app: App,
        tokens: dict[str, Any],
        waiting: App,
        code: str,
        owner: Visitor,
        ticket: str,
    ) -> list[Callable[[Door], httpx.Response]]:
        asked, revocation = waiting.query(), {"token": tokens["refresh_token"], "client_id": app.id}
        return [
            lambda door: door.visitor().call(tokens["access_token"]),
            lambda door: at(door, app).refresh(tokens["refresh_token"]),
            lambda door: at(door, waiting).redeem(code),
            lambda door: door.visitor().post("/revoke", data=revocation),
            lambda door: submit(door, owner, ticket),
            lambda door: Visitor(door, cookies=owner.cookies).get("/authorize", params=asked),
        ]

    def test_connections_to_the_store_that_a_router_forgot_are_given_up(self, house: Crowd) -> None:
        _, tokens = connect(house.doors[2])
        port = urlsplit(house.engine.url).port
        assert port is not None
        with relayed(port) as relay:
            url = house.engine.url.replace(f":{port}/", f":{relay.port}/")
            replica = Replica(house.project, url, "behind-a-router")
            try:
                replica.start()
                in_use = all_at_once([lambda: opens(replica, tokens["access_token"])] * 20)
                relay.fall_silent()
                call = [lambda: timed(lambda door: door.visitor().call("pat_any"), replica)]
                answers = all_at_once(call * 10)
                wait_for_readiness(replica.url, 200)
                again = opens(replica, tokens["access_token"])
            finally:
                replica.kill()

        assert in_use == [True] * 20
        assert 503 in {answer.status_code for answer, _ in answers} <= {401, 503}
        assert max(seconds for _, seconds in answers) < BOUND_SECONDS
        assert again

    def test_in_a_rolling_restart_every_call_or_its_repetition_is_answered(
        self, house: Crowd
    ) -> None:
        _, tokens = connect(house.doors[2])
        ends: list[int] = []
        lost: list[bool] = []
        stop = threading.Event()

        def call_on_and_on() -> None:
            while not stop.is_set():
                call = house.doors[2].visitor().call
                answers = [call(tokens["access_token"]).status_code]
                if answers == [502]:  # it met the replica in the moment when that went
                    answers.append(call(tokens["access_token"]).status_code)
                ends.append(answers[-1])
                lost.append(answers[0] != 200)

        caller = threading.Thread(target=call_on_and_on)
        caller.start()
        try:
            for replica in house.replicas[:2]:
                assert replica.running.stop() in {0, -15}
                replica.start()
                house.wait_until_balanced(2)
        finally:
            stop.set()
            caller.join()

        assert set(ends) == {200}
        assert len(ends) > 20
        assert sum(lost) <= 2  # one for each replica that went

    def test_the_balancer_passes_on_the_clients_address_that_a_tunnel_says(
        self, house: Crowd
    ) -> None:
        forwarded = {"x-forwarded-for": "198.51.100.9, 203.0.113.7"}  # the first is forged
        app, tokens = connect(house.doors[2])
        form = {"grant_type": "refresh_token", "client_id": app.id}
        form["refresh_token"] = tokens["refresh_token"]
        logs = [each.log for each in house.replicas[:2]]

        for _ in range(2):
            house.doors[2].visitor(**forwarded).post("/token", data=form)
        said = [each.log[len(log) :] for each, log in zip(house.replicas, logs, strict=False)]

        assert ["address=203.0.113.7" in log for log in said] == [True, True]

    # The last, for it leaves waits behind

    def test_two_replicas_let_at_most_twice_as_many_wrong_passwords_through(
        self, house: Crowd
    ) -> None:
        app = App.register(house.doors[2])
        page = house.doors[2].visitor()
        ticket = ticket_of(page.get("/authorize", params=app.query()))
        began = time.monotonic()

        codes = [submit(house.doors[2], page, ticket, "wrong").status_code for _ in range(40)]
        took = time.monotonic() - began

        for_one = 5 + int(took + 1).bit_length()  # the waits are 1, 2, 4 s, ...
        assert set(codes) == {403, 429}
        assert 5 < codes.count(403) <= 2 * for_one


class TestOnRedis(Promises):
    pass


def get(door: Door, path: str) -> httpx.Response:
    return httpx.get(f"{door.url}{path}", trust_env=False, timeout=20)


def timed(call: Callable[[Door], httpx.Response], door: Door) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = call(door)
    return answer, time.monotonic() - began
