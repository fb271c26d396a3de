"""What a store on a server of its own can do beyond `KeyValue`; several servers may share it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from personal_auth.errors import StartRefused, StoreUnavailable
from personal_auth.store import KeyValue, Put, Record

NAMESPACE = "personal_auth"  # the table in PostgreSQL, how every key in Redis begins
CONNECT_SECONDS = 2.0
CALL_SECONDS = 2.0


@runtime_checkable
class SharedStore(KeyValue, Protocol):
    """A store that `open_store` returns. It connects at its first call, in any event loop."""

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Record | None]:
        """Returns the records of (collection, key) pairs, in one round trip, as of one moment."""
        ...

    async def put_many(self, puts: Sequence[Put]) -> None:
        """Writes records of different keys, one after the other in one round trip.

        A failure in the middle leaves the first of them, or none.
        """
        ...

    async def put_new(self, put: Put) -> bool:
        """Writes a record only if there is none; True when this call wrote it."""
        ...

    async def all_keys(self, collection: str) -> list[str]:
        """Names every live key of a collection."""
        ...

    def rows(self) -> AsyncIterator[Put]:
        """Yields everything that is stored, with its remaining time to live."""
        ...

    async def others(self) -> int:
        """Counts the connections of others like this one, as far as the store tells it."""
        ...

    async def reach(self) -> None:
        """Tries the store once.

        Raises:
            StartRefused: It answers and refuses; waiting does not help.
            StoreUnavailable: It does not answer now.
        """
        ...

    async def close(self) -> None:
        """Lets go of every connection; the next call connects anew."""
        ...


def dumped(value: object) -> str:
    """Returns a record as it is stored."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def loaded(text: str) -> Record:
    """Returns a stored record.

    Raises:
        ValueError: Somebody else wrote it.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no record")
    return value


def refused(where: str, what: str) -> StartRefused:
    """Returns the sentence about a store that answers and refuses; `what` is cause and cure."""
    return StartRefused(f"{where} {what}.")


def unreachable(where: str, why: str) -> StoreUnavailable:
    """Returns the sentence about a store that does not answer now."""
    return StoreUnavailable(f"{where} cannot be reached ({why}): start it, or correct its URL.")


def reason(*errors: BaseException | None) -> str:
    """Returns why nothing was heard, in the system's words: an error's own may hold more."""
    for error in errors:
        if isinstance(error, OSError) and error.errno:
            known = error.errno > 0  # a name that is not known has numbers of its own
            return os.strerror(error.errno) if known else str(error.strerror)
    return "it does not answer"
