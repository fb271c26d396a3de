"""Which client called which tool, when, with what outcome, and every event of the gate.

Whoever notes an entry only puts it into a bounded queue; one thread writes what waits, in
batches. A trail that cannot be written stops nothing: that is said once in the log, and what did
not fit into the queue meanwhile is counted and becomes an entry itself.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.trailfile import Entry as Entry
from personal_auth.trailfile import TrailFile, is_damaged, put_aside, reason
from personal_auth.trailread import TrailUnreadable as TrailUnreadable
from personal_auth.trailread import read

TRAIL_FILE = "trail.sqlite3"
LOST = "entries_lost"

WAITING_ENTRIES = 4000
BATCH_ENTRIES = 500
BATCH_SECONDS = 0.5  # how long the first of a batch waits for others
RETRY_SECONDS = 5.0
FORGET_SECONDS = 60 * 60.0  # between two looks at what is too old
CLOSE_SECONDS = 3.0  # how long a stop waits for the disk
READ_SECONDS = 1.0  # how long a reader waits for what was just noted
DAY_SECONDS = 24 * 60 * 60
MEGABYTE = 1024 * 1024

CURE = (
    "Calls and events are not kept until it can be written: make room on the disk, or give the"
    " server's user the right to write this file and its folder."
)
BY_ANYBODY = {*audit.BY_ANYBODY, Event.WRONG_PASSWORD}
OWN = {Event.TRAIL_FAILED, Event.TRAIL_BACK}  # as entries they would feed themselves


class Trail:
    """The trail of one server, kept in one file.

    Args:
        path: The file; its folder is made when it is missing.
        days: How long an entry is kept.
        megabytes: How large the file may become.
        clock: Returns the POSIX time in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        days: float = 90,
        megabytes: float = 32,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._clock = clock
        self._writer = _Writer(path, int(megabytes * MEGABYTE), days * DAY_SECONDS, clock)
        self._changed = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._lost = 0
        self._open = self._at_once = False
        self._thread: threading.Thread | None = None
        self._end_listening: Callable[[], None] | None = None

    def open(self) -> None:
        """Notes every event of the gate from now on, and tries the file at once."""
        self.listen()
        with self._changed:
            self._start()

    def listen(self) -> None:
        """Notes every event of the gate from now on; the file is first touched for one."""
        self._open = True
        if self._end_listening is None:
            self._end_listening = audit.listen(self._heard)

    def note(self, entry: Entry) -> None:
        """Keeps an entry; never waits for the disk and never fails."""
        with self._changed:
            if not self._open:
                return
            if len(self._waiting) >= WAITING_ENTRIES:
                self._lost += 1
                return
            self._waiting.append(entry)
            if len(self._waiting) == 1:
                self._start()
                self._changed.notify_all()

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Waits until what was noted is on disk; tells whether it is."""
        with self._changed:
            if self._thread is not None:
                self._at_once = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._at_once, seconds)
            return not self._waiting

    def read(self, **asked: Any) -> list[Entry]:
        """Returns entries as `trailread.read` does, with what was noted until now.

        Raises:
            TrailUnreadable: The file cannot be read.
        """
        self.flush(READ_SECONDS)
        return read(self.path, **asked)

    def close(self) -> None:
        """Writes what waits, as far as the disk lets it; `open` begins again."""
        if self._end_listening is not None:
            self._end_listening()
            self._end_listening = None
        with self._changed:
            self._open, thread = False, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _heard(self, event: Event, fields: Mapping[str, str]) -> None:
        if event in OWN:
            return
        rest = dict(fields)
        entry = Entry(
            at=self._clock(),
            kind="gate",
            grant=rest.pop("grant", ""),
            client=rest.pop("client", ""),
            address=rest.pop("address", ""),
            event=str(event),
            fields=rest,
            anybody=event in BY_ANYBODY,
        )
        self.note(entry)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="trail", daemon=True)
            with contextlib.suppress(RuntimeError):  # none to be had: the next entry tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        batch: list[Entry] | None = []  # the first round only tries the file
        while batch is not None:
            batch = self._next(batch, self._writer.keep(batch))
        self._writer.close()
        with self._changed:
            self._thread = None
            if self._open:  # again, meanwhile
                self._start()

    def _next(self, batch: list[Entry], done: bool) -> list[Entry] | None:
        """Takes a batch that is done with off the queue; returns the next, None at the end."""
        with self._changed:
            for _ in batch if done else ():
                self._waiting.popleft()
            if done:
                self._own_up()
            if not done or not self._waiting:
                self._at_once = False
                self._changed.notify_all()
                if not self._open:
                    return None
            self._wait(done)
            return list(islice(self._waiting, BATCH_ENTRIES))

    def _own_up(self) -> None:
        """Makes an entry of how many were lost, now that there is room again."""
        lost, self._lost = self._lost + self._writer.dropped, 0
        self._writer.dropped = 0
        if lost:
            fields = {"entries": str(lost)}
            self._waiting.append(Entry(self._clock(), "gate", event=LOST, fields=fields))

    def _wait(self, done: bool) -> None:
        def hurried() -> bool:
            return self._at_once or not self._open

        if not done:
            self._changed.wait_for(hurried, RETRY_SECONDS)
        elif len(self._waiting) < BATCH_ENTRIES:
            self._changed.wait_for(lambda: hurried() or self._waiting, FORGET_SECONDS)
            if self._waiting:
                self._changed.wait_for(hurried, BATCH_SECONDS)


class _Writer:
    """Keeps batches in the file, and says in the log when that ends and begins again."""

    def __init__(self, path: Path, most_bytes: int, seconds: float, clock: Callable[[], float]):
        self._path = path
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._file: TrailFile | None = None
        self._failed = self._folder_made = False
        self._forget_at = float("-inf")
        self.dropped = 0
        """How many entries can never be written, whatever the disk."""

    def keep(self, batch: list[Entry]) -> bool:
        """Writes a batch; tells whether it is done with, or is to be tried again."""
        try:
            try:
                self._write(batch)
            except (sqlite3.Error, OSError) as error:
                self._begin_anew(error)
                self._write(batch)
        except Exception as error:  # a call is never refused for its trail
            self.close()
            self._say_failed(error)
            later = isinstance(error, OSError | sqlite3.OperationalError) or is_damaged(error)
            self.dropped += 0 if later else len(batch)
            return not later
        if self._failed:
            self._failed = False
            audit.record(Event.TRAIL_BACK)
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, batch: list[Entry]) -> None:
        if self._file is not None and not self._file.is_in_place():
            self.close()
        if self._file is None:
            if not self._folder_made:  # later, one that is gone was taken away
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder_made = True
            self._file = TrailFile(self._path, self._most_bytes)
            self._forget_at = float("-inf")
        if batch:
            self._file.write(batch)
        if time.monotonic() >= self._forget_at:
            self._file.forget(self._clock() - self._seconds)
            self._forget_at = time.monotonic() + FORGET_SECONDS

    def _begin_anew(self, error: Exception) -> None:
        """Puts a damaged file aside.

        Raises:
            Exception: It is not damaged; the error at hand.
        """
        if not is_damaged(error):
            raise error
        in_place = self._file is None or self._file.is_in_place()
        self.close()
        if in_place:  # else another server has put it aside
            aside = put_aside(self._path)
            self._say_failed(error, f"It was damaged: it is now {aside}, and a new one was begun.")

    def _say_failed(self, error: Exception, note: str = CURE) -> None:
        if not self._failed:
            self._failed = True
            audit.record(Event.TRAIL_FAILED, note, reason=reason(error))
