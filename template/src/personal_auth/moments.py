"""How a time is said to a person: how long ago it was, and its day and minute in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60  # seconds
STEPS = (
    (365 * DAY, "year"),
    (30 * DAY, "month"),
    (DAY, "day"),
    (HOUR, "hour"),
    (MINUTE, "minute"),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in words."""

    iso: str
    """For programs, such as `2026-11-26T03:09:00Z`."""
    day: str
    """Such as `26 Nov 2026, 03:09 UTC`."""
    distance: str
    """Such as `2 hours ago`, or `in 3 days`."""


def moment(at: float, now: float) -> Moment:
    """Returns how a POSIX time is said at another."""
    when = datetime.fromtimestamp(at, UTC)
    day = f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"
    return Moment(f"{when:%Y-%m-%dT%H:%M:%SZ}", day, _distance(at - now))


def _distance(seconds: float) -> str:
    length = next((step for step in STEPS if abs(seconds) >= step[0]), None)
    if length is None:
        return "just now" if seconds <= 0 else "in less than a minute"
    size, unit = length
    count = int(abs(seconds) // size)
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {words}" if seconds > 0 else f"{words} ago"
