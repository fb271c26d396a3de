"""How the trail is read, by whoever may read the file, whether a server writes to it or not."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personal_auth.trailfile import BUSY_SECONDS, Entry, looks_of, reason, uri

SELECT = """SELECT id, at, kind, grant_id, client, tool, outcome, milliseconds, address, event,
    fields, arguments, anybody FROM entries
    WHERE at >= ? AND (at, id) < (?, ?) AND (? IS NULL OR grant_id = ?) AND (? IS NULL OR kind = ?)
    ORDER BY at DESC, id DESC LIMIT ?"""
LATEST = (float("inf"), 0)
MOST = 2**62  # SQLite counts no further than 2**63


class TrailUnreadable(Exception):
    """The trail cannot be read; the message is one sentence."""


def read(
    path: Path,
    *,
    since: float = 0.0,
    limit: int = 100,
    before: tuple[float, int] | None = None,
    grant: str | None = None,
    kind: str | None = None,
) -> list[Entry]:
    """Returns entries, the newest first; nothing is written, whether a server writes or not.

    Args:
        path: The file; without one there are no entries.
        since: A POSIX time.
        limit: How many at most.
        before: `at` and `id` of the entry that ended the page before.
        grant: Only those of one connection.
        kind: Only calls, or only events of the gate.

    Raises:
        TrailUnreadable: There is a file that cannot be read.
    """
    asked = (since, *(before or LATEST), grant, grant, kind, kind, min(limit, MOST))
    try:
        if looks_of(path) is None:
            return []
        try:
            found = _select(path, "ro", asked)
        except sqlite3.OperationalError as error:
            if not _needs_rollback(error):
                raise
            with _copied(path) as copy:  # a server died while it wrote: ended in a copy
                found = _select(copy, "rw", asked)
        return [_entry(row) for row in found]
    except (sqlite3.Error, OSError, ValueError) as error:
        cure = "give this user the right to read it; if it is damaged, move it away"
        raise TrailUnreadable(f"{path} cannot be read ({reason(error)}): {cure}.") from error


def _select(path: Path, mode: str, asked: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(uri(path, mode), uri=True, timeout=BUSY_SECONDS)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchone():
            return []  # it has just been created
        return db.execute(SELECT, asked).fetchall()


def _needs_rollback(error: sqlite3.Error) -> bool:
    code = error.sqlite_errorcode
    return code in {sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_CANTOPEN}


@contextlib.contextmanager
def _copied(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for ending in ("", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        yield copy


def _entry(row: tuple[Any, ...]) -> Entry:
    number, at, kind, grant, client, tool, outcome, took, address, event, fields, *rest = row
    arguments, anybody = rest
    return Entry(
        at=at,
        kind=kind,
        grant=grant or "",
        client=client or "",
        tool=tool or "",
        outcome=outcome or "",
        milliseconds=took,
        address=address or "",
        event=event or "",
        fields=json.loads(fields or "{}"),
        arguments=arguments or "",
        anybody=bool(anybody),
        id=number,
    )
