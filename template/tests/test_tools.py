"""Your tools are prefixed and described."""

import asyncio

from fastmcp import Client
from mcp.types import Tool

from personal_server import app
from personal_server.settings import Settings, answers


def listed(settings: Settings) -> list[Tool]:
    async def ask() -> list[Tool]:
        async with Client(app.build(settings)) as client:
            return await client.list_tools()

    return asyncio.run(ask())


def test_every_tool_has_the_prefix(loaded: Settings) -> None:
    prefix = answers()["tool_prefix"]

    assert [tool.name for tool in listed(loaded) if not tool.name.startswith(f"{prefix}_")] == []


def test_every_tool_says_when_to_use_it(loaded: Settings) -> None:
    assert [tool.name for tool in listed(loaded) if not tool.description] == []
