"""How the state is written down: one JSON document of rows, its version and its writer.

`VERSION` grows only when an older server would misread the document: what it may pass over, such
as another member of a record, needs none. A server reads every version up to its own, for which
`read` turns what an older one holds into rows of today, and refuses a later one. Its first write
is in its own version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from personal_auth.errors import StartRefused
from personal_auth.version import __version__

FORMAT = "personal-auth"
VERSION = 1
WRITER_CHARS = 40

Record = dict[str, Any]


@dataclass(slots=True)
class Row:
    """A record in memory; `raw` is its member of the document."""

    value: Record = field(repr=False)
    expires: float | None
    raw: bytes = field(repr=False)

    @classmethod
    def of(cls, key: str, value: Record, expires: float | None) -> Row:
        """Returns a row.

        Raises:
            TypeError, ValueError: The record cannot be written as JSON.
        """
        row: Record = {"value": value} if expires is None else {"value": value, "expires": expires}
        raw = json.dumps(row, separators=(",", ":"), allow_nan=False)
        return cls(value, expires, f"{json.dumps(key)}:{raw}".encode())

    def live(self, now: float) -> bool:
        return self.expires is None or self.expires > now


def write(collections: Iterable[tuple[str, Iterable[Row]]]) -> bytes:
    """Returns the document of all rows."""
    head = f'{{"format":"{FORMAT}","version":{VERSION},"writer":"{__version__}","rows":{{'
    pieces = [head.encode()]  # joined once: each copy of a large state takes its time
    for name, rows in collections:
        between = "," if len(pieces) > 1 else ""
        pieces.append(f"{between}{json.dumps(name)}:{{".encode())
        pieces += b",".join([row.raw for row in rows]), b"}"
    return b"".join([*pieces, b"}}\n"])


def read(state: object) -> Iterator[tuple[str, str, Row]]:
    """Yields (collection, key, row) of a document.

    Raises:
        StartRefused: It is not ours, a later version wrote it, or it is damaged.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StartRefused(
            "The stored state was not written by this server and was left as it is:"
            " move it away to start anew."
        )
    try:
        _check_version(state["version"], state.get("writer", "of a later version"))
        for collection, rows in state["rows"].items():
            for key, row in rows.items():
                yield collection, key, _row(key, row["value"], row.get("expires"))
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise StartRefused(
            "The stored state is damaged and was left as it is: restore it from a backup,"
            " or move it away to start anew."
        ) from error


def _check_version(version: object, writer: object) -> None:
    if type(version) is not int or version < 1:
        raise ValueError(version)
    if version > VERSION:
        raise StartRefused(
            f"The stored state has format version {version}, written by personal_auth"
            f" {ascii(str(writer)[:WRITER_CHARS])[1:-1]}, and was left as it is: this is"
            f" personal_auth {__version__}, which reads up to format version {VERSION}; update to"
            " the one that wrote it or a later one, restore an older backup, or move it away to"
            " start anew."
        )


def _row(key: str, value: object, expires: object) -> Row:
    if not isinstance(value, dict) or type(expires) not in {int, float, type(None)}:
        raise TypeError(key)
    return Row.of(key, value, None if expires is None else float(expires))  # type: ignore[arg-type]
