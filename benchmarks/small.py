"""What an owner may expect of a small machine: one core and 512 MiB, the load on another core.

The limit is on the addresses of the server's process (RLIMIT_AS), which is stricter than one on
what it holds: what is mapped and never touched counts too. Where there is a single core, the load
shares it.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.calls import taken, times_as_many
from benchmarks.load import drive, message
from benchmarks.measure import Goal, Row, Scale, row
from benchmarks.served import Served, list_notes, rendered, serve_rendered, token
from benchmarks.servers import PASSWORD
from tests.support.owner import connect

MEMORY = 512  # MiB
CORES = os.sched_getaffinity(0)
CORE = min(CORES)  # the server's
NO_GOAL = Goal()
UNDER = f"one core, {MEMORY} MiB"


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, _on_another_core():
        place = Path(folder)
        project = rendered(place)
        starts, peaks, signed_in, called = [], [], [], []
        serve_rendered(project).stop()  # compiles what is imported, and makes the state
        for _ in range(scale.runs):
            with serve_rendered(project, prepared=limited) as server:
                starts.append(server.start_seconds)
                signed_in.append(_sign_in(server))
                called.append(_calls_in_a_second(scale, server, project))
                peaks.append(server.peak())
        without, complete = taken(scale, place, "open", "complete", prepared=limited)
    yield _row("start to first answer", starts, "s")
    yield _row("sign-in, register to tokens, with the password's hash", signed_in, "s")
    yield _row("calls of a tool that lists notes, in a second", called, "")
    yield _row("memory at its peak", peaks, "MiB", Goal(most=MEMORY))
    times, _ = times_as_many(complete, without)
    name = "a call through all that a rendered server adds, calls in a second"
    against = f"the same server without auth, on {UNDER}"
    yield row("small", name, against, times, Goal())


def limited() -> None:
    """Holds the process at hand to one core and to the limit of memory."""
    os.sched_setaffinity(0, {CORE})
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY * 1024 * 1024,) * 2)


@contextmanager
def _on_another_core() -> Iterator[None]:
    """Keeps off the server's core."""
    os.sched_setaffinity(0, CORES - {CORE} or CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def _sign_in(server: Served) -> float:
    began = time.perf_counter()
    connect(f"http://localhost:{server.port}", PASSWORD)
    return time.perf_counter() - began


def _calls_in_a_second(scale: Scale, server: Served, project: Path) -> float:
    number, access = scale.of(1000, 40), token(project / ".oauth-state")
    asked = message(server.port, "tools/call", list_notes(project), token=access)
    drive(server.port, [asked] * (number // 5))  # warmed up
    return number / drive(server.port, [asked] * number)


def _row(name: str, figures: list[float], unit: str, goal: Goal = NO_GOAL) -> Row:
    return row("small", name, f"on {UNDER}", figures, goal, unit)
