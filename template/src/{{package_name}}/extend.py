"""What is no tool goes here: resources, prompts, routes, middleware."""

from fastmcp import FastMCP


def extend(server: FastMCP) -> None:
    """Change the server before it serves: called once at each start, after the tools were added.

    For example `server.add_middleware(...)`, or a function marked with `@server.resource("notes://today")`.
    An error raised here stops the start.
    """
