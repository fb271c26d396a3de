"""The commands for tokens: connections of scripts, which can only send a header."""

from __future__ import annotations

import sys

from personal_auth.client import plain_name
from personal_auth.connections import Listed
from personal_auth.limits import Limits
from personal_auth.ownerview import is_token
from personal_auth.service import Service
from personal_server.commands import distance, iso, print_json, print_table, with_service
from personal_server.connections import Name, may, row
from personal_server.settings import SettingRefused

DAY = 24 * 60 * 60
LONGEST_DAYS = 3650


def create(name: Name, /, *, read_only: bool = False, days: int = 365, json: bool = False) -> None:
    """Make a token for a script and print it, only this once.

    Standard output has the token alone, for TOKEN=$(...); how to use it is on standard error.

    Parameters
    ----------
    name
        What the script is called in lists.
    read_only
        Let it call only tools that read.
    days
        After how many days it ends.
    json
        Print an object instead.
    """
    shown = plain_name(name, Limits().client_name_chars)
    if not shown:
        raise SettingRefused("The token needs a name, by which you know it in lists.")
    if not 1 <= days <= LONGEST_DAYS:
        raise SettingRefused(f"A token lives 1 to {LONGEST_DAYS} days, and --days says how many.")
    made, token = with_service(lambda service: _make(service, shown, read_only, days))
    if json:
        print_json({**row(made), "token": token})
        return
    print(token, flush=True)
    print(
        f"The token above is shown only this once. Send it with each request to {made.resource} as"
        f" the header\n\n    Authorization: Bearer TOKEN\n\nIt ends on {iso(made.expires)}, and at"
        f" once by: token revoke {made.id}",
        file=sys.stderr,
    )


def show(*, json: bool = False) -> None:
    """List the tokens for scripts; the tokens themselves are known to nobody any more.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    """
    found = with_service(_tokens)
    if json:
        print_json([row(each) for each in found])
    elif not found:
        print("There is no token: `token create NAME` makes one.")
    else:
        columns = ["id", "name", "may", "last used", "calls", "from", "made", "ends"]
        print_table(columns, [_cells(each) for each in found])


def revoke(token: Name, /) -> None:
    """End a token; it holds from the next request on.

    Parameters
    ----------
    token
        Its id or its name, as `token` shows them; never the token itself.
    """
    ended = with_service(lambda service: _end(service, token))
    print(f"{ended} is ended.")


async def _make(service: Service, name: str, read_only: bool, days: int) -> tuple[Listed, str]:
    id, token = await service.grants.issue_token(name, read_only=read_only, seconds=days * DAY)
    return next(each for each in await _tokens(service) if each.id == id), token


async def _tokens(service: Service) -> list[Listed]:
    return [each for each in await service.connections.listed() if is_token(each.client)]


async def _end(service: Service, which: str) -> str:
    tokens = await _tokens(service)
    found = [each.id for each in tokens if each.id == which] or [
        each.id for each in tokens if which in (each.own_name, each.client.name)
    ]
    if len(found) > 1:
        raise SettingRefused(f"Several tokens have that name: say which by id, {', '.join(found)}.")
    if not found or not await service.connections.revoke(found[0]):
        raise SettingRefused("There is no such token: `token` shows their ids and names.")
    return found[0]


def _cells(each: Listed) -> list[str]:
    ends = iso(each.expires) or ""
    used = [distance(each.last_used), str(each.calls), each.address]
    return [each.id, each.name, may(each), *used, str(iso(each.created)), ends]
