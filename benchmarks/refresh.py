"""What a refresh costs on the file store: against the same bytes written as durably, by nobody.

Measured are the refresh itself, from the presented token to its durable successor, and the whole of
`POST /token` from the app's side of the socket, where reading the form, the client and the answer
come on top. Each connection is as one that was used for a while: its grant, its access tokens, its
refresh token, and the used ones that are remembered against a replay.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.measure import WALL, Goal, Row, Scale, Way, row
from personal_auth.statedir import STATE_FILE
from personal_auth.store import SnapshotStore
from tests.support.asgi import HOST, AppServer, ask, http_scope
from tests.support.hammer import CLIENT, VERIFIER, approval, grants_over
from tests.support.site import connect

USED = 10
"""Used refresh tokens that are remembered for a connection: a client of today's defaults leaves
three, refreshing once in 30 days; one that refreshes each week leaves twelve."""
BUILD = Path(__file__).parents[1] / "build"
"""Beside the project, so on a disk: where temporary files go may be memory."""
FORM = (b"content-type", b"application/x-www-form-urlencoded")
KEPT = ("grants", "tokens", "refresh")


class InMemory(SnapshotStore):
    """A store whose changes go nowhere."""

    async def flush(self, seconds: float | None = None) -> None:
        pass


def connections(number: int) -> dict[str, Any]:
    """Returns the rows of so many connections that were used for a while."""

    async def connecting(store: SnapshotStore) -> None:
        grants = grants_over(store, time.time)
        for _ in range(number):
            code = await grants.codes.issue(approval(secrets.token_urlsafe(24)))
            assert code is not None
            tokens = await grants.redeem(code, CLIENT, None, VERIFIER)
            for _ in range(USED):
                tokens = await grants.refresh(tokens.refresh, CLIENT)

    store = InMemory(lambda raw: None)
    asyncio.run(connecting(store))
    rows: dict[str, Any] = json.loads(store.dump())["rows"]
    return {name: rows[name] for name in KEPT}


def write_durably(folder: Path, raw: bytes) -> None:
    """Writes a file so that it is there, whole, after a power loss: the least that takes."""
    temporary = folder / "peer.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(handle, raw)
    os.fsync(handle)
    os.close(handle)
    os.rename(temporary, folder / "peer")
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


class Refreshing:
    """A server with so many connections, and a client that refreshes."""

    def __init__(self, state_dir: Path, number: int) -> None:
        first = AppServer(state_dir, clock=time.time)
        app, tokens = connect(first)  # type: ignore[arg-type]
        first.stop()
        self._form = {"grant_type": "refresh_token", "client_id": app.id}
        self._token: str = tokens["refresh_token"]
        state = json.loads((state_dir / STATE_FILE).read_text())
        for name, rows in connections(number - 1).items():
            state["rows"][name] |= rows
        (state_dir / STATE_FILE).write_text(json.dumps(state))
        self.server = AppServer(state_dir, clock=time.time)
        service = self.server.provider.service
        self._grants = service.grants
        self._client = self.server.run(service.clients.known(app.id))

    def refresh(self) -> float:
        """Refreshes once, with the token of the last answer; returns the seconds it took."""

        async def refreshing() -> float:
            began = WALL()
            tokens = await self._grants.refresh(self._token, self._client)
            took = WALL() - began
            self._token = tokens.refresh
            return took

        return self.server.run(refreshing())

    def post(self) -> float:
        """Asks the token endpoint for the same."""

        async def posting() -> float:
            body = urlencode({**self._form, "refresh_token": self._token}).encode()
            scope = http_scope("POST", "/token", [(b"host", HOST), FORM])
            began = WALL()
            answer = await ask(self.server.app, scope, [body])
            took = WALL() - began
            assert answer.status == 200, answer
            self._token = json.loads(answer.body)["refresh_token"]
            return took

        return self.server.run(posting())


def compared(scale: Scale, number: int, times: int) -> tuple[list[float], list[float]]:
    """Returns the ratios among so many connections: of the refresh itself, and of the request.

    Each takes turns with its peer one by one, and a run's figure is the ratio of its medians: a
    disk is busy for moments that are longer than either.
    """
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="refresh-", dir=BUILD) as folder:
        state_dir = Path(folder)
        ours = Refreshing(state_dir, number)

        def peer() -> float:
            raw = (state_dir / STATE_FILE).read_bytes()  # which grow by what each refresh leaves
            began = WALL()
            write_durably(state_dir, raw)
            return WALL() - began

        try:
            ours.refresh()  # warmed up
            ours.post()
            found = [
                (
                    ratio_of_medians(ours.refresh, peer, times),
                    ratio_of_medians(ours.post, peer, times),
                )
                for _ in range(scale.runs)
            ]
        finally:
            ours.server.stop()
    return [each[0] for each in found], [each[1] for each in found]


def ratio_of_medians(our: Way, peer: Way, times: int) -> float:
    """Returns the ratio of the medians of two ways that take turns so often."""
    took: dict[Way, list[float]] = {our: [], peer: []}
    for number in range(times):
        for way in (our, peer) if number % 2 else (peer, our):
            took[way].append(way())
    return statistics.median(took[our]) / statistics.median(took[peer])


def rows(scale: Scale) -> Iterator[Row]:
    against = "the same bytes written durably"
    for number, most in ((10, 1.5), (1000, 3.0)):
        itself, request = compared(scale, scale.of(number, min(number, 50)), scale.of(25, 2))
        among = f"among {number:,} connections, file store"
        yield row("refresh", f"a refresh {among}", against, itself, Goal(most=most))
        yield row("refresh", f"POST /token for it {among}", against, request, Goal())
