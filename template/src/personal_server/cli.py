"""The commands: serve, password, connections, clients, notify, backup, restore, state, doctor."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Callable

from personal_auth import StartRefused
from personal_auth.errors import Refused
from personal_auth.owner import generate_password, hash_password
from personal_server.settings import (
    SHORTEST_PASSWORD,
    SettingRefused,
    Settings,
    answers,
    load,
    publish,
)


def main() -> None:
    """Runs one command; without arguments it serves.

    Whatever the owner must mend is one sentence on standard error and exit code 2.
    """
    try:
        if len(sys.argv) == 1:
            serve()
        else:
            _commands()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if not _is_sentence(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)


def serve() -> None:
    """Serve until Ctrl+C."""
    from personal_server import app, volumes

    settings = load()
    volumes.check(settings)
    publish()
    app.run(settings)


def password(*, hash: bool = False, revoke_all: bool = False) -> None:
    """Set the owner's password; every browser is signed out. Works while the server runs.

    Asks for it on a terminal, else reads one line from standard input; an empty one is replaced
    by a generated password, which is printed.

    Parameters
    ----------
    hash
        Print the line for .env instead of storing anything.
    revoke_all
        Also disconnect every client.
    """
    if hash:
        chosen, generated = _ask_password()
        if generated:
            print(f"The password, shown only this once: {chosen}", file=sys.stderr)
        print(f"MCP_PASSWORD='{hash_password(chosen)}'")
        return
    settings = load()
    if settings.password is not None:
        raise SettingRefused(
            "The password is set by MCP_PASSWORD, in the environment or in .env: change it there"
            " and restart the server."
        )
    chosen, generated = _ask_password()
    asyncio.run(_set_password(settings, chosen, revoke_all))
    if generated:
        print(f"The new password, shown only this once:\n\n    {chosen}\n")
    print("The password is changed; every browser is signed out.")
    if revoke_all:
        print("Every client is disconnected.")
    else:
        print("Connected clients stay connected; --revoke-all disconnects them.")


def clients(*client: str, qr: bool = False) -> None:
    """Print how to connect each client, or one of them.

    Parameters
    ----------
    client
        Such as claude, claude-code, mcp-remote, codex or vscode.
    qr
        Show the address as a QR code instead, for a phone's browser.
    """
    from personal_server import connect

    settings = load()
    if qr:
        print(connect.qr_code(settings.public_url))
    else:
        print(connect.instructions(settings, " ".join(client)), end="")


def doctor() -> None:
    """Say whether this project is in order, and how to mend what is not.

    Looks at the settings, the tools, conflicts of an update, and changes of files that the
    template keeps current. Exit code 1 when something is to be mended.
    """
    from personal_server import doctor

    findings = doctor.examine()
    print(doctor.report(findings))
    sys.exit(any(finding.cure for finding in findings))


async def _set_password(settings: Settings, chosen: str, revoke_all: bool) -> None:
    from personal_server import app

    async with app.provider(settings).service.for_a_command() as service:
        await service.owner.change_password(chosen)
        if revoke_all:
            await service.connections.revoke_all()


def _ask_password() -> tuple[str, bool]:
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


def _commands() -> None:
    import cyclopts

    from personal_server import connections, state
    from personal_server.backup import backup
    from personal_server.notify import notify
    from personal_server.restore import restore

    app = cyclopts.App(
        name=answers()["project_name"], help="A private MCP server.", version_flags=[]
    )
    app.default(serve)
    commands: list[Callable[..., None]] = [serve, password, clients, backup, restore, doctor]
    for command in [*commands, notify]:
        app.command(command)
    listing = cyclopts.App(name="connections", help="See and end connections.")
    listing.default(connections.show)
    listing.command(connections.revoke)
    app.command(listing)
    storing = cyclopts.App(name="state", help="Take the state to another store.")
    storing.command(state.move_to, name="move")
    app.command(storing)
    app()


def _is_sentence(error: Exception) -> bool:
    from personal_server.archive import BackupRefused
    from personal_server.tools import ToolRefused

    kinds = SettingRefused | StartRefused | Refused | ToolRefused | BackupRefused
    return isinstance(error, kinds)
