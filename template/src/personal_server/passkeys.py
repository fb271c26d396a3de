"""The commands that show, name and remove passkeys; they are enrolled on the owner's page."""

from __future__ import annotations

from typing import Any

from personal_auth.keyring import Passkey
from personal_auth.service import Service
from personal_server.commands import distance, iso, print_json, print_table, with_service
from personal_server.connections import Name
from personal_server.settings import SettingRefused, load


def show(*, json: bool = False) -> None:
    """List the passkeys, and say whether the password signs you in.

    Parameters
    ----------
    json
        Print a list of objects instead of a table.
    """
    found, password_is_on, obstacle = with_service(_known)
    if json:
        print_json([_row(each) for each in found])
        return
    if found:
        columns = ["id", "name", "works", "last used", "enrolled", "from"]
        print_table(columns, [_cells(each) for each in found])
    else:
        print(f"There is no passkey: {load().public_url}/owner is where you enrol one.")
    print(obstacle or f"The password {'signs you in' if password_is_on else 'is off'}.")


def name(id: str, name: Name, /) -> None:
    """Give a passkey another name.

    Parameters
    ----------
    id
        The passkey's id, as `passkeys` shows it.
    name
        What you call it.
    """
    if not name.strip():
        raise SettingRefused("A passkey needs a name, by which you know it in lists.")
    if not with_service(lambda service: service.owner.keyring.rename(id, name)):
        raise _unknown(id)
    print(f"{id} has the name you gave it.")


def remove(id: str, /) -> None:
    """Remove a passkey, and sign out every browser that it signed in.

    Without one that works the password signs you in again.

    Parameters
    ----------
    id
        The passkey's id, as `passkeys` shows it.
    """
    if not with_service(lambda service: service.owner.keyring.remove(id)):
        raise _unknown(id)
    password_is_on = with_service(lambda service: service.owner.password_is_on())
    print(f"{id} is removed. The password {'signs you in' if password_is_on else 'is off'}.")


async def _known(service: Service) -> tuple[list[Passkey], bool, str]:
    keyring = service.owner.keyring
    return await keyring.listed(), await service.owner.password_is_on(), keyring.obstacle


def _row(each: Passkey) -> dict[str, Any]:
    return {
        "id": each.id,
        "name": each.name,
        "created": iso(each.created),
        "last_used": iso(each.last_used),
        "address": each.address,
        "host": each.rp_id,
        "works": each.works,
        "synced": each.synced,
    }


def _cells(each: Passkey) -> list[str]:
    works = "yes" if each.works else f"not here, but at {each.rp_id}"
    used = distance(each.last_used)
    return [each.id, each.name, works, used, str(iso(each.created)), each.address]


def _unknown(id: str) -> SettingRefused:
    return SettingRefused(f"There is no passkey {id}: `passkeys` shows their ids.")
