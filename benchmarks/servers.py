"""The servers that are measured, each to be run as a process of its own: `bare`, `gated`, ...

    PYTHONPATH=.:template/src .venv/bin/python -m benchmarks.servers gated 8050 STATE_DIR

`bare` is a FastMCP server as it comes. The others are served as a rendered server is: Python's
garbage collector passes over what starting made, and the Host and Origin are looked at by the
provider, not by FastMCP. `open` has no auth, and `gated` differs from it in its provider alone;
`noting` keeps the trail of calls beside, and `complete` has every middleware of a rendered server.
`empty` is no MCP server at all: a Starlette application without a route. STATE_DIR keeps the state
and the trail.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastmcp import FastMCP
from starlette.applications import Starlette

PASSWORD = "a password that opens nothing"


def without_auth(port: int, folder: Path) -> FastMCP[Any]:
    """Returns a server without auth."""
    return FastMCP("measured")


def gated(port: int, folder: Path) -> FastMCP[Any]:
    """Returns the same behind the provider."""
    return FastMCP("measured", auth=provider(port, folder))


def noting(port: int, folder: Path) -> FastMCP[Any]:
    """Returns the same with the trail of calls."""
    from personal_auth.calls import Calls
    from personal_auth.trail import TRAIL_FILE, Trail

    trail = Trail(folder / TRAIL_FILE)
    auth = provider(port, folder, trail=trail)
    return FastMCP("measured", auth=auth, middleware=[Calls(trail, auth.service.seen.called)])


def complete(port: int, folder: Path) -> FastMCP[Any]:
    """Returns the same with every middleware of a rendered server, in its order."""
    from personal_auth import PersonalAuthProvider
    from personal_auth.reading import HeldToReading
    from personal_server.sentences import OneSentence
    from personal_server.watch import ListedNeverCalled

    server = noting(port, folder)
    reading = HeldToReading(cast(PersonalAuthProvider, server.auth))
    for middleware in (ListedNeverCalled(), reading, OneSentence()):
        server.add_middleware(middleware)
    return server


def provider(port: int, folder: Path, **options: Any) -> Any:
    """Returns the provider of a server on a port; nothing is opened yet."""
    from personal_auth import PersonalAuthProvider

    proxies = os.environ.get("MCP_TRUSTED_PROXIES")
    return PersonalAuthProvider(
        f"http://localhost:{port}",
        PASSWORD,
        state_dir=folder,
        trusted_proxies=[proxies] if proxies else (),
        **options,
    )


def echo(text: str) -> str:
    """Answers the text."""
    return text


BARE, OPEN, EMPTY = "bare", "open", "empty"
KINDS = {
    BARE: without_auth,
    OPEN: without_auth,
    "gated": gated,
    "noting": noting,
    "complete": complete,
}
HTTP: dict[str, Any] = {"access_log": False, "log_config": None, "ws": "none"}


def main() -> None:
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == EMPTY:
        uvicorn.run(Starlette(), host="127.0.0.1", port=port, **HTTP)
        return
    server = KINDS[kind](port, folder)
    if kind == BARE:
        run(server, port)
    else:
        from personal_server.app import settle

        settle()
        run(server, port, host_origin_protection=False)


def run(server: FastMCP[Any], port: int, **options: Any) -> None:
    """Serves stateless JSON on a port, with the tool that is called."""
    server.tool(echo)
    server.run(
        transport="streamable-http",
        host="127.0.0.1",
        port=port,
        stateless_http=True,
        json_response=True,
        show_banner=False,
        uvicorn_config=HTTP,
        **options,
    )


if __name__ == "__main__":
    main()
