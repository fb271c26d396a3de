"""What owners write: the examples are fine, and each mistake in a real server is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.generate.project import copy, snapshot
from tests.support.process import Running
from tests.verify.house import PASSWORD, Report

ODD_TOOLS = '''
"""Tools with a mistake each."""

from __future__ import annotations

from typing import Annotated

from fastmcp.tools import tool
from pydantic import BaseModel, Field

READS = {"readOnlyHint": True}


class Part(BaseModel):
    """A part of a recipe, which may have parts."""

    name: str
    parts: list[Part] = []


@tool(annotations={"readOnlyHint": False})
def assemble(part: Annotated[Part, Field(description="What to put together.")]) -> str:
    """Puts a dish together from its parts. Use it when the user has named them all."""
    return part.name


@tool(annotations=READS)
def everything() -> str:
    """Gives all recipes of the family at once. Use it when the user wants to see them all."""
    return "a recipe " * 20_000


@tool(annotations=READS)
def cook(q: str) -> str:
    """Cook"""
    return q


@tool
def weigh(grams: Annotated[int, Field(description="How much.")]) -> int:
    """Weighs an ingredient. Use it when the user wants to know whether there is enough."""
    return grams


@tool("remembers_what_the_family_liked_and_disliked_about_each_recipe", annotations=READS)
def liked(dish: Annotated[str, Field(description="The dish.")]) -> str:
    """Tells what the family said of a dish. Use it before you suggest one."""
    return dish
'''
ODD_EXTENSION = '''
"""A tool that comes without the prefix."""

from fastmcp import FastMCP


def extend(server: FastMCP) -> None:
    @server.tool(annotations={"readOnlyHint": False})
    def shop() -> str:
        """Orders what is missing for a dish. Use it only when the user says so."""
        return "ordered"
'''
ODD_INSTRUCTIONS = "The recipes of the family, collected with love for many years."


@pytest.fixture
def start() -> Iterator[Callable[[Path], Running]]:
    """Starts the server of a project."""
    started: list[Running] = []

    def run(project: Path) -> Running:
        started.append(Running(project, MCP_PASSWORD=PASSWORD))
        return started[-1]

    yield run
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("examples", [["hello"], ["notes", "hello"]], ids=" and ".join)
def test_the_examples_have_no_fault(
    examples: list[str],
    template: Path,
    start: Callable[[Path], Running],
    verify_here: Callable[..., Report],
    tmp_path: Path,
) -> None:
    project = tmp_path / "my-server"
    copy(template, project, examples=examples)

    report = verify_here(start(project).url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.code == 0, report.out
    assert report.with_status("skip") == []


def test_each_mistake_of_an_owner_is_noticed_in_a_real_server(
    rendered: Path,
    start: Callable[[Path], Running],
    verify_here: Callable[..., Report],
    tmp_path: Path,
) -> None:
    project = tmp_path / "my-server"
    shutil.copytree(rendered, project, ignore=shutil.ignore_patterns(".*state"))
    package = project / "src" / "my_server"
    (package / "tools" / "notes.py").write_text(ODD_TOOLS)
    (package / "extend.py").write_text(ODD_EXTENSION)
    (package / "instructions.md").write_text(ODD_INSTRUCTIONS)

    report = verify_here(start(project).url, "--json", MCP_PASSWORD=PASSWORD)

    told = {name: report.checks[name]["detail"] for name in report.with_status("fail")}
    assert set(told) == {
        "protocol.names",
        "protocol.prefix",
        "protocol.generic",
        "protocol.arguments",
        "protocol.directive",
        "protocol.schemas",
        "protocol.annotations",
        "protocol.result",
    }
    assert "remembers_what_the" in told["protocol.names"]
    assert "shop" in told["protocol.prefix"]
    assert "described only as 'Cook'" in told["protocol.generic"]
    assert "what q of myserver_cook is" in told["protocol.arguments"]
    assert "myserver_assemble refers to another schema" in told["protocol.schemas"]
    assert "myserver_weigh does not say" in told["protocol.annotations"]
    assert "myserver_everything gives about 45,000 tokens" in told["protocol.result"]
