"""FastMCP's client and the SDK's, against a server on loopback and one behind a TLS proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.house import House
from tests.clients.published import PYTHON
from tests.clients.python_clients import Person, Program, WithFastMcp, WithSdk

pytestmark = pytest.mark.filterwarnings("ignore:A configured store is unstable")

MONTH = 31 * 24 * 60 * 60
KINDS = (WithFastMcp, WithSdk)
REVISIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@pytest.fixture
def person(place: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    person = Person(place)
    monkeypatch.setattr("webbrowser.open", person.open)
    yield person
    person.rest()


@pytest.fixture(params=REVISIONS)
def mode(request: pytest.FixtureRequest) -> str:
    """In which era the client begins: the newest, or with `initialize`."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def program(request: pytest.FixtureRequest, place: House, person: Person, mode: str) -> Program:
    program: Program = request.param(place, person, mode)
    return program


@pytest.fixture
def later(place: House, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time go by, for the server and for the programs."""
    real, ahead = time.time, [0.0]

    def go_by(seconds: float) -> None:
        place.advance(seconds)
        ahead[0] += seconds
        monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    return go_by


async def use(program: Program, client: Any) -> None:
    """Lists the tools, saves a note with one and finds it with another."""
    names = {name.partition("_")[2]: name for name in await program.tools(client)}
    saved = await client.call_tool(names["save"], {"text": "Milk and a loaf of rye"})
    found = await client.call_tool(names["search"], {"query": "rye"})
    assert not saved.is_error
    assert "loaf of rye" in found.content[0].text


async def run(program: Program) -> None:
    async with program.connected() as client:
        await use(program, client)


def test_it_signs_in_and_uses_tools_in_the_newest_revision_and_the_era_before(
    program: Program, mode: str, person: Person
) -> None:
    async def story() -> str:
        async with program.connected() as client:
            await use(program, client)
            return str(client.protocol_version)

    revision = asyncio.run(story())

    assert revision == REVISIONS[mode]
    assert len(person.opened) == 1
