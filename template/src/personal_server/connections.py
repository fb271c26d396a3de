"""The commands that show and end connections; each works while the server runs and without it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from personal_auth.connections import Connections
from personal_auth.identity import LOOPBACK_HOSTS
from personal_server.settings import SettingRefused, load

PLACE = re.compile(r"(?:https?://)?(\[[^\]]*\]|[^/?#:]*)")  # the host of a URL, or its own scheme


def show(*, json: bool = False) -> None:
    """List what is connected.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    """
    found = _with_connections(lambda connections: connections.all())
    rows = [_row(gid, grant) for gid, grant in found.items()]
    if json:
        print(_json(rows))
    elif not rows:
        print("Nothing is connected.")
    else:
        _table(rows)


def revoke(id: str | None = None, /, *, all: bool = False) -> None:
    """Disconnect one client, or all of them; it holds from the next request on.

    Parameters
    ----------
    id
        The connection's id, as `connections` shows it.
    all
        Disconnect every client.
    """
    if all == (id is not None):
        raise SettingRefused(
            "Name one connection by its id, as `connections` shows it, or say --all."
        )
    if id is None:
        _with_connections(lambda connections: connections.revoke_all())
        print("Every client is disconnected.")
    elif _with_connections(lambda connections: connections.revoke(id)):
        print(f"{id} is disconnected.")
    else:
        raise SettingRefused(f"There is no connection {id}: `connections` shows their ids.")


def _with_connections(use: Callable[[Connections], Coroutine[Any, Any, Any]]) -> Any:
    from personal_server import app

    async def run() -> Any:
        async with app.provider(load()).service.for_a_command() as service:
            return await use(service.connections)

    return asyncio.run(run())


def _row(gid: str, grant: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(grant["created"], UTC)
    return {
        "id": gid,
        "client": grant["client"]["name"],
        "redirect_uris": grant["client"]["redirect_uris"],
        "address": grant["resource"],
        "scopes": grant["scopes"],
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    here = f"{load().public_url}/mcp"
    moved = any(row["address"] != here for row in rows)
    columns = ["id", "client (its own name)", "returns to", "connected since"]
    table = Table(*columns, *["made for"] * moved, box=None)
    for row in rows:
        name, place = row["client"] or "without a name", returns_to(row["redirect_uris"])
        cells = [row["id"], Text(name), Text(place), row["created"]]
        table.add_row(*cells, *[Text(row["address"])] * moved)
    whole_lines = None if sys.stdout.isatty() else 1000  # for grep and the like
    Console(file=sys.stdout, width=whole_lines).print(table)


def returns_to(redirect_uris: list[str]) -> str:
    """Returns the hosts of the sign-in: a maker's cloud, or `localhost` for a program here."""
    matches = [PLACE.match(uri) for uri in redirect_uris]
    places = [match[1] for match in matches if match and match[1]]
    return ", ".join(dict.fromkeys("localhost" if p in LOOPBACK_HOSTS else p for p in places))
