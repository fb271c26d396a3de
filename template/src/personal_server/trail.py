"""The command that shows the trail.

It only reads the file: it works while the server runs and without it, and holds up nobody.
"""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

from personal_auth.trail import TRAIL_FILE, Entry
from personal_auth.trailread import read
from personal_server.commands import print_json, print_table
from personal_server.settings import SettingRefused, load

SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
DURATION = re.compile(r"([0-9]{1,6})([smhdw])")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # of the many forms of ISO 8601, the plain one
SHOWN = 100


def show(
    *,
    json: bool = False,
    since: str | None = None,
    connection: str | None = None,
    limit: int = SHOWN,
) -> None:
    """Show what was called, by whom and how it ended, and what happened at the door.

    The newest comes first. Works while the server runs.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    since
        A time such as 2026-03-01 or 2026-03-01T18:30, here in local time, or how long ago: 30m, 2h,
        3d, 1w.
    connection
        Only what one connection did; its id, as `connections` shows it.
    limit
        How many entries at most.
    """
    if limit < 1:
        raise SettingRefused(f"--limit is refused: {limit} entries are none; write 1 or more.")
    start = 0.0 if since is None else moment(since, time.time())
    settings = load()
    path = settings.state_dir / TRAIL_FILE
    found = read(path, since=start, limit=limit + 1, grant=connection)
    entries = found[:limit]
    if json:
        print_json([_row(entry) for entry in entries])
    elif entries:
        _table(entries)
    elif not settings.trail_days:
        print("No trail is kept: MCP_TRAIL_DAYS is 0.")
    elif since is not None or connection is not None:
        print("There is no such entry in the trail.")
    else:
        print("Nothing is in the trail yet.")
    if len(found) > limit:
        print(f"There are older entries: --limit {10 * limit} shows more.", file=sys.stderr)


def moment(text: str, now: float) -> float:
    """Returns the POSIX time that is meant by a date, a time or how long ago.

    Raises:
        SettingRefused: It is none of these.
    """
    if duration := DURATION.fullmatch(text):
        return now - int(duration[1]) * SECONDS[duration[2]]
    try:
        if DATE.match(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    raise SettingRefused(
        f"--since is refused: {text!r} is neither how long ago, such as 30m, 2h or 3d, nor a time,"
        " such as 2026-03-01 or 2026-03-01T18:30."
    )


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "time": _iso(entry.at),
        "kind": entry.kind,
        "connection": entry.grant or None,
        "client": entry.client or None,
        "tool": entry.tool or None,
        "outcome": entry.outcome or None,
        "milliseconds": entry.milliseconds,
        "event": entry.event or None,
        "address": entry.address or None,
        "fields": entry.fields,
        "arguments": entry.arguments or None,
    }


def _table(entries: list[Entry]) -> None:
    zone = datetime.now().astimezone().tzname()
    columns = [f"when ({zone})", "connection", "client", "what", "outcome", "ms", "from", "more"]
    print_table(columns, [_cells(entry) for entry in entries], numbers={"ms"})


def _cells(entry: Entry) -> list[str]:
    return [
        f"{_local(entry.at):%Y-%m-%d %H:%M:%S}",
        entry.grant,
        entry.client,
        entry.tool or entry.event,
        entry.outcome,
        "" if entry.milliseconds is None else f"{entry.milliseconds:.1f}",
        entry.address,
        entry.arguments or " ".join(f"{k}={v}" for k, v in entry.fields.items()),
    ]


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}.{int(at * 1000) % 1000:03}Z"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at).astimezone()
