"""The command that sets the owner's password, and switches it off and on."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable

from personal_auth.owner import Owner, generate_password, hash_password
from personal_auth.service import Service
from personal_server.commands import print_json, with_service
from personal_server.settings import SHORTEST_PASSWORD, SettingRefused, load


def password(
    *,
    hash: bool = False,
    revoke_all: bool = False,
    off: bool = False,
    on: bool = False,
    json: bool = False,
) -> None:
    """Set the owner's password; every browser is signed out. Works while the server runs.

    Asks for it on a terminal, else reads one line from standard input; an empty one is replaced
    by a generated password, which is printed. A new password signs you in, also where it was off.

    Parameters
    ----------
    hash
        Print the line for .env instead of storing anything.
    revoke_all
        Also disconnect every client.
    off
        Set none: let only your passkeys sign you in, while one works. Every browser is signed out.
    on
        Set none: let the password sign you in again.
    json
        Print an object instead.
    """
    if hash + off + on > 1:
        raise SettingRefused("--hash, --off and --on are one at a time.")
    if hash:
        _print_hash(json)
    elif off or on:
        switch = Owner.switch_password_on if on else Owner.switch_password_off
        _print(json, _apply(switch, revoke_all), revoke_all)
    else:
        _set(json, revoke_all)


def _print_hash(json: bool) -> None:
    chosen, generated = _ask()
    if json:
        print_json({"hash": hash_password(chosen), "new_password": chosen if generated else None})
        return
    if generated:
        print(f"The password, shown only this once: {chosen}", file=sys.stderr)
    print(f"MCP_PASSWORD='{hash_password(chosen)}'")


def _set(json: bool, revoke_all: bool) -> None:
    if load().password is not None:
        raise SettingRefused(
            "The password is set by MCP_PASSWORD, in the environment or in .env: change it there"
            " and restart the server."
        )
    chosen, generated = _ask()

    async def change(owner: Owner) -> None:
        await owner.change_password(chosen)
        await owner.switch_password_on()

    is_on = _apply(change, revoke_all)
    if generated and not json:
        print(f"The new password, shown only this once:\n\n    {chosen}\n")
    _print(json, is_on, revoke_all, changed=True, new_password=chosen if generated else None)


def _apply(change: Callable[[Owner], Awaitable[None]], revoke_all: bool) -> bool:
    """Changes something of the owner's; returns whether the password signs them in then."""

    async def use(service: Service) -> bool:
        await change(service.owner)
        if revoke_all:
            await service.connections.revoke_all()
        return await service.owner.password_is_on()

    return with_service(use)


def _print(
    json: bool,
    is_on: bool,
    revoked: bool,
    *,
    changed: bool = False,
    new_password: str | None = None,
) -> None:
    """Says what holds now."""
    if json:
        print_json(
            {
                "password_is_on": is_on,
                "changed": changed,
                "new_password": new_password,
                "revoked_all": revoked,
            }
        )
        return
    if changed:
        print("The password is changed; every browser is signed out.")
    elif is_on:
        print("The password signs you in.")
    else:
        print("The password is off: only your passkeys sign you in. Every browser is signed out.")
    if revoked:
        print("Every client is disconnected.")
    elif changed:
        print("Connected clients stay connected; --revoke-all disconnects them.")


def _ask() -> tuple[str, bool]:
    """Returns a password and whether it was generated."""
    if sys.stdin.isatty():
        chosen = getpass.getpass("New password (empty for a generated one): ")
        if chosen and getpass.getpass("Once more: ") != chosen:
            raise SettingRefused("The two passwords differ: nothing was changed.")
    else:
        chosen = sys.stdin.readline().rstrip("\r\n")
    if not chosen:
        return generate_password(), True
    if len(chosen) < SHORTEST_PASSWORD:
        raise SettingRefused(
            f"The password needs at least {SHORTEST_PASSWORD} characters: nothing was changed."
        )
    return chosen, False
