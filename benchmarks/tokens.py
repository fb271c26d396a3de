"""What it costs to check a valid access token, however many are live."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Row, Scale


def rows(scale: Scale) -> Iterator[Row]:
    yield from ()
