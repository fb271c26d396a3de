"""What programs see of a connection that may only read, and how they go on when it is widened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastmcp.exceptions import ToolError

from tests.clients.home import Home, narrow
from tests.clients.house import House
from tests.clients.node_programs import KINDS as NODE
from tests.clients.node_programs import SETTINGS, Connected, Inspector, use
from tests.clients.python_clients import Person, Program, WithFastMcp, WithSdk

pytestmark = pytest.mark.filterwarnings("ignore:A configured store is unstable")

WRITING = {"myserver_save", "myserver_edit", "myserver_delete"}
SAVE = {"name": "myserver_save", "arguments": {"text": "Bread"}}
TALKING = [name for name, kind in NODE.items() if kind is not Inspector]  # which goes on running


def names(program: Connected) -> set[str]:
    return {tool["name"] for tool in program.rpc("tools/list")["tools"]}


@pytest.mark.parametrize("kind", TALKING)
def test_a_program_with_node_is_held_to_reading_and_let_go_without_connecting_again(
    kind: str, place: House, tmp_path: Path
) -> None:
    client = NODE[kind](Home(place, tmp_path / "home", **SETTINGS))
    with client.connected() as program:
        everything = names(program)
        narrow(place, True)
        held, refused = names(program), program.rpc("tools/call", **SAVE)
        narrow(place, False)
        after = names(program)
        use(program)

    assert held == everything - WRITING < everything == after
    assert refused["isError"] is True
    assert refused["content"][0]["text"] == "Unknown tool: 'myserver_save'"
    assert len(client.home.opened) == 1


@pytest.mark.parametrize("kind", [WithFastMcp, WithSdk])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_program_that_was_approved_to_read_sees_all_once_the_owner_widens_it(
    kind: type[Program], mode: str, place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person(place, chooses={"read_only": "yes"})
    monkeypatch.setattr("webbrowser.open", person.open)
    program = kind(place, person, mode)

    async def story() -> tuple[set[str], str, set[str], bool]:
        async with program.connected() as client:
            held, refused = set(await program.tools(client)), await save(client)
            await asyncio.to_thread(narrow, place, False)
            return held, refused, set(await program.tools(client)), bool(await save(client))

    held, refused, after, fails = asyncio.run(story())
    person.rest()

    assert held == after - WRITING < after
    assert "Unknown tool: 'myserver_save'" in refused
    assert not fails
    assert len(person.opened) == 1


async def save(client: Any) -> str:
    """Saves a note; returns the error that the program is told, or nothing."""
    try:
        result = await client.call_tool(SAVE["name"], SAVE["arguments"])
    except ToolError as error:
        return str(error)
    return str(result.content[0].text) if result.is_error else ""
