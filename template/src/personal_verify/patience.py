"""How much of an answer is taken, and how long it may take: a server may be broken or hostile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx2

from personal_verify.checks import LOG, Failed, Unreachable
from personal_verify.together import TookTooLong, within

WHOLE_SECONDS = 90.0  # for all answers together; a healthy run takes 15 s at most
LAST_SECONDS = 20.0  # for revoking at the end, however long it took before
REST_SECONDS = 5.0  # how long an answer may take to end, beyond the time for its beginning
MOST_BYTES = 4 * 1024 * 1024
# What is over when an answer is taken whole.
ON_THE_WAY = {b"content-encoding", b"content-length", b"transfer-encoding"}

Given = TypeVar("Given")


class Late(Failed):
    """An answer did not come, or did not end, in time."""


class Patience:
    """How long a visit waits for its server."""

    def __init__(self) -> None:
        self._until = time.monotonic() + WHOLE_SECONDS

    def begin_last(self) -> None:
        """Gives the time for what has to be asked at the end."""
        self._until = time.monotonic() + LAST_SECONDS

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Does not count how long the block takes, which has a limit of its own."""
        began, until, self._until = time.monotonic(), self._until, float("inf")
        try:
            yield
        finally:
            self._until = until + time.monotonic() - began

    def wait(self, what: str, ask: Callable[[], Given], seconds: float) -> Given:
        """Returns what is given to a question that should be answered within some seconds.

        Raises:
            Late: It is not.
            Unreachable: All answers together took too long.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unreachable(
                f"The server answers so slowly that {WHOLE_SECONDS:.0f} s were not enough.",
                "Look at the load of its computer, and at the log of the server and of the tunnel.",
            )
        limit = min(seconds + REST_SECONDS, left)
        try:
            return within(limit, ask)
        except TookTooLong:
            raise Late(f"{what} has no whole answer after {limit:.0f} s.", LOG) from None


def whole(response: httpx2.Response, what: str) -> httpx2.Response:
    """Returns an answer that has arrived, unpacked, and read as UTF-8 whatever it says.

    Raises:
        Failed: It is longer than any client would take.
    """
    pieces, size = [], 0
    for piece in response.iter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise Failed(f"{what} is answered with more than {MOST_BYTES >> 20} MB.", LOG)
    headers = [pair for pair in response.headers.raw if pair[0].lower() not in ON_THE_WAY]
    taken = httpx2.Response(
        response.status_code,
        headers=headers,
        content=b"".join(pieces),
        request=response.request,
    )
    taken.encoding = "utf-8"  # another could be one that takes forever to decode
    return taken
