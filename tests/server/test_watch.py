"""Listed but never called: the one line that says so."""

from __future__ import annotations

import asyncio

import pytest
from fastmcp import Client, FastMCP

from personal_server.watch import ListedNeverCalled


@pytest.mark.parametrize("called", [False, True])
def test_one_line_says_that_tools_were_listed_and_none_was_called(
    called: bool, caplog: pytest.LogCaptureFixture
) -> None:
    watch = ListedNeverCalled(patience=3600)
    server = FastMCP("test", middleware=[watch])
    server.tool(lambda: "pong", name="ping", description="Answers.")

    async def use() -> None:
        async with Client(server) as client:
            await client.list_tools()
            await client.list_tools()
            if called:
                await client.call_tool("ping")
        watch.judge()

    asyncio.run(use())

    lines = [r.getMessage() for r in caplog.records if r.name == "personal_server"]
    assert len(lines) == (0 if called else 1)
    assert called or "listed 2 times and none was ever called" in lines[0]
