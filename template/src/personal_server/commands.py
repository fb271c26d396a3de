"""What the commands share: the state they work on, and how a list is printed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar

from personal_auth.moments import moment
from personal_auth.service import Service
from personal_server.settings import load

T = TypeVar("T")


def with_service(use: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
    """Returns what comes of a use of the state, whether a server runs on it or not.

    Raises:
        StartRefused: The state cannot be used.
        StoreUnavailable: The running server, or the store, does not answer.
    """
    from personal_server import app

    async def run() -> T:
        async with app.provider(load()).service.for_a_command() as service:
            return await use(service)

    return asyncio.run(run())


def iso(at: float | None) -> str | None:
    """Returns a POSIX time as programs read it, None for none."""
    return None if at is None else moment(at, at).iso


def distance(at: float | None) -> str:
    """Returns a POSIX time as people read it in a table, such as `2 hours ago`."""
    return "never" if at is None else moment(at, time.time()).distance


def print_json(value: object) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()
) -> None:
    """Prints rows below their columns, in whole lines where no person reads; text is no markup.

    Args:
        columns: Their heads.
        rows: The cells of each row.
        numbers: The heads of the columns that stand at the right.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    whole_lines = None if sys.stdout.isatty() else 4000  # for grep and the like
    Console(file=sys.stdout, width=whole_lines).print(table)
