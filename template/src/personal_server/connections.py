"""The commands that show, name, narrow and end connections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from personal_auth.connections import Listed, is_grant_id
from personal_auth.identity import LOOPBACK_HOSTS
from personal_auth.ownerview import is_token
from personal_server.commands import distance, iso, print_json, print_table, with_service
from personal_server.settings import SettingRefused, load

PLACE = re.compile(r"(?:https?://)?(\[[^\]]*\]|[^/?#:]*)")  # the host of a URL, or its own scheme
Name = Annotated[str, Parameter(allow_leading_hyphen=True)]


def show(*, json: bool = False) -> None:
    """List what is connected, tokens for scripts included.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    """
    found = with_service(lambda service: service.connections.listed())
    if json:
        print_json([row(each) for each in found])
    elif not found:
        print("Nothing is connected.")
    else:
        _table(found)


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
        with_service(lambda service: service.connections.revoke_all())
        print("Every client is disconnected.")
    elif with_service(lambda service: service.connections.revoke(id)):
        print(f"{id} is disconnected.")
    else:
        raise _unknown(id)


def name(id: str, name: Name, /) -> None:
    """Give a connection a name of your own.

    Parameters
    ----------
    id
        The connection's id, as `connections` shows it.
    name
        What you call it; an empty one, "", takes yours away again.
    """
    if not with_service(lambda service: service.connections.rename(id, name)):
        raise _unknown(id)
    print(f"{id} has the name you gave it." if name.strip() else f"{id} has no name of yours.")


def read_only(id: str, /, *, off: bool = False) -> None:
    """Let a connection call only tools that read; it holds from the next request on.

    Parameters
    ----------
    id
        The connection's id, as `connections` shows it.
    off
        Let it do all that it was granted again.
    """
    if not with_service(lambda service: service.connections.narrow(id, not off)):
        raise _unknown(id)
    if off:
        print(f"{id} may do again all that it was granted.")
    else:
        print(f"{id} may only read.")


def row(each: Listed) -> dict[str, Any]:
    """Returns what programs are told of a connection; keys are added and never taken away."""
    return {
        "id": each.id,
        "client": each.client.name,
        "redirect_uris": list(each.client.redirect_uris),
        "address": each.resource,
        "scopes": list(each.scopes),
        "created": iso(each.created),
        "kind": "token" if is_token(each.client) else "client",
        "name": each.own_name,
        "verified_host": each.client.verified_host,
        "read_only": each.read_only,
        "expires": iso(each.expires),
        "last_used": iso(each.last_used),
        "calls": each.calls,
        "last_address": each.address,
    }


def may(each: Listed) -> str:
    """Returns what a connection may do, in a word."""
    return "read" if each.read_only else "everything"


def _table(found: Sequence[Listed]) -> None:
    here = f"{load().public_url}/mcp"
    moved = any(each.resource != here for each in found)
    named = any(each.own_name for each in found)
    columns = ["id", "client (its own name)", *["your name"] * named, "returns to", "may"]
    columns += ["last used", "calls", "from", "connected since", *["made for"] * moved]
    print_table(columns, [_cells(each, named, moved) for each in found], numbers={"calls"})


def _cells(each: Listed, named: bool, moved: bool) -> list[str]:
    place = "a token" if is_token(each.client) else returns_to(list(each.client.redirect_uris))
    return [
        each.id,
        each.client.name or "without a name",
        *[each.own_name] * named,
        place,
        may(each),
        distance(each.last_used),
        str(each.calls),
        each.address,
        str(iso(each.created)),
        *[each.resource] * moved,
    ]


def returns_to(redirect_uris: list[str]) -> str:
    """Returns the hosts of the sign-in: a maker's cloud, or `localhost` for a program here."""
    matches = [PLACE.match(uri) for uri in redirect_uris]
    places = [match[1] for match in matches if match and match[1]]
    return ", ".join(dict.fromkeys("localhost" if p in LOOPBACK_HOSTS else p for p in places))


def _unknown(id: str) -> SettingRefused:
    named = id if is_grant_id(id) else "of that id"  # which may be a token, pasted by mistake
    return SettingRefused(f"There is no connection {named}: `connections` shows their ids.")
