"""How the state in memory reaches its one place: when it is written, and who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field

from personal_auth import audit
from personal_auth.audit import Event
from personal_auth.background import in_background, looked_at
from personal_auth.errors import NotOnDisk, StateDirLost, StoreUnavailable


@dataclass(slots=True)
class Write:
    """One write of the whole, which begins in a moment or is under way, and who waits for it."""

    loop: asyncio.AbstractEventLoop
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class Writer:
    """Writes a whole after its changes, one write at a time and in turn.

    One write serves all who wait at that moment. After a failed one whoever waits is refused until
    a write succeeds, and one is tried again by itself. It belongs to one event loop at a time.

    Args:
        dump: Returns the whole; called in the event loop.
        save: Writes it durably; called in a thread.
        later: Within how many seconds a change is written for which nobody waits.
        kept: Called with the version that is on disk.
        not_kept: Called after a failed write, before anybody hears of it.
    """

    def __init__(
        self,
        dump: Callable[[], bytes],
        save: Callable[[bytes], None],
        later: float,
        *,
        kept: Callable[[int], None],
        not_kept: Callable[[], None],
    ) -> None:
        self._dump = dump
        self._save = save
        self._later = later
        self._kept = kept
        self._not_kept = not_kept
        self._version = self._durable = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")  # one, so in order
        self._writing: Write | None = None
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._trouble = ""
        self._closed = False

    def changed(self) -> int:
        """Says that the whole is another one from here on; returns its version."""
        self._version += 1
        return self._version

    def write_at_start(self) -> None:
        """Writes before there is an event loop, also after `close`.

        Raises:
            Exception: Nothing is on disk.
        """
        self._thread.submit(self._save, self._dump()).result()
        self._durable, self._closed = self._version, False
        self._kept(self._version)

    def write_later(self) -> None:
        """Lets the changes so far be written within the time given to the constructor."""
        loop = asyncio.get_running_loop()
        if not self._closed and (self._timer is None or self._timer[0] is not loop):
            self._timer = loop, loop.call_later(self._later, self._write_soon)

    async def flush(self, seconds: float | None = None) -> None:
        """Returns once every change made before the call is on disk.

        Args:
            seconds: How long to wait; the write goes on without whoever waited.

        Raises:
            NotOnDisk: The write failed.
            TimeoutError: It takes longer.
        """
        target, loop = self._version, asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while self._durable < target:
                if self._writing is None or self._writing.loop is not loop:
                    self._writing = Write(loop)
                    # Of no request in particular: what it logs names nobody's address.
                    loop.call_soon(self._begin, self._writing, context=Context())
                ended = loop.create_future()
                self._writing.waiting.append(ended)
                await ended

    async def close(self) -> None:
        """Writes what is not on disk yet, as far as that is possible, and stops trying."""
        self._closed = True
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        with contextlib.suppress(StoreUnavailable):
            while self._durable < self._version:
                await self.flush()

    def _begin(self, write: Write) -> None:
        version = self._version

        def end(saved: Future[None]) -> None:
            error = saved.exception()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                write.loop.call_soon_threadsafe(self._end, write, version, error, context=Context())

        try:
            self._thread.submit(self._save, self._dump()).add_done_callback(end)
        except Exception as error:
            self._end(write, version, error)

    def _end(self, write: Write, version: int, error: BaseException | None) -> None:
        if self._writing is write:
            self._writing = None
        try:
            if error is None:
                self._succeeded(version)
            else:
                self._failed(error)
        finally:
            _wake(write.waiting, error)

    def _failed(self, error: BaseException) -> None:
        self._not_kept()
        reason = cause(error)
        if reason != self._trouble:  # told once, not at every attempt
            note = str(error) if isinstance(error, StateDirLost) else "Nothing can be granted."
            audit.record(Event.STORE_FAILED, note, reason=reason)
        self._trouble = reason
        self.write_later()

    def _succeeded(self, version: int) -> None:
        self._durable = version
        self._kept(version)
        if self._trouble:
            audit.record(Event.STORE_BACK)
        self._trouble = ""

    def _write_soon(self) -> None:
        self._timer = None
        in_background(self.flush())


def _wake(waiting: Sequence[asyncio.Future[None]], error: BaseException | None) -> None:
    for ended in waiting:
        if ended.done():  # whoever waited has gone
            continue
        if error is None:
            ended.set_result(None)
        else:
            refused = NotOnDisk()
            refused.__cause__ = error
            ended.set_exception(refused)
            looked_at(ended)  # whoever waits may be ended in this very moment


def cause(error: BaseException) -> str:
    """Returns what may be said of a failure of a store: never its text, which may hold secrets."""
    return getattr(error, "strerror", None) or type(error).__name__
