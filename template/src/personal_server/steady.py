"""A copy of a file of which others may write while it is made.

An SQLite database is copied by SQLite itself, as it was at one moment, whoever writes and whatever
its journal holds; its `-wal`, `-shm` and `-journal` are then part of that copy. Any other file is
read again when it has changed meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

SQLITE = b"SQLite format 3\0"
SIDE_FILES = ("-wal", "-shm", "-journal")
BUSY_SECONDS = 30.0  # how long a database may be locked by a writer
ATTEMPTS = 3
IN_MEMORY_BYTES = 4 * 1024 * 1024
PAGES_AT_ONCE = 1024


class LeftOut(Exception):
    """It is no file; the message says what it is instead."""


@dataclass
class Copy:
    """What was read; `doubt` says why it may not be what its owner wants back."""

    content: BinaryIO = field(repr=False)
    size: int
    mode: int
    mtime: float
    database: bool = False
    doubt: str = ""


def copy(path: Path, scratch: Path) -> Copy:
    """Returns a copy whose content stands at its beginning; `scratch` is a folder for it.

    Raises:
        LeftOut: It is a link, a socket or the like.
        OSError: It is gone, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _not_a_file(path, error) from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise LeftOut("no file")
        if file.read(len(SQLITE)) != SQLITE:
            return _plain(file, scratch)
        try:
            return _database(path, os.fstat(handle), scratch)
        except sqlite3.Error as error:
            found = _plain(file, scratch)
            found.doubt = f"SQLite cannot read it ({error}): copied as it is"
            return found


def _not_a_file(path: Path, error: OSError) -> Exception:
    with contextlib.suppress(OSError):
        if path.is_symlink():
            return LeftOut("a link")
        if not path.is_file():
            return LeftOut("no file")
    return error


def _plain(file: BinaryIO, scratch: Path) -> Copy:
    spooled = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(scratch))  # noqa: SIM115
    content = cast(BinaryIO, spooled)
    try:
        for _ in range(ATTEMPTS):
            before = os.fstat(file.fileno())
            for rewound in (file, content):
                rewound.seek(0)
            shutil.copyfileobj(file, content)
            size, after = content.tell(), os.fstat(file.fileno())
            unchanged = _looks(before) == _looks(after)
            if unchanged:
                break
    except BaseException:
        content.close()
        raise
    content.seek(0)
    doubt = "" if unchanged else "it changed while it was copied"
    return Copy(content, size, after.st_mode, after.st_mtime, doubt=doubt)


def _looks(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _database(path: Path, status: os.stat_result, scratch: Path) -> Copy:
    target = scratch / "database"
    try:
        _let_sqlite_copy(path, target)
        content = target.open("rb")
    finally:
        target.unlink(missing_ok=True)
    size = os.fstat(content.fileno()).st_size
    return Copy(content, size, status.st_mode, status.st_mtime, database=True)


def _let_sqlite_copy(path: Path, target: Path) -> None:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"  # may end what a death began
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as source,
        contextlib.closing(sqlite3.connect(target)) as copied,
    ):
        source.isolation_level = None
        copied.execute("PRAGMA journal_mode = OFF")  # it is thrown away when it fails
        copied.execute("PRAGMA synchronous = OFF")
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # this moment, to the end
        source.backup(copied, pages=PAGES_AT_ONCE)
