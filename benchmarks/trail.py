"""Calls of a tool with the trail against calls without it, both with a token.

The trail has a thread of its own, whose work for an entry is beside the call that made it: in calls
of a second of the processor, that of the whole process, it is counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.calls import taken, times_as_many
from benchmarks.measure import Goal, Row, Scale, row


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        without, noting = taken(scale, Path(folder), "gated", "noting")
    wall, cpu = times_as_many(noting, without)
    name, against, goal = "a call with the trail", "a call without it", Goal(least=0.98)
    yield row("trail", f"{name}, calls in a second", against, wall, goal)
    yield row("trail", f"{name}, calls in a second of its processor", against, cpu, Goal())
