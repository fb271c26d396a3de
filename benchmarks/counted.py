"""What a refresh asks of a Redis or a PostgreSQL: counted on the way there, not timed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.measure import Goal, Row, Scale, row
from personal_auth import open_store
from tests.support import programs
from tests.support.asgi import AppServer
from tests.support.counting import Counting
from tests.support.site import connect

COMMANDS, STEPS = Goal(most=6), Goal(most=3)
ENGINES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "Redis": programs.redis,
    "PostgreSQL": programs.postgres,
}


def refreshes(url: str, number: int) -> list[list[list[str]]]:
    """Returns what so many refreshes ask of the store at a URL, in the steps that each takes."""
    way, found = Counting(url), []
    with tempfile.TemporaryDirectory(prefix="counted-") as folder:
        server = AppServer(Path(folder), around=way.first, client_storage=open_store(way.url))
        try:
            app, tokens = connect(server)  # type: ignore[arg-type]
            for _ in range(number):
                way.taken()
                tokens = app.refresh(tokens["refresh_token"]).json()
                found.append(way.taken())
        finally:
            server.stop(way.close())
    return found[1:]  # the first may be on a connection to the store that is new


def rows(scale: Scale) -> Iterator[Row]:
    for name, started in ENGINES.items():
        with started() as url:
            found = refreshes(url, 1 + scale.runs)
        commands = [sum(len(step) for step in steps) for steps in found]
        steps = [len(each) for each in found]
        what = f"a refresh on {name}"
        yield row("counted", what, "counted on the wire", commands, COMMANDS, "commands")
        yield row("counted", what, "one after the other", steps, STEPS, "steps")
