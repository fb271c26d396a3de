"""Calls of a tool with a token against the same calls of the same server without auth.

Both get the same bytes, of which the server without auth ignores the token. As many calls as the
server's core bears are under way at once, so calls in a second are bounded by it alone; calls in a
second of its processor are the less noisy figure where others use the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import calls, drive
from benchmarks.measure import Goal, Row, Scale, ratios, row
from benchmarks.served import serve, token

PIECES = 8  # of a run: so often the servers take turns within it
WARM_UP = 300  # calls


@dataclass
class Taken:
    """What the calls of one run took, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0
    """Of the server's process, with all its threads."""


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = taken(scale, Path(folder), "bare", "open", "gated", "complete")
    bare, without, gated, complete = found
    same, whole = "the same server without auth", "a call through all that a rendered server adds"
    for name, ours, against, peer, least in (
        ("a call with a token", gated, same, without, 0.97),
        (whole, complete, same, without, None),
        (whole, complete, "a FastMCP server as it comes", bare, None),
    ):
        goal = Goal(least=least)
        wall, cpu = times_as_many(ours, peer)
        yield row("calls", f"{name}, calls in a second", against, wall, goal)
        yield row("calls", f"{name}, calls in a second of its processor", against, cpu, goal)


def taken(scale: Scale, folder: Path, *kinds: str, **options: Any) -> list[list[Taken]]:
    """Returns what the runs took of each kind of server.

    In each run all are started anew, and take turns: where a process happens to have its objects in
    memory makes some parts in a hundred, for as long as it lives.
    """
    runs = [_run(scale, folder, kinds, **options) for _ in range(scale.runs)]
    return [list(took) for took in zip(*runs, strict=True)]


def times_as_many(ours: Sequence[Taken], peers: Sequence[Taken]) -> tuple[list[float], list[float]]:
    """Returns how many calls ours does while the peer does one: by the clock, by the processor."""
    return (
        ratios([peer.wall for peer in peers], [our.wall for our in ours]),
        ratios([peer.cpu for peer in peers], [our.cpu for our in ours]),
    )


def _run(scale: Scale, folder: Path, kinds: Sequence[str], **options: Any) -> list[Taken]:
    number = scale.of(250, 20)
    took = [Taken() for _ in kinds]
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(kind, folder / kind, **options)) for kind in kinds]
        access = [token(folder / kind) for kind in kinds]
        for server, its in zip(servers, access, strict=True):
            drive(server.port, calls(server.port, its, scale.of(WARM_UP, 10)))
        for piece in range(scale.of(PIECES, 2)):
            order = range(len(servers))
            for index in order if piece % 2 == 0 else reversed(order):
                requests = calls(servers[index].port, access[index], number)
                before = servers[index].cpu()
                took[index].wall += drive(servers[index].port, requests)
                took[index].cpu += servers[index].cpu() - before
    return took
