"""FastMCP's client and the SDK's, against a server on loopback and one behind a TLS proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from mcp.shared.auth import OAuthToken

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
def kind(request: pytest.FixtureRequest) -> type[Program]:
    """Which of the clients."""
    found: type[Program] = request.param
    return found


@pytest.fixture
def program(kind: type[Program], place: House, person: Person, mode: str) -> Program:
    return kind(place, person, mode)


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


def test_an_expired_access_token_is_renewed_without_the_owner(
    program: Program, person: Person, later: Callable[[float], None]
) -> None:
    async def story() -> tuple[OAuthToken, OAuthToken]:
        async with program.connected() as client:
            await use(program, client)
            before, _ = await program.kept()
            later(MONTH)
            await use(program, client)
        return before, (await program.kept())[0]

    before, after = asyncio.run(story())

    assert before.access_token != after.access_token
    assert before.refresh_token != after.refresh_token
    assert len(person.opened) == 1


def test_two_programs_that_share_their_tokens_and_renew_them_at_once_both_go_on(
    place: House, person: Person, later: Callable[[float], None]
) -> None:
    first = WithFastMcp(place, person)

    async def story() -> int:
        async with first.connected() as one, first.again().connected() as other:
            await use(first, one)
            await use(first, other)
            later(MONTH)
            await asyncio.gather(use(first, one), use(first, other))
            return len(person.opened)

    assert asyncio.run(story()) == 1


@pytest.mark.parametrize(("kind", "visits"), [(WithFastMcp, 1), (WithSdk, 2)])
def test_a_program_that_is_started_when_its_token_has_expired_gets_there(
    kind: type[Program],
    visits: int,
    place: House,
    person: Person,
    later: Callable[[float], None],
) -> None:
    program = kind(place, person)
    asyncio.run(run(program))
    later(MONTH)

    asyncio.run(run(program.again()))

    assert len(person.opened) == visits  # the SDK does not keep when a token expires


def test_a_program_goes_on_across_a_restart_of_the_server_and_of_itself(
    place: House, person: Person
) -> None:
    programs = [kind(place, person, mode) for kind in KINDS for mode in REVISIONS]

    async def story() -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(each.connected()) for each in programs]
            place.restart()
            for program, client in zip(programs, clients, strict=True):
                await use(program, client)
        for program in programs:
            await run(program.again())

    asyncio.run(story())

    assert len(person.opened) == len(programs)


def test_after_a_loss_of_the_state_fastmcp_registers_anew_and_the_sdk_is_told_what_to_do(
    place: House, person: Person
) -> None:
    fast, sdk = (kind(place, person) for kind in KINDS)

    async def connect(*programs: Program) -> list[str]:
        for program in programs:
            await run(program)
        return [(await program.kept())[1].client_id for program in programs]

    lost = asyncio.run(connect(fast, sdk))
    place.lose_state()
    found = asyncio.run(connect(fast))
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError), flatten_subgroups=True) as refused:
        asyncio.run(connect(sdk))
    anew = asyncio.run(connect(WithSdk(place, person)))

    assert lost[0] != found[0]
    assert lost[1] != anew[0]
    [told] = refused.value.exceptions
    assert "This server does not know the app" in str(told)
    assert "Remove this server there and add it again." in str(told)


def test_one_with_a_metadata_document_never_registers_and_only_signs_in_again_after_a_loss(
    place: House, person: Person, later: Callable[[float], None]
) -> None:
    programs = [kind(place, person, document=PYTHON) for kind in KINDS]

    async def story() -> list[str | None]:
        for program in programs:
            await run(program)
        place.lose_state()
        later(MONTH)
        for program in programs:
            await run(program)
        return [(await program.kept())[1].client_id for program in programs]

    registrations = place.log.count("client_registered")
    ids = asyncio.run(story())

    assert ids == [PYTHON, PYTHON]
    assert len(person.opened) == 2 * len(programs)
    assert place.log.count("client_registered") == registrations > 0
