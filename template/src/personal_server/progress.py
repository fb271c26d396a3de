"""How far something long has come, on a terminal only."""

from __future__ import annotations

import sys
import time

EVERY_SECONDS = 0.2
MEGABYTE = 1_000_000


class Progress:
    """Counts files and bytes; standard error shows them when it is a terminal."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._shows = sys.stderr.isatty()
        self._files = self._bytes = 0
        self._next = time.monotonic() + EVERY_SECONDS

    def step(self, size: int, files: int = 1) -> None:
        """Counts one more file, or a piece of one."""
        self._files += files
        self._bytes += size
        if self._shows and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            megabytes = self._bytes / MEGABYTE
            print(
                f"\r{self._done}: {self._files} files, {megabytes:.0f} MB", end="", file=sys.stderr
            )

    def end(self) -> None:
        """Leaves the line to what comes next."""
        if self._shows:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
