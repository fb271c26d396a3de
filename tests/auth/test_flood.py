"""Floods of strangers: the owner goes on, memory and disk stay bounded, the log stays readable.

The bulk of a flood is sent straight to the app of a running server, on its own event loop, since a
client over HTTP is slower than the server; some thousands come over real connections.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.asgi import HOST, Header, ask, http_scope
from tests.support.hostile import listening
from tests.support.site import (
    CALLBACK,
    PASSWORD,
    URL,
    App,
    Clock,
    Site,
    answer_of,
    approve,
    connect,
    ticket,
)
from tests.support.wire import answers

PORTIONS, PORTION = 10, 10_000
FLOODERS = 8  # that many are served at once
FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")

Request = tuple[dict[str, Any], bytes]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state", Clock())
    yield site
    site.stop()


def post(path: str, body: bytes, *headers: Header) -> Request:
    return http_scope("POST", path, [(b"host", HOST), *headers]), body


def registration(dice: random.Random, size: int) -> bytes:
    """A registration never seen before; of `size` 0 it is sealed, else it has to be stored."""
    word = dice.randbytes(6).hex()
    more = [f"https://{word}.example/{dice.randbytes(size // 2).hex()}"] if size else []
    document = {"client_name": f"App {word}", "redirect_uris": [CALLBACK, *more]}
    return json.dumps(document).encode()


def flood(site: Site, requests: Iterator[Request], statuses: set[int]) -> Future[None]:
    """Sends requests to a running server, several at once, while it serves others."""

    async def flooder() -> None:
        for scope, body in requests:
            answer = await ask(site.app, scope, [body])
            assert answer.status in statuses, answer
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(flooder() for _ in range(FLOODERS)))

    return asyncio.run_coroutine_threadsafe(all_of_them(), site.loop)


def lasting(
    number: int, make: Callable[[int], Request], enough: threading.Event
) -> Iterator[Request]:
    """Makes so many requests, and more until it is enough: a flood that somebody acts within."""
    for each in itertools.count():
        if each >= number and enough.is_set():
            return
        yield make(each)


def highest_memory() -> int:
    """Returns the most memory this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def rows(site: Site) -> dict[str, dict[str, Any]]:
    """Returns what is stored, but for when a connection was last used, which a call changes."""
    stored: dict[str, dict[str, Any]] = json.loads(state(site).read_text())["rows"]
    return {name: found for name, found in stored.items() if name != "seen"}


def state(site: Site) -> Path:
    return site.state_dir / "oauth_tokens.json"


def test_the_owner_connects_during_a_flood_of_100_000_registrations(site: Site) -> None:
    dice = random.Random(1)
    old, tokens = connect(site)
    long_uris = [CALLBACK, f"https://claude.ai/{dice.randbytes(200).hex()}"]
    long, long_tokens = connect(site, redirect_uris=long_uris)
    assert long.id.startswith("c1-")
    connected, largest, warm = 2, 0, 0

    def register(each: int) -> Request:
        return post("/register", registration(dice, 400 * (each % 2)), JSON)

    with listening() as log:
        for _ in range(PORTIONS):
            site.clock.advance(2 * 60)  # so that slots of the table are old enough to be used again
            done = threading.Event()
            portion = flood(site, lasting(PORTION, register, done), {201})
            owner = site.visitor()
            app = App.register(site)
            answer = app.redeem(approve(app, owner))
            called = site.visitor().call(tokens["access_token"])
            refreshed = old.refresh(tokens["refresh_token"])
            assert not portion.done()
            done.set()

            assert (answer.status_code, called.status_code, refreshed.status_code) == (200,) * 3
            portion.result(120)
            tokens, connected = refreshed.json(), connected + 1
            largest = max(largest, state(site).stat().st_size)
            warm = warm or highest_memory()
    grown = highest_memory() - warm

    site.restart()
    stored = rows(site)
    print(f"state file at most {largest} bytes, memory {grown} KiB more than after the first tenth")
    assert len(stored["grants"]) == connected
    assert len(stored["clients"]) == 1, "one of the clients that the owner approved was stored"
    assert len(stored["waiting_clients"]) == site.provider._limits.stored_clients
    assert long.id not in {row["value"]["id"] for row in stored["waiting_clients"].values()}
    assert long.refresh(long_tokens["refresh_token"]).status_code == 200
    assert long.redeem(approve(long)).status_code == 200
    assert largest < 1_000_000
    assert grown < 20 * 1024, f"{grown} KiB more after {PORTIONS - 1} more portions"
    log.check()
    for step in ("owner_signed_in", "connection_approved", "tokens_issued", "tokens_refreshed"):
        assert log.of(step) == PORTIONS, step


def test_a_long_client_connects_although_a_flood_overwrites_the_table(site: Site) -> None:
    dice = random.Random(3)

    def registrations() -> Iterator[Request]:
        for _ in range(2 * site.provider._limits.stored_clients):
            yield post("/register", registration(dice, 400), JSON)

    flood(site, registrations(), {201}).result(60)
    long_uri = f"https://x.example/{dice.randbytes(200).hex()}"
    owner, app = site.visitor(), App.register(site, CALLBACK, long_uri)
    page = owner.get("/authorize", params=app.query())
    flood(site, registrations(), {201}).result(60)
    answer = owner.submit(ticket=ticket(page), password=PASSWORD, decision="approve")

    assert page.status_code == 200
    assert app.redeem(answer_of(answer)["code"]).status_code == 200


