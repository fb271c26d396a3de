"""The file of the notes: its schema, its statements, and how it is opened.

A failure of SQLite or of the disk is one sentence for the assistant; the log has the reason.
"""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from fastmcp.exceptions import ToolError

logger = logging.getLogger(__name__)


class NoteError(ToolError):
    """The notes refuse a call; the message is one sentence with the cause and the cure."""


# Creating and opening are one at a time: closing any descriptor of a file drops the locks that this
# process holds on it, so the file is never open twice while it is being created.
_opening = threading.Lock()


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    with _opening:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        db.row_factory = sqlite3.Row
        try:
            _prepare(db, time.monotonic() + busy_seconds)
        except BaseException:
            db.close()
            raise
        return db


def _prepare(db: sqlite3.Connection, deadline: float) -> None:
    known = db.execute("PRAGMA user_version").fetchone()[0]
    if known > SCHEMA_VERSION:
        raise NoteError("These notes were written by a newer version: update this server.")
    while known < SCHEMA_VERSION:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait for another process that is switching to WAL.
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    db.execute("PRAGMA synchronous = FULL")


def one_sentence(path: Path, error: sqlite3.Error | OSError) -> NoteError:
    logger.error("%s: %s", path, error)
    return NoteError(_CURES.get(_code(error), _CURE).format(file=path.name))


def _code(error: sqlite3.Error | OSError) -> int:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_CANTOPEN
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without its subcode


_CURE = "The notes file {file} could not be used: the server's log has the reason."
_BUSY = "Other calls keep the notes busy: try again in a minute."
_DAMAGED = "The notes file {file} is damaged: restore it from a backup."
_CLOSED = "The notes file {file} cannot be opened or written: let the server's user own it."
_CURES = {
    sqlite3.SQLITE_FULL: "The server's disk is full and nothing was stored: free some space on it.",
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
}

SCHEMA_VERSION = 1
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS notes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  created TEXT NOT NULL,
  updated TEXT NOT NULL,
  version INTEGER NOT NULL,
  title TEXT NOT NULL,
  tags TEXT NOT NULL,  -- a JSON array; note_tags is its index
  text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notes_counted ON notes (version);  -- count(*) reads it, not the texts
CREATE TABLE IF NOT EXISTS note_tags (
  tag TEXT NOT NULL, note_id INTEGER NOT NULL, PRIMARY KEY (tag, note_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS note_tags_by_note ON note_tags (note_id);
CREATE VIRTUAL TABLE IF NOT EXISTS notes_fts USING fts5 (
  title, text, tags, content = 'notes', content_rowid = 'id', prefix = '3',
  tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO notes_fts (notes_fts, rank) VALUES ('rank', 'bm25(4.0, 1.0, 2.0)');
CREATE TRIGGER IF NOT EXISTS note_added AFTER INSERT ON notes BEGIN
  INSERT INTO notes_fts (rowid, title, text, tags) VALUES (new.id, new.title, new.text, new.tags);
  INSERT INTO note_tags SELECT value, new.id FROM json_each(new.tags);
END;
CREATE TRIGGER IF NOT EXISTS note_deleted AFTER DELETE ON notes BEGIN
  INSERT INTO notes_fts (notes_fts, rowid, title, text, tags)
    VALUES ('delete', old.id, old.title, old.text, old.tags);
  DELETE FROM note_tags WHERE note_id = old.id;
END;
CREATE TRIGGER IF NOT EXISTS note_edited AFTER UPDATE ON notes BEGIN
  INSERT INTO notes_fts (notes_fts, rowid, title, text, tags)
    VALUES ('delete', old.id, old.title, old.text, old.tags);
  INSERT INTO notes_fts (rowid, title, text, tags) VALUES (new.id, new.title, new.text, new.tags);
  DELETE FROM note_tags WHERE note_id = old.id;
  INSERT INTO note_tags SELECT value, new.id FROM json_each(new.tags);
END;
PRAGMA user_version = 1;
COMMIT;
"""

INSERT = """
INSERT INTO notes (created, updated, version, title, tags, text)
VALUES (:now, :now, 1, :title, :tags, :text) RETURNING *
"""
UPDATE = """
UPDATE notes SET updated = :now, version = version + 1, title = coalesce(:title, title),
  tags = coalesce(:tags, tags), text = coalesce(:text, text)
WHERE id = :id RETURNING *
"""
COUNT = "SELECT count(*) FROM notes"
COUNT_TAGGED = "SELECT count(*) FROM note_tags WHERE tag = :tag"
LIST = """
SELECT id, created, updated, title, tags, 0 AS cut, substr(text, 1, :preview) AS preview
FROM notes WHERE id < :before ORDER BY id DESC LIMIT :rows
"""
LIST_TAGGED = """
SELECT id, created, updated, title, tags, 0 AS cut, substr(text, 1, :preview) AS preview
FROM note_tags JOIN notes ON id = note_id
WHERE tag = :tag AND note_id < :before ORDER BY note_id DESC LIMIT :rows
"""
_HAS_ALL = """
  AND (:tags = '[]' OR NOT EXISTS (
    SELECT 1 FROM json_each(:tags) AS wanted
    WHERE NOT EXISTS (SELECT 1 FROM note_tags WHERE tag = wanted.value AND note_id = notes.id)
  ))
  AND (:pieces = '[]' OR NOT EXISTS (
    SELECT 1 FROM json_each(:pieces) AS piece
    WHERE NOT (
      instr(notes.title, piece.value) OR instr(notes.text, piece.value)
      OR EXISTS (SELECT 1 FROM note_tags WHERE note_id = notes.id AND instr(tag, piece.value))
    )
  ))
"""
# FTS5's own snippet() takes seconds for a note that has one word thousands of times.
RANKED = f"""
SELECT id, created, updated, title, tags, instr(marked, char(1)) > 61 AS cut, substr(
  replace(substr(marked, max(1, instr(marked, char(1)) - 60)), char(1), ''), 1, :preview
) AS preview
FROM (
  SELECT notes.id, created, updated, notes.title, notes.tags,
    highlight(notes_fts, 1, char(1), '') AS marked
  FROM notes_fts JOIN notes ON notes.id = notes_fts.rowid
  WHERE notes_fts MATCH :match {_HAS_ALL}
  ORDER BY rank LIMIT :rows OFFSET :skip
)
"""  # noqa: S608 - constants only
SCANNED = f"""
SELECT id, created, updated, title, tags, instr(text, :first) > 61 AS cut,
  substr(text, max(1, instr(text, :first) - 60), :preview) AS preview
FROM notes WHERE id > (SELECT max(id) FROM notes) - :scanned {_HAS_ALL}
ORDER BY id DESC LIMIT :rows OFFSET :skip
"""  # noqa: S608 - constants only
