"""Finding the owner's tools: by dropping a file, prefixed, or not starting at all."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from fastmcp import Client, FastMCP

from personal_server.tools import ToolRefused, add_tools

Package = Callable[..., str]
NUMBERS = itertools.count()

GREET = '''
from fastmcp.tools import tool

@tool(annotations={"readOnlyHint": True})
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Hello, {name}!"
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.syspath_prepend(tmp_path)

    def package(**files: str) -> str:
        name = f"owner_{next(NUMBERS)}"
        folder = tmp_path / name / "tools"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        (folder / "__init__.py").touch()
        for stem, text in files.items():
            path = folder.joinpath(*stem.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(text)
        return name

    return package


def names(server: FastMCP) -> list[str]:
    async def ask() -> list[str]:
        async with Client(server) as client:
            return sorted(tool.name for tool in await client.list_tools())

    return asyncio.run(ask())


def test_a_file_is_enough(package: Package) -> None:
    server = FastMCP("test")

    count = add_tools(server, package(anything=GREET), "mine")

    async def call() -> str:
        async with Client(server) as client:
            answer = await client.call_tool("mine_greet", {"name": "Ada"})
            return str(answer.data)

    assert (count, names(server), asyncio.run(call())) == (1, ["mine_greet"], "Hello, Ada!")


def test_files_in_folders_are_found_and_private_ones_are_not(package: Package) -> None:
    server = FastMCP("test")

    add_tools(server, package(deep__one=GREET, _private=GREET), "mine")

    assert names(server) == ["mine_greet"]


def test_resources_and_prompts_are_added_under_the_prefix(package: Package) -> None:
    server = FastMCP("test")
    text = '''
from fastmcp.prompts import prompt
from fastmcp.resources import resource

@resource("notes://today")
def today() -> str:
    """Today's notes."""
    return "nothing"

@prompt
def plan(day: str) -> str:
    """Plans a day."""
    return day
'''

    add_tools(server, package(both=text), "mine")

    async def ask() -> tuple[list[str], list[str]]:
        async with Client(server) as client:
            resources = [str(r.uri) for r in await client.list_resources()]
            return resources, [p.name for p in await client.list_prompts()]

    assert asyncio.run(ask()) == (["notes://mine/today"], ["mine_plan"])


def test_a_file_without_a_tool_is_named_in_the_log(
    package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    unmarked = "def greet(name: str) -> str:\n    return name\n"
    name = package(mine=unmarked, _helpers=unmarked, more__greet=GREET)

    add_tools(FastMCP("test"), name, "my")

    assert [record.getMessage() for record in caplog.records] == [
        f"src/{name}/tools/mine.py holds no tool: put @tool, from fastmcp.tools, before its"
        " function. A file of helpers begins with an underscore."
    ]


def test_a_tool_imported_from_another_file_counts_once(package: Package) -> None:
    server = FastMCP("test")
    name = package(one=GREET, two="from .one import greet\n")

    assert add_tools(server, name, "mine") == 1


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"broken": "def ("}, r"tools/broken\.py cannot be imported: SyntaxError"),
        ({"broken": "import no_such_module"}, r"broken\.py cannot be imported: ModuleNotFound"),
        ({"broken": "raise SystemExit(3)"}, r"broken\.py cannot be imported: SystemExit"),
        ({"broken": "1/0"}, r"broken\.py cannot be imported: ZeroDivisionError"),
        ({"one": GREET, "two": GREET}, r"greet.*two\.py.*one\.py"),
        ({"one": GREET.replace('"""Greets somebody."""', "")}, "greet.*has no description"),
        ({"one": GREET.replace("Greets somebody.", "  ")}, "greet.*has no description"),
        ({"one": GREET.replace("name: str", "*names: str")}, r"one\.py cannot be used"),
        ({"one": "class Own: ...\n" + GREET.replace("name: str", "name: Own")}, "cannot be used"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    package: Package, files: dict[str, str], says: str
) -> None:
    with pytest.raises(ToolRefused, match=says) as refused:
        add_tools(FastMCP("test"), package(**files), "mine")

    assert "\n" not in str(refused.value)
