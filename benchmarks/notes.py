"""What the notes example adds to SQLite: a search among few notes and among many.

`NoteStore.search`, the function that the tool calls, reads a query, asks SQLite, and makes the
answer out of the rows. The peer is `sqlite3` alone: a connection to the same file that executes the
same statement with the same values and fetches the rows. The two take turns, call by call, so that
neither finds the processor's caches warmer. Not in it is what FastMCP does for every tool: the way
to a thread and back, and the answer as JSON.
"""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import WALL, Goal, Row, Scale, ratios, row
from personal_server.notes import Limits, NoteStore
from personal_server.notes_db import INSERT, RANKED

PAGE = 20  # notes in an answer
VOCABULARY = 5000  # words; the first ones occur most often, as in any language
ASKED = ((20,), (150,), (900,), (10, 40))  # the places of each query's words among those
MOST = Goal(most=1.3)
PEER = "sqlite3 alone, the same query on the same file"


class Notebook:
    """A file of notes of about a hundred words each, for the store and for SQLite alone."""

    def __init__(self, path: Path, size: int) -> None:
        self._chance = random.Random(size)  # noqa: S311 - the same notes in every run
        self._words = [self._word() for _ in range(VOCABULARY)]
        self._share = list(accumulate(1 / (place + 2) for place in range(VOCABULARY)))
        self.queries = [" ".join(self._words[place] for place in places) for places in ASKED]
        self.store = NoteStore(path)
        self.store.list_notes()  # which makes the file
        self.alone = sqlite3.connect(path, isolation_level=None)
        self.alone.execute("PRAGMA synchronous = OFF")
        self.alone.execute("BEGIN")
        self.alone.executemany(INSERT, (self._note() for _ in range(size)))
        self.alone.execute("COMMIT")

    def bare(self, query: str) -> Callable[[], list[Any]]:
        """Returns the call that lets SQLite alone do what a search asks of it."""
        values = {
            "match": " ".join(f'"{word}"' for word in query.split()) + "*",
            "pieces": "[]",
            "tags": "[]",
            "rows": PAGE + 1,
            "skip": 0,
            "preview": Limits().preview + 1,
        }
        return lambda: self.alone.execute(RANKED, values).fetchall()

    def close(self) -> None:
        self.store.close()
        self.alone.close()

    def _word(self) -> str:
        return "".join(self._chance.choices("etaoinshrdlu", k=self._chance.randint(3, 9)))

    def _text(self, words: int) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._share, k=words))

    def _note(self) -> dict[str, str]:
        paragraphs = [self._text(self._chance.randint(5, 60)) for _ in range(3)]
        tags = json.dumps([f"tag{self._chance.randrange(20)}"])
        now = "2026-01-01T00:00:00Z"
        return {"now": now, "title": self._text(4), "tags": tags, "text": "\n".join(paragraphs)}


def in_turn(notebook: Notebook, calls: int) -> tuple[float, float]:
    """Returns the seconds of the queries, each once, by the store and by SQLite alone."""
    took = [0.0, 0.0]
    for query in notebook.queries:
        bare, found = notebook.bare(query), notebook.store.search(query, limit=PAGE)["notes"]
        assert [note["id"] for note in found] == [line[0] for line in bare()[:PAGE]], query
        ways: tuple[Callable[[], Any], ...] = (partial(notebook.store.search, query), bare)
        single: tuple[list[float], list[float]] = [], []
        for number in range(calls):
            for way in (0, 1) if number % 2 else (1, 0):
                began = WALL()
                ways[way]()
                single[way].append(WALL() - began)
        took = [so_far + median(calls_of) for so_far, calls_of in zip(took, single, strict=True)]
    return took[0], took[1]


def rows(scale: Scale) -> Iterator[Row]:
    sizes = {100: scale.of(200, 5), scale.of(100_000, 1_000): scale.of(5, 1)}
    found: list[list[tuple[float, float]]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for size, calls in sizes.items():
            notebook = stack.enter_context(closing(Notebook(folder / f"{size}.sqlite3", size)))
            found.append([in_turn(notebook, calls) for _ in range(scale.runs)])
            ours, alone = zip(*found[-1], strict=True)
            yield row("notes", f"search among {size:,} notes", PEER, ratios(ours, alone), MOST)
    growth = [(m[0] / f[0]) / (m[1] / f[1]) for f, m in zip(*found, strict=True)]
    few, many = (f"{size:,}" for size in sizes)
    yield row("notes", f"growth of it from {few} to {many} notes", "sqlite3's own", growth, MOST)
