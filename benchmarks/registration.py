"""What a registration costs after many, and what a flood of them leaves on the disk.

Processor time of POST /register through the whole ASGI app, every answer a 201: nothing counts or
refuses them. A client like those that exist is sealed into its id; one with a long redirect URI has
to be stored, in a bounded table. The design of a whole file that is written at each registration
and grows without bound is a stand-in on FastMCP's in-memory provider; it is measured after 10 and
1,000, since after 100,000 each would take most of a second.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull

from benchmarks.direct import JSON, json_of, send
from benchmarks.measure import CPU, Goal, Row, Scale, Way, in_turns, ratios, row
from personal_auth.limits import Limits
from personal_auth.statedir import STATE_FILE
from tests.support.asgi import AppLoop, AppServer
from tests.support.site import CALLBACK, URL

PART = "registration"
NEXT = 100  # registrations that are measured after so many
PORTION = 5000
KINDS = {"a registration": 0, "a long registration": 400}
"""The random characters that its second redirect URI holds; 0 for none."""


class WholeFile(InMemoryOAuthProvider):
    """Forgets no client, and writes all of them at each registration."""

    def __init__(self, path: Path) -> None:
        options = ClientRegistrationOptions(enabled=True)
        super().__init__(base_url=URL, client_registration_options=options)
        self._path = path

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        await super().register_client(client_info)
        clients = {key: each.model_dump(mode="json") for key, each in self.clients.items()}
        self._path.write_text(json.dumps({"clients": clients}))

    def hold(self, count: int) -> None:
        """Goes back, or on, to so many clients."""
        client = next(iter(self.clients.values()))
        self.clients = {str(number): client for number in range(count)}


def rows(scale: Scale) -> Iterator[Row]:
    few, some, many = 10, scale.of(1000, 20), scale.of(100_000, 200)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        whole = WholeFile(folder / "whole.json")
        theirs = AppLoop(FastMCP("peer", auth=whole).http_app(host_origin_protection=False))
        stack.callback(theirs.stop)
        _register(theirs, 0, 1)
        for name, size in KINDS.items():
            ours = {}
            for count in (few, some, many):
                server = ours[count] = AppServer(folder / f"{size} {count}")
                stack.callback(server.stop)
                before = _bytes(server)
                _register(server, size, count)
            left = _bytes(server) - before
            yield from _costs(scale, name, size, ours, theirs, whole)
            bound = Goal(most=Limits().stored_clients * Limits().body_bytes if size else 0)
            yield row(
                PART, f"bytes on disk after {name}, {many:,} times", "a limit", [left], bound, "B"
            )


def _costs(
    scale: Scale,
    name: str,
    size: int,
    ours: dict[int, AppServer],
    theirs: AppLoop,
    whole: WholeFile,
) -> Iterator[Row]:
    few, some, many = ours
    number = scale.of(NEXT, 5)
    at_few, at_some, at_many, whole_few, whole_some = in_turns(
        scale,
        *(_registering(server, size, number) for server in ours.values()),
        *(_registering_whole(theirs, whole, size, count) for count in (few, some)),
    )
    for count, own in ((some, at_some), (many, at_many)):
        flat = ratios(own, at_few)
        yield row(PART, f"{name} after {count:,}", f"after {few}", flat, Goal(most=1.2))
    yield row(
        PART, f"{name} after {many:,}", "a limit", [each / 1000 for each in at_many], Goal(1), "ms"
    )
    for count, own, peer in ((few, at_few, whole_few), (some, at_some, whole_some)):
        yield row(PART, f"{name} after {count:,}", "the whole file", ratios(own, peer), Goal())


def _registering(server: AppLoop, size: int, number: int) -> Way:
    """Returns a way that registers clients and answers what one takes, in µs of CPU."""

    def run() -> float:
        began = CPU()
        _register(server, size, number)
        return (CPU() - began) / number * 1_000_000

    return run


def _registering_whole(theirs: AppLoop, whole: WholeFile, size: int, count: int) -> Way:
    number = max(count // 100, 1)  # few beside what is held already
    register = _registering(theirs, size, number)

    def run() -> float:
        whole.hold(count)
        return register()

    return run


def _register(server: AppLoop, size: int, count: int) -> None:
    """Registers clients, all different."""
    numbers = itertools.count()

    async def portion(number: int) -> None:
        for _ in range(number):
            more = [f"https://claude.ai/{secrets.token_hex(size // 2)}"] if size else []
            client = {"client_name": f"App {next(numbers)}", "redirect_uris": [CALLBACK, *more]}
            await send(server.app, 201, "POST", "/register", json_of(client), JSON)

    for begun in range(0, count, PORTION):
        server.run(portion(min(PORTION, count - begun)))


def _bytes(server: AppServer) -> int:
    """Returns the size of the state file, once everything is written."""
    server.run(server.provider.service.records.settle())
    return (server.state_dir / STATE_FILE).stat().st_size