def test_registrations_over_many_connections_are_all_answered(site: Site) -> None:
    dice, connections, each = random.Random(2), 32, 125
    old, tokens = connect(site)
    before = rows(site)

    def register(seed: int) -> list[int]:
        bodies = [registration(random.Random(f"{seed} {n}"), 0) for n in range(each)]
        sent = b"".join(raw_post(body, last=body is bodies[-1]) for body in bodies)
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
            connection.sendall(sent)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        return [answer.status for answer in answers(received)]

    with ThreadPoolExecutor(connections) as threads:
        flooding = [threads.submit(register, dice.randrange(10**9)) for _ in range(connections)]
        assert site.visitor().call(tokens["access_token"]).status_code == 200
        assert old.redeem(approve(old)).status_code == 200
        during = not all(future.done() for future in flooding)
        statuses = [status for future in flooding for status in future.result()]

    assert during, "the flood was over before the owner was done"
    assert statuses == [201] * connections * each
    assert rows(site).get("waiting_clients") == before.get("waiting_clients")


def raw_post(body: bytes, *, last: bool) -> bytes:
    head = b"POST /register HTTP/1.1\r\nHost: mcp.example.com\r\nContent-Type: application/json\r\n"
    head += b"Connection: close\r\n" if last else b""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_the_largest_registrations_leave_a_bounded_file_and_bounded_memory(site: Site) -> None:
    dice, limits = random.Random(3), site.provider._limits
    connect(site)

    def registrations() -> Iterator[Request]:
        for _ in range(4 * limits.stored_clients):
            foreign = ["".join(f"{n:02x}\\" for n in dice.randbytes(330)) for _ in range(9)]
            body = json.dumps({"redirect_uris": [CALLBACK, *foreign]}).encode()
            assert limits.body_bytes * 0.7 < len(body) < limits.body_bytes
            yield post("/register", body, JSON)

    before = highest_memory()
    flood(site, registrations(), {201}).result(120)
    grown = highest_memory() - before
    site.restart()

    assert len(rows(site)["waiting_clients"]) == limits.stored_clients
    assert state(site).stat().st_size < limits.stored_clients * limits.body_bytes
    print(f"state file {state(site).stat().st_size} bytes, memory {grown} KiB more")
    assert grown < 80 * 1024, f"{grown} KiB"


def made_up(site: Site, dice: random.Random, kind: str) -> Callable[[], Request]:
    """Returns what makes one request after the other that must be refused."""
    app, visitor = App.register(site), site.visitor()
    page = visitor.get("/authorize", params=app.query())
    cookie = (b"cookie", "; ".join(f"{k}={v}" for k, v in visitor.cookies.items()).encode())
    own = (b"origin", URL.encode())

    def token(**form: str) -> Request:
        return post("/token", urlencode({"client_id": app.id, **form}).encode(), FORM)

    def decide(**form: str) -> Request:
        form = {"ticket": ticket(page), "decision": "approve", **form}
        return post("/authorize", urlencode(form).encode(), FORM, own, cookie)

    def word() -> str:
        return dice.randbytes(24).hex()

    def code() -> Request:
        return token(grant_type="authorization_code", code=f"pac_{word()}", code_verifier=word())

    def bearer() -> Request:
        return post("/mcp", b"{}", JSON, (b"authorization", f"Bearer pat_{word()}".encode()))

    def visit() -> Request:
        query = urlencode(app.query(state=word()))
        return http_scope("GET", f"/authorize?{query}", [(b"host", HOST)]), b""

    return {
        "codes": code,
        "refresh tokens": lambda: token(grant_type="refresh_token", refresh_token=f"prt_{word()}"),
        "revocations": lambda: post(
            "/revoke", urlencode({"client_id": app.id, "token": f"prt_{word()}"}).encode(), FORM
        ),
        "access tokens": bearer,
        "consent pages": visit,
        "tickets": lambda: decide(ticket=f"{word()}.{word()}"),
        "passwords": lambda: decide(password=word()),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "statuses", "wrong"),
    [
        ("codes", {400}, 0),
        ("refresh tokens", {400}, 0),
        ("revocations", {200}, 0),
        ("access tokens", {401}, 0),
        ("consent pages", {200}, 0),
        ("tickets", {400}, 0),
        ("passwords", {403, 429}, 5),
    ],
)
def test_a_flood_of_what_is_made_up_is_answered_and_does_not_fill_the_log(
    site: Site, kind: str, statuses: set[int], wrong: int
) -> None:
    app, tokens = connect(site)
    make = made_up(site, random.Random(4), kind)
    before = rows(site)

    done = threading.Event()

    with listening() as log:
        flood(site, (make() for _ in range(1000)), statuses).result(60)
        warm = highest_memory()
        flooding = flood(site, lasting(4000, lambda each: make(), done), statuses)
        called = site.visitor().call(tokens["access_token"])
        assert not flooding.done()
        done.set()
        flooding.result(60)
    grown = highest_memory() - warm

    assert called.status_code == 200
    assert rows(site) == before
    assert grown < 4 * 1024, f"{grown} KiB more after 4,000 requests"
    log.check()
    assert log.of("wrong_password") == wrong
    assert app.refresh(tokens["refresh_token"]).status_code == 200
