"""How the trail is kept: one table in one SQLite file, bounded by age and by size.

The journal is a rollback journal and no write-ahead log: it needs no shared memory, so several
servers may write to one file on any disk that can lock, and a reader leaves nothing beside it.
The file is created with mode 0600, and the journal takes its mode from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

TEXT_CHARS = 120
ARGUMENTS_CHARS = 2000
CACHE_KIB = 256  # entries go to the end: more is memory that calls fill and nobody reads
BUSY_SECONDS = 5.0  # how long another process may hold the file
FULL, EMPTIED_TO = 7 / 8, 6 / 8  # of the bound: when the oldest go, and until what is left

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}

STEPS = (  # to each version from the one before; a later one may only add columns that can be NULL
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, grant_id TEXT, client TEXT,
        tool TEXT, outcome TEXT, milliseconds REAL, address TEXT, event TEXT, fields TEXT,
        arguments TEXT, anybody INTEGER
    )""",
    "CREATE INDEX entries_by_time ON entries (at)",
)
INSERT = """INSERT INTO entries (
    at, kind, grant_id, client, tool, outcome, milliseconds, address, event, fields, arguments,
    anybody) VALUES """
ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ROWS_AT_ONCE = 80  # an SQLite before 3.32 takes 999 values
USED = """SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
COUNT = "SELECT count(*), count(anybody) FROM entries"
OLDEST = """DELETE FROM entries WHERE id IN (
    SELECT id FROM entries WHERE anybody OR ? ORDER BY id LIMIT ?)"""


@dataclass(slots=True)  # frozen, it takes four times as long to make
class Entry:
    """One call of a tool, or one event of the gate; `at` is a POSIX time."""

    at: float
    kind: str
    """`call` or `gate`."""
    grant: str = ""
    client: str = ""
    tool: str = ""
    outcome: str = ""
    """Of a call: `ok`, `error`, `refused` or `unknown`."""
    milliseconds: float | None = None
    address: str = ""
    event: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    arguments: str = ""
    """JSON, which may be cut."""
    anybody: bool = False
    """Whether strangers can cause it: the oldest of these go first while they are the most."""
    id: int = 0
    """Grows with each entry; given by the file."""


class TrailFile:
    """The file, opened for writing by one thread."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._db = _connect(path)
        self._looks = looks_of(path)

    def write(self, entries: Sequence[Entry]) -> None:
        """Adds entries in one transaction, and takes out the oldest when there are too many.

        Raises:
            sqlite3.Error, OSError: Nothing was added.
        """
        with _transaction(self._db):
            for first in range(0, len(entries), ROWS_AT_ONCE):
                self._insert(entries[first : first + ROWS_AT_ONCE])
            shrunk = self._make_room()
        if shrunk:
            self._give_back()

    def _insert(self, entries: Sequence[Entry]) -> None:
        # In few statements: after each of them this thread has to get Python back from the one that
        # serves, which may take as long as a call.
        values = [value for entry in entries for value in _row(entry)]
        self._db.execute(INSERT + ", ".join([ROW] * len(entries)), values)

    def forget(self, before: float) -> None:
        """Takes out what is older than a POSIX time."""
        with _transaction(self._db):
            gone = self._db.execute("DELETE FROM entries WHERE at < ?", (before,)).rowcount
        if gone or self._number(SIZE) > self._most_bytes:
            with _transaction(self._db):
                self._make_room()
            self._give_back()

    def is_in_place(self) -> bool:
        """Tells whether the file's name still leads to what is open."""
        return self._looks is not None and looks_of(self._path) == self._looks

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _make_room(self) -> bool:
        shrunk = False
        while (used := self._used()) > FULL * self._most_bytes:
            entries, by_anybody = self._db.execute(COUNT).fetchone()
            too_many = int(entries * (1 - EMPTIED_TO * self._most_bytes / used)) + 1
            whichever = by_anybody <= entries / 2
            if not self._db.execute(OLDEST, (whichever, too_many)).rowcount:
                break
            shrunk = True
        return shrunk

    def _used(self) -> int:
        return self._number(USED)

    def _number(self, query: str) -> int:
        number: int = self._db.execute(query).fetchone()[0]
        return number

    def _give_back(self) -> None:
        """Cuts the free pages off, so that what was taken out is not in the file any more."""
        self._db.executescript("PRAGMA incremental_vacuum")  # execute() ends after one page


def is_damaged(error: Exception) -> bool:
    """Tells a file that no writing will mend from a disk that may come back."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in DAMAGED


def put_aside(path: Path) -> Path:
    """Gives a damaged file another name, and what SQLite would play back into its successor."""
    aside = path.with_name(f"{path.name}.damaged")
    for ending in ("-journal", ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{aside}{ending}")
    return aside


def reason(error: Exception) -> str:
    """Returns what may be said of a failure: never a text that may hold what was written."""
    name = getattr(error, "sqlite_errorname", None)
    return getattr(error, "strerror", None) or name or type(error).__name__


def _connect(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    db = sqlite3.connect(
        uri(path, "rw"),
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        cached_statements=8,  # those of entries are long, and the last of a batch of any length
    )
    try:
        with contextlib.suppress(OSError):  # whoever may not, has found it so
            os.chmod(path, 0o600)
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for pragma in ("auto_vacuum = INCREMENTAL", "journal_mode = DELETE", "secure_delete = ON"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        with _transaction(db):
            known = db.execute("PRAGMA user_version").fetchone()[0]
            for version, step in enumerate(STEPS[known:], known + 1):
                db.execute(step)
                db.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            db.execute("ROLLBACK")
        raise


def uri(path: Path, mode: str) -> str:
    return f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"


def looks_of(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _row(entry: Entry) -> tuple[object, ...]:
    fields = {clean(name): clean(value) for name, value in entry.fields.items()}
    return (
        entry.at,
        entry.kind,
        *(clean(text) or None for text in (entry.grant, entry.client, entry.tool, entry.outcome)),
        entry.milliseconds,
        clean(entry.address) or None,
        clean(entry.event) or None,
        json.dumps(fields, ensure_ascii=False) if fields else None,
        clean(entry.arguments, ARGUMENTS_CHARS) or None,
        entry.anybody or None,
    )


def clean(text: str, chars: int = TEXT_CHARS) -> str:
    """Returns a text as one printable line, cut."""
    if len(text) > chars:
        text = f"{text[: chars - 1]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "_" for c in text)
