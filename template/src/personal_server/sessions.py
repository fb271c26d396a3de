"""The commands that show and end the owner's sessions: the browsers that are signed in."""

from __future__ import annotations

from typing import Any

from personal_auth.service import Service
from personal_auth.sessions import Session
from personal_server.commands import distance, iso, print_json, print_table, with_service
from personal_server.settings import SettingRefused


def show(*, json: bool = False) -> None:
    """List the browsers in which you are signed in.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    """
    found, passkeys = with_service(_known)
    if json:
        print_json([_row(each) for each in found])
    elif not found:
        print("No browser is signed in.")
    else:
        columns = ["id", "browser (as it says)", "from", "signed in", "by", "ends"]
        print_table(columns, [_cells(each, passkeys) for each in found])


def end(id: str | None = None, /, *, all: bool = False) -> None:
    """Sign out one browser, or all of them; it holds from the next request on.

    Parameters
    ----------
    id
        The session's id, as `sessions` shows it.
    all
        Sign out every browser.
    """
    if all == (id is not None):
        raise SettingRefused("Name one session by its id, as `sessions` shows it, or say --all.")
    if id is None:
        with_service(lambda service: service.owner.sessions.end_all_but(None))
        print("Every browser is signed out.")
    elif with_service(lambda service: service.owner.sessions.end(id)):
        print(f"{id} is signed out.")
    else:
        raise SettingRefused(f"There is no session {id}: `sessions` shows their ids.")


async def _known(service: Service) -> tuple[list[Session], dict[str, str]]:
    found = await service.owner.sessions.listed(None)
    return found, {each.id: each.name for each in await service.owner.keyring.listed()}


def _row(each: Session) -> dict[str, Any]:
    return {
        "id": each.id,
        "browser": each.browser,
        "address": each.address,
        "created": iso(each.created),
        "expires": iso(each.expires),
        "passkey": each.passkey or None,
    }


def _cells(each: Session, passkeys: dict[str, str]) -> list[str]:
    by = passkeys.get(each.passkey, each.passkey) if each.passkey else "the password"
    times = [distance(each.created), by, distance(each.expires)]
    return [each.id, each.browser or "unknown", each.address, *times]
