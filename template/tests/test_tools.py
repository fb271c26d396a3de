"""An assistant can tell your tools apart, when to use them, and which of them change something."""

from __future__ import annotations

import asyncio

import pytest
from fastmcp import Client
from mcp.types import Tool

from personal_server import app
from personal_server.settings import Settings, answers


@pytest.fixture
def tools(loaded: Settings) -> list[Tool]:
    """The tools as clients see them; there may be none yet."""

    async def ask() -> list[Tool]:
        async with Client(app.build(loaded)) as client:
            return await client.list_tools()

    return asyncio.run(ask())


def test_each_has_the_prefix(tools: list[Tool]) -> None:
    prefix = f"{answers()['tool_prefix']}_"

    other = [tool.name for tool in tools if not tool.name.startswith(prefix)]

    assert not other, f"define these below tools, where they get the prefix {prefix}"


def test_each_is_described(tools: list[Tool]) -> None:
    bare = [tool.name for tool in tools if not (tool.description or "").strip()]

    assert not bare, "give each of these a docstring that says when to use it"


def test_each_says_whether_it_only_reads(tools: list[Tool]) -> None:
    silent = [
        tool.name
        for tool in tools
        if tool.annotations is None or tool.annotations.read_only_hint is None
    ]

    assert not silent, 'give each of these annotations={"readOnlyHint": True} or False'


def test_none_that_only_reads_destroys(tools: list[Tool]) -> None:
    both = [
        tool.name
        for tool in tools
        if tool.annotations
        and tool.annotations.read_only_hint
        and tool.annotations.destructive_hint
    ]

    assert not both, "readOnlyHint and destructiveHint contradict each other"
