"""How long a server takes to its first answer, and what it holds in memory, then and after a lot.

The first answer is one to a `ping` of MCP, with a token where one is needed. The state is of a
server that was started before: the very first start makes a key and a file besides.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from benchmarks.load import Request, drive, message
from benchmarks.measure import Goal, Row, Scale, ratios, row
from benchmarks.served import Served, list_notes, rendered, serve, serve_rendered, token

WARM_UP, MANY = 5_000, 100_000  # requests
STRANGE = "pat_" + "x" * 43


@dataclass
class Begun:
    """What the starts of one kind of server took."""

    start: Callable[[], Served]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """In MiB."""

    def once(self) -> None:
        with self.start() as server:
            self.seconds.append(server.start_seconds)
            self.cpu.append(server.start_cpu_seconds)
            self.memory.append(server.resident())


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        project = rendered(place)
        bare = Begun(lambda: serve("bare", place / "bare"))
        gated = Begun(lambda: serve("gated", place / "gated"))
        whole = Begun(lambda: serve_rendered(project))
        _start_in_turns(scale, [bare, gated, whole])
        yield from _compared("a server with the provider", gated, bare)
        yield from _compared("a rendered server", whole, bare)
        yield _after_many(scale, project)


def _start_in_turns(scale: Scale, kinds: Sequence[Begun]) -> None:
    for each in kinds:
        each.start().stop()  # compiles what is imported, and makes the state
    for number in range(scale.runs):
        for each in kinds if number % 2 == 0 else reversed(kinds):
            each.once()


def _compared(name: str, ours: Begun, bare: Begun) -> Iterator[Row]:
    against, goal = "a bare FastMCP server", Goal(most=1.15)
    first = f"{name}, start to first answer"
    yield row("starting", first, against, ratios(ours.seconds, bare.seconds), goal)
    yield row("starting", f"{first}, processor", against, ratios(ours.cpu, bare.cpu), goal)
    more = [our - its for our, its in zip(ours.memory, bare.memory, strict=True)]
    yield row("starting", f"{name}, memory more then", against, more, Goal(most=20), "MiB")


def _after_many(scale: Scale, project: Path) -> Row:
    """Returns how much a rendered server grew; measured once, over many requests."""
    few, many = scale.of(WARM_UP, 200), scale.of(MANY, 400)
    with serve_rendered(project, settings={"MCP_TRUSTED_PROXIES": "127.0.0.1"}) as server:
        requests = mixed(server.port, project)
        drive(server.port, islice(requests, few))
        before = server.resident()
        drive(server.port, islice(requests, many - few))
        grown = server.resident() - before
    name = f"a rendered server, memory more after {many:,} requests"
    return row("starting", name, f"after {few:,}", [grown], Goal(most=2), "MiB")


def mixed(port: int, project: Path) -> Iterator[Request]:
    """Yields calls, refused tokens and views of the owner's page, each from another address."""
    tool, access, number = list_notes(project), token(project / ".oauth-state"), 0
    while True:
        for turn in range(10):
            number += 1
            address = f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            if turn in (0, 5):
                yield Request.of("GET", "/owner", port, X_Forwarded_For=address)
                continue
            known = turn % 2 == 0
            yield message(
                port,
                "tools/call",
                tool,
                token=access if known else f"{STRANGE}{number}",
                number=number,
                status=200 if known else 401,
                X_Forwarded_For=address,
            )
