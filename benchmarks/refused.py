"""What a refused request costs: a made-up token, and none at all, at the MCP endpoint.

Processor time of a request, twice: through the whole ASGI app as the HTTP server hands it over, and
of a server as a process of its own, which reads and writes HTTP. Each server logs as it does when
it runs, into a file: ours as the generated server does, which writes the first twenty refusals of a
minute and counts the others, so each run is a minute in which so many come; FastMCP's by its own
default, a line for each refusal. The 404 is that of a bare Starlette application without a route.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fastmcp
from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.utilities.logging import configure_logging
from starlette.applications import Starlette

from benchmarks.direct import AS_GENERATED, MCP, asking, scope_of
from benchmarks.load import Request, drive, message
from benchmarks.measure import Goal, Row, Scale, Way, in_turns, ratios, row
from benchmarks.served import Served, serve
from personal_auth import audit
from personal_server import logs
from tests.support.asgi import AppLoop, AppServer, Header
from tests.support.site import URL

PART = "refused"
REQUESTS = 3000
STRANGE = "pat_" + "A" * 43
TOKEN = (b"authorization", f"Bearer {STRANGE}".encode())
LOGGERS = ("personal_auth", "personal_server", "fastmcp", "fastmcp.server.auth", "uvicorn")


@dataclass(frozen=True)
class Servers:
    """What is compared, each with an event loop of its own."""

    ours: AppLoop
    theirs: AppLoop
    bare: AppLoop


def rows(scale: Scale) -> Iterator[Row]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(_logging_to(folder / "log"))
        servers = stack.enter_context(_servers(folder))
        # Without a token FastMCP logs nothing either.
        yield from _refusals(scale, servers, "a refused token", [*MCP, TOKEN], Goal(most=1 / 4))
        yield from _refusals(scale, servers, "no token", [*MCP], Goal())
    yield from _served(scale)


def _refusals(
    scale: Scale, servers: Servers, name: str, headers: list[Header], than_theirs: Goal
) -> Iterator[Row]:
    scope, nowhere = scope_of("POST", "/mcp", *headers), scope_of("POST", "/", *headers)
    number = scale.of(REQUESTS, 50)
    theirs = asking(servers.theirs, scope, 401, number)
    ours, logged, silent, bare = in_turns(
        scale,
        _logging(_as_generated, asking(servers.ours, scope, 401, number)),
        _logging(_as_fastmcp, theirs),
        _logging(_as_generated, theirs),
        _logging(_as_generated, asking(servers.bare, nowhere, 404, number)),
    )
    own = "FastMCP's own 401"
    yield row(PART, name, own, ratios(ours, logged), than_theirs)
    yield row(PART, name, f"{own}, without its log", ratios(ours, silent), Goal())
    yield row(PART, name, "a Starlette 404", ratios(ours, bare), Goal(most=1.3))


def _served(scale: Scale) -> Iterator[Row]:
    number = scale.of(REQUESTS, 50)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(serve("gated", folder / "gated"))
        empty = stack.enter_context(serve("empty", folder / "empty"))
        for name, token in (("a refused token", STRANGE), ("no token", None)):
            own, nowhere = in_turns(
                scale,
                _driving(ours, message(ours.port, "ping", token=token, status=401), number),
                _driving(empty, message(empty.port, "ping", token=token, status=404), number),
            )
            name, peer = f"{name}, HTTP included", "a Starlette 404 by the same HTTP server"
            yield row(PART, name, peer, ratios(own, nowhere), Goal(most=1.3))


def _driving(server: Served, request: Request, number: int) -> Way:
    def run() -> float:
        before = server.cpu()
        drive(server.port, [request] * number)
        return (server.cpu() - before) / number * 1_000_000

    return run


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[Servers]:
    peer = FastMCP("peer", auth=InMemoryOAuthProvider(base_url=URL))
    ours = AppServer(folder / "state", http=AS_GENERATED)
    servers = Servers(ours, AppLoop(peer.http_app(**AS_GENERATED)), AppLoop(Starlette()))
    try:
        yield servers
    finally:
        for loop in (servers.ours, servers.theirs, servers.bare):
            loop.stop()


def _as_generated() -> None:
    logs.configure("text")
    audit.budgets[audit.Event.REFUSED] = audit.Budget()  # a new minute


def _as_fastmcp() -> None:
    settings = fastmcp.settings
    configure_logging(settings.log_level, enable_rich_tracebacks=settings.enable_rich_tracebacks)
    logging.getLogger("fastmcp.server.auth").setLevel(logging.NOTSET)


def _logging(configure: Callable[[], None], way: Way) -> Way:
    def run() -> float:
        configure()
        return way()

    return run


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Sends standard error into a file, and leaves the loggers as they were."""
    loggers = [logging.getLogger(name) for name in (None, *LOGGERS)]
    kept = [(each, each.level, each.propagate, each.handlers[:]) for each in loggers]
    try:
        with path.open("w", buffering=1) as file, contextlib.redirect_stderr(file):
            yield
    finally:
        for each, level, propagate, handlers in kept:
            each.setLevel(level)
            each.propagate, each.handlers[:] = propagate, handlers
