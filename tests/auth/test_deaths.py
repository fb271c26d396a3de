"""kill -9 at any moment: what was acknowledged holds, what was not is not believed by halves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_auth.owner import hash_password
from tests.auth.test_adoption import ACCESS, REFRESH, reference_state
from tests.support import deaths
from tests.support.deaths import Clients, Event, Ledger
from tests.support.memory import on_disk
from tests.support.site import PASSWORD, URL, App, Clock, Site, approve
from tests.support.site import ticket as ticket_of

ROOT = Path(__file__).parents[2]
KILLS, KILLS_OVER_HTTP = 300, 20
SEED = os.environ.get("DEATHS_SEED") or secrets.token_hex(4)
FILE = "oauth_tokens.json"
NEARER = {True: 0.8, False: 1.25}  # so kills come before a write and after it, on any machine


class Nursery:
    """The process that makes children; what they say comes back through `apply`."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT / "template" / "src"), str(ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.deaths"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begin(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def events(self, until: str) -> list[Event]:
        """Returns what was said up to such an event, or the death; without one, one event."""
        assert self._process.stdout is not None
        said: list[Event] = []
        while not said or (until and said[-1]["do"] not in {until, "died"}):
            line = self._process.stdout.readline()
            assert line, "the process that makes the children ended"
            said.append(json.loads(line))
            assert said[-1]["do"] != "failed", f"seed {SEED}: {said[-1]['why']}"
        return said

    def live_and_die(self, **command: Any) -> list[Event]:
        self.begin(**command)
        return self.events("died")

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def password() -> str:
    return hash_password(PASSWORD)


def site(state: Path, password: str | None, seconds: int = 0) -> Site:
    """Starts a server as usual, so many seconds after the beginning."""
    clock = Clock()
    clock.now = deaths.NOW + seconds
    options = deaths.options(state, clock.now)
    kept = {name: options[name] for name in ("limits", "access_token_expiry_seconds")}
    return Site(state, clock, password=password, **kept)


def signed_in(state: Path, password: str) -> Ledger:
    """Starts a server once, for the owner's cookies."""
    server, owner = site(state, password), None
    try:
        owner = server.visitor()
        approve(App.register(server), owner)
    finally:
        server.stop()
    return Ledger(cookies=dict(owner.cookies))


def temporary(state: Path) -> list[Path]:
    return [*state.glob(".*")]


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk, where a write takes long enough to die in."""
    with tempfile.TemporaryDirectory(prefix="deaths-", dir=on_disk()) as folder:
        yield Path(folder)


def test_everything_acknowledged_holds_after_each_of_hundreds_of_kills(
    disk: Path, nursery: Nursery, password: str
) -> None:
    print(f"DEATHS_SEED={SEED}")
    chance, state = random.Random(SEED), disk / "state"
    ledger, halves = signed_in(state, password), 0
    over_http = set(chance.sample(range(1, KILLS), KILLS_OVER_HTTP))
    for ledger.round in range(1, KILLS + 1):
        command = {"state_dir": str(state), "password": password, "seed": f"{SEED}{ledger.round}"}
        if ledger.round in over_http:
            kill_over_http(nursery, ledger, chance.uniform(0.0, 0.5), command)
        else:
            kill_itself(nursery, ledger, chance, command)
        halves += bool(temporary(state))

    last = site(state, password, ledger.round)
    try:
        left = temporary(state)
        asyncio.run(check_once(last.port, ledger))
    finally:
        last.stop()

    print(ledger.told, f"deaths in the middle of a write: {halves}")
    assert left == []
    assert ledger.told["died"] == KILLS
    assert ledger.told["checked"] > KILLS // 2
    assert halves > KILLS // 50
    assert min(ledger.told[do] for do in ("connected", "refreshed", "revoked")) > KILLS // 2


def kill_itself(nursery: Nursery, ledger: Ledger, chance: random.Random, command: Event) -> None:
    """Kills in the start, while it is checked, or under load; always a little later than that."""
    nursery.begin(mode="itself", kill_after=None, ledger=asdict(ledger), **command)
    said = nursery.events("born")
    killer, phase = Killer(said[0]["pid"]), chance.random()
    if phase > 0.2:
        said += nursery.events("opened")
    if phase > 0.35:
        said += nursery.events("checked")
    for _ in range(chance.randint(0, 12) if phase > 0.2 else 0):
        said += nursery.events("")
    time.sleep(chance.uniform(0.0, 0.01 if phase > 0.2 else 0.05))
    killer()
    said += nursery.events("died")
    assert said[-1]["killed"]
    for event in said:
        ledger.apply(event)


def kill_over_http(nursery: Nursery, ledger: Ledger, kill_after: float, command: Event) -> None:
    nursery.begin(mode="http", kill_after=None, ledger={"round": ledger.round}, **command)
    said = nursery.events("serving")
    killer = Killer(said[0]["pid"])
    try:
        asyncio.run(load_until_dead(said[-1]["port"], killer, ledger, kill_after, command["seed"]))
    finally:
        killer()
    assert nursery.events("died")[-1]["killed"]
    ledger.apply({"do": "died"})


class Killer:
    """Kills one process, once."""

    def __init__(self, pid: int) -> None:
        self._pid: int | None = pid

    def __call__(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = None


async def load_until_dead(
    port: int, killer: Killer, ledger: Ledger, kill_after: float, seed: str
) -> None:
    async with visitor(port) as http:
        await answers(http)
        asyncio.get_running_loop().call_later(kill_after, killer)
        with suppress(httpx.TransportError):
            await deaths.load(Clients(http, ledger, lambda event: None, seed))


async def check_once(port: int, ledger: Ledger) -> None:
    async with visitor(port) as http:
        await Clients(http, ledger, lambda event: None, SEED).check()


def visitor(port: int) -> httpx.AsyncClient:
    headers = {"host": URL.removeprefix("https://")}
    base = f"http://127.0.0.1:{port}"
    return httpx.AsyncClient(
        base_url=base, headers=headers, trust_env=False, timeout=20, verify=False
    )


async def answers(http: httpx.AsyncClient) -> None:
    for _ in range(500):
        with suppress(httpx.TransportError):
            await http.get("/.well-known/oauth-authorization-server")
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the server does not answer")


def test_a_death_in_the_first_start_never_leaves_a_password_that_nobody_knows(
    disk: Path, nursery: Nursery
) -> None:
    chance, finished, latest = random.Random(SEED), set(), 0.12
    for number in range(25):
        state = disk / str(number)
        start = {"mode": "start", "state_dir": str(state), "password": None}
        nursery.live_and_die(kill_after=chance.uniform(0.0, latest), **start)
        finished.add((state / FILE).exists())
        latest *= NEARER[(state / FILE).exists()]
        said = nursery.live_and_die(kill_after=None, **start)
        assert [event["do"] for event in said if event["do"] == "started"]
        assert not temporary(state)
        if number % 8 == 0:
            server = site(state, None)
            try:
                password_file = state / "initial-password"
                known = password_file.read_text().strip()
                owner, app = server.visitor(), App.register(server)
                ticket = ticket_of(owner.get("/authorize", params=app.query()))
                answer = owner.submit(ticket=ticket, password=known, decision="approve")
                assert answer.status_code == 303
            finally:
                server.stop()

    assert finished == {True, False}, "the kills came all before or all after the first write"


def test_a_death_in_the_adoption_leaves_the_old_file_or_the_new_one(
    disk: Path, nursery: Nursery, password: str
) -> None:
    chance, finished, latest = random.Random(SEED), set(), 0.04
    old = json.dumps(reference_state(Clock()))
    for number in range(25):
        state = disk / str(number)
        state.mkdir()
        (state / FILE).write_text(old)
        start = {"mode": "start", "state_dir": str(state), "password": password}
        nursery.live_and_die(kill_after=chance.uniform(0.0, latest), **start)
        now = (state / FILE).read_text()
        finished.add(now != old)
        latest *= NEARER[now != old]
        assert now == old or not {ACCESS, REFRESH} & set(json.loads(now)["rows"])
        if number % 8 == 0:
            server = site(state, password)
            try:
                assert server.visitor().call(ACCESS).status_code == 200
                assert not temporary(state)
            finally:
                server.stop()

    assert finished == {True, False}, "the kills came all before or all after the adoption"
