"""Notes live in one SQLite file with a full-text index, safe for many threads and processes.

A search asks for every word; accents and case do not count, and the last word, from three letters
on, may be the beginning of one. Nothing in a query is ever FTS5 syntax. Scripts that SQLite cannot
cut into words (Chinese, Japanese, Korean, Thai, ...) are found as exact pieces of text.
"""

import contextlib
import functools
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from personal_server.notes_db import (
    COUNT,
    COUNT_TAGGED,
    INSERT,
    LIST,
    LIST_TAGGED,
    RANKED,
    SCANNED,
    UPDATE,
    NoteError,
    connect,
    one_sentence,
)

_LAST_ID = 2**63 - 1  # SQLite's largest row number
_NOT_PLAIN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LETTER = re.compile(r"[^\W_]")
# Letters outside of the alphabets whose words SQLite's tokenizer can tell apart.
_UNSEGMENTED = re.compile(r"(?![\0-\u0dff\u1e00-\u20cf])\w")
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_from_json = json.JSONDecoder().decode


@dataclass(frozen=True)
class Limits:
    """Every bound of the notes; sizes are in characters."""

    text: int = 100_000
    title: int = 200
    tag: int = 50
    tags: int = 20  # per note
    query: int = 500
    page: int = 100  # notes per answer, which keeps a page below 200,000 characters
    preview: int = 240
    scanned: int = 100_000  # newest notes that are read for scripts without word breaks
    busy_seconds: float = 10.0  # how long a call waits for other writers


class NoteHead(TypedDict):
    id: int
    title: NotRequired[str]
    tags: list[str]
    created: str
    updated: str


class NotePreview(NoteHead):
    preview: str


class Note(NoteHead):
    version: int
    text: str


class NotePage(TypedDict):
    notes: list[NotePreview]
    next_cursor: NotRequired[int]


class NoteList(NotePage):
    total: int


class DeletedNote(TypedDict):
    deleted: int


class NoteStore:
    """The notes of one SQLite file, which the first call creates with mode 0600.

    Times are ISO 8601 in UTC. Every method raises `NoteError`, and then has changed nothing.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits = Limits(),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._idle: list[sqlite3.Connection] = []

    def save(self, text: str, title: str = "", tags: list[str] | None = None) -> Note:
        """A new note is on disk when this returns."""
        values = self._checked(text, title, tags or [])

        with self._writing() as db:
            return _note(db.execute(INSERT, values).fetchall()[0])

    def search(
        self, query: str, tags: list[str] | None = None, limit: int = 20, cursor: int = 0
    ) -> NotePage:
        """The notes with every word and every tag, best match first.

        `cursor` is the `next_cursor` of the page before. Pieces of unsegmented scripts have no
        rank: alone, they find the newest note first.
        """
        match, pieces = _parsed(_plain("query", query, self._limits.query))
        values = {
            "match": match,
            "pieces": _to_json(pieces) if pieces else "[]",
            "first": pieces[0] if pieces else "",
            "tags": self._tags(tags) if tags else "[]",
            "rows": _within("limit", limit, 1, self._limits.page) + 1,
            "skip": _within("cursor", cursor, 0, _LAST_ID),
            "preview": self._limits.preview + 1,
            "scanned": self._limits.scanned,
        }

        with self._connection() as db:
            rows = db.execute(RANKED if match else SCANNED, values).fetchall()

        page: NotePage = {"notes": _previews(rows[:limit], self._limits.preview)}
        if len(rows) > limit:
            page["next_cursor"] = cursor + limit
        return page

    def list_notes(self, tag: str = "", limit: int = 20, cursor: int = 0) -> NoteList:
        """All notes, or those with one tag, newest first; `total` counts every page of them."""
        values = {
            "tag": self._tag(tag) if tag else "",
            "rows": _within("limit", limit, 1, self._limits.page) + 1,
            "before": _within("cursor", cursor, 0, _LAST_ID) or _LAST_ID,
            "preview": self._limits.preview + 1,
        }

        with self._connection() as db:
            total = db.execute(COUNT_TAGGED if tag else COUNT, values).fetchone()[0]
            rows = db.execute(LIST_TAGGED if tag else LIST, values).fetchall()

        page: NoteList = {
            "notes": _previews(rows[:limit], self._limits.preview),
            "total": total,
        }
        if len(rows) > limit:
            page["next_cursor"] = rows[limit - 1]["id"]
        return page

    def get(self, id: int) -> Note:
        """The whole note."""
        with self._connection() as db:
            return _found(db, id)

    def edit(
        self,
        id: int,
        text: str | None = None,
        title: str | None = None,
        tags: list[str] | None = None,
        expected_version: int | None = None,
    ) -> Note:
        """What is given replaces what was there, in one step; "" and [] clear title and tags.

        With `expected_version`, a note that has changed since is refused.
        """
        if text is None and title is None and tags is None:
            raise NoteError("There is nothing to edit: give a new text, title or tags.")
        values = self._checked(text, title, tags) | {"id": id}

        with self._writing() as db:
            if expected_version not in (None, _found(db, id)["version"]):
                raise NoteError(
                    f"Note {id} has changed since it was read: get it again, then repeat the edit."
                )
            return _note(db.execute(UPDATE, values).fetchall()[0])

    def delete(self, id: int) -> DeletedNote:
        """The note is gone for good, and its number is not used again."""
        with self._writing() as db:
            _found(db, id)
            db.execute("DELETE FROM notes WHERE id = ?", (id,))
        return {"deleted": id}

    def close(self) -> None:
        """No idle connection stays open; the next call opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def _checked(
        self, text: str | None, title: str | None, tags: list[str] | None
    ) -> dict[str, Any]:
        now = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if text is not None:
            text = _plain("text", text, self._limits.text)
        if title is not None:
            title = _one_line("title", title, self._limits.title)
        return {
            "text": text,
            "title": title,
            "tags": None if tags is None else self._tags(tags),
            "now": now,
        }

    def _tag(self, tag: str) -> str:
        if not (clean := _one_line("tag", tag, self._limits.tag).lower()):
            raise NoteError("A tag is empty: give it at least one character, or leave it out.")
        return clean

    def _tags(self, tags: list[str]) -> str:
        if len(tags) > self._limits.tags:
            raise NoteError(f"These are {len(tags)} tags: give at most {self._limits.tags}.")
        return _to_json(sorted({self._tag(tag) for tag in tags}))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            try:
                db = self._idle.pop()
            except IndexError:
                db = connect(self._path, self._limits.busy_seconds)
            yield db
        except BaseException as error:
            if db:
                db.close()  # which rolls back
            if isinstance(error, (sqlite3.Error, OSError)):
                raise one_sentence(self._path, error) from error
            raise
        self._idle.append(db)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


