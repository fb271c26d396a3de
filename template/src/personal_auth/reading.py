"""Read-only connections: one FastMCP middleware hides each tool that may change something.

`FastMCP(auth=auth, middleware=[HeldToReading(auth)])` is all it takes; without it the owner is not
offered the choice. A tool reads when its annotations say `readOnlyHint` and not `destructiveHint`.
For a connection that may only read, any other is not listed, and a call of it is answered as a
call of a tool that does not exist. It stands in front of everything that answers calls (mounted
servers, proxies, tasks, tools added later), and a tool that calls others through the server is
held to reading as well. Resources and prompts are reads. Other connections pass untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastmcp.exceptions import NotFoundError
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool
from fastmcp.utilities.versions import VersionSpec
from mcp_types import CallToolRequestParams

if TYPE_CHECKING:
    from personal_auth.provider import PersonalAuthProvider


class Withheld(NotFoundError):
    """A tool is called that the connection may not see; for it, there is none of that name."""


class HeldToReading(Middleware):
    """Holds the connections that may only read to the tools that do."""

    def __init__(self, auth: PersonalAuthProvider) -> None:
        auth.service.can_narrow = True

    async def on_list_tools(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Sequence[Tool]]
    ) -> Sequence[Tool]:
        tools = await call_next(context)
        return [tool for tool in tools if reads(tool)] if _only_reads(context) else tools

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, Any],
    ) -> Any:
        if _only_reads(context) and not reads(await _called(context)):
            raise Withheld(f"Unknown tool: {context.message.name!r}")  # as FastMCP says it
        return await call_next(context)


def reads(tool: Tool | None) -> bool:
    """Tells whether a tool says of itself that it changes nothing; one that says both does not."""
    hints = tool.annotations if tool else None
    return bool(hints and hints.read_only_hint is True and hints.destructive_hint is not True)


def _only_reads(context: MiddlewareContext[Any]) -> bool:
    token = get_access_token()
    if token is not None:
        return token.claims.get("read_only") is not False
    # Nobody comes over HTTP without a token: if it cannot be seen, that is no reason to trust.
    here = context.fastmcp_context
    return here is not None and here.transport not in {None, "stdio"}


async def _called(context: MiddlewareContext[CallToolRequestParams]) -> Tool | None:
    here = context.fastmcp_context
    if here is None:
        return None
    return await here.fastmcp.get_tool(context.message.name, _version(context.message))


def _version(message: CallToolRequestParams) -> VersionSpec | None:
    """Returns which of a tool's versions is called, as FastMCP noted it in the message."""
    meta: Any = message.meta or {}
    wanted = meta.get("fastmcp", {}).get("version")
    if wanted is None:
        return None
    return VersionSpec(eq=wanted) if isinstance(wanted, str) else VersionSpec(**wanted)