@functools.cache
def default_store() -> NoteStore:
    """The notes in the data directory of this server."""
    from personal_server.settings import data_dir

    return NoteStore(data_dir() / "notes.sqlite3")


def _plain(name: str, value: str, most: int) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if len(value) > most:
        raise NoteError(f"The {name} has {len(value)} characters: shorten it to {most} or fewer.")
    if found := _NOT_PLAIN.search(value):
        raise NoteError(
            f"The {name} has a control character or half a character at position"
            f" {found.start() + 1}: remove it."
        )
    if not value.strip():
        raise NoteError(f"The {name} is empty: give at least one word.")
    return value


def _one_line(name: str, value: str, most: int) -> str:
    return " ".join(_plain(name, value, most).split()) if value.strip() else ""


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise NoteError(f"The {name} is out of range: give a number from {low} to {high}.")
    return value


def _parsed(query: str) -> tuple[str, list[str]]:
    """The FTS5 expression and the exact pieces that a query asks for."""
    words = query.split()
    pieces = [] if query.isascii() else [word for word in words if _UNSEGMENTED.search(word)]
    terms = [word for word in words if word not in pieces and _LETTER.search(word)]
    if not pieces and not terms:
        return "", words
    match = " ".join(['"' + term.replace('"', '""') + '"' for term in terms])
    return match + "*" if terms and len(terms[-1]) >= 3 else match, pieces


def _found(db: sqlite3.Connection, id: int) -> Note:
    rows = db.execute("SELECT * FROM notes WHERE id = ?", (_within("id", id, 1, _LAST_ID),))
    for row in rows.fetchall():
        return _note(row)
    raise NoteError(f"There is no note {id}: take an id from search or list.")


def _head(row: sqlite3.Row) -> NoteHead:
    head: NoteHead = {
        "id": row["id"],
        "tags": json.loads(row["tags"]),
        "created": row["created"],
        "updated": row["updated"],
    }
    if row["title"]:
        head["title"] = row["title"]
    return head


def _note(row: sqlite3.Row) -> Note:
    return {**_head(row), "version": row["version"], "text": row["text"]}


def _previews(rows: list[sqlite3.Row], size: int) -> list[NotePreview]:
    tags = _from_json(f"[{','.join([row['tags'] for row in rows])}]")  # of all the notes at once
    return [_preview(row, own, size) for row, own in zip(rows, tags, strict=True)]


def _preview(row: sqlite3.Row, tags: list[str], size: int) -> NotePreview:
    id, created, updated, title, _, cut, text = row
    shown = _on_one_line(text[:size])
    if cut:
        shown = "…" + shown
    if len(text) > size:
        shown += "…"
    head: NoteHead = {"id": id, "tags": tags, "created": created, "updated": updated}
    if title:
        head["title"] = title
    return {**head, "preview": shown}


def _on_one_line(text: str) -> str:
    """The words of a text with one space between them; to split and join it takes twice as long."""
    text = text.replace("\n", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    if text.isprintable():  # no space but the plain one is left
        return text.strip()
    return " ".join(text.split())
