"""The commands: each is a function of its module, and what it refuses is one sentence."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from personal_auth import StartRefused
from personal_auth.errors import Refused
from personal_server.settings import SettingRefused, answers, load, publish

if TYPE_CHECKING:
    from cyclopts import App

ALONE = ""  # what the name of a group of commands does by itself


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
    gc.disable()  # until `app.settle`: what starting makes is no garbage
    from personal_server import app, volumes

    settings = load()
    volumes.check(settings)
    publish()
    app.run(settings)


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


def _commands() -> None:
    import cyclopts

    from personal_server import trail
    from personal_server.backup import backup
    from personal_server.notify import notify
    from personal_server.password import password
    from personal_server.restore import restore

    app = cyclopts.App(
        name=answers()["project_name"],
        help="A private MCP server.",
        version_flags=[],
        default_parameter=cyclopts.Parameter(negative=()),  # no --no-json beside --json
    )
    app.default(serve)
    commands: list[Callable[..., None]] = [serve, password, clients, backup, restore, doctor]
    for command in [*commands, notify]:
        app.command(command)
    for group in _groups():
        app.command(group)
    app.command(trail.show, name="trail")
    app()


def _groups() -> Iterator[App]:
    from personal_server import connections, passkeys, sessions, state, tokens

    yield _group(
        "connections",
        "See, name, narrow and end connections.",
        {
            ALONE: connections.show,
            "revoke": connections.revoke,
            "name": connections.name,
            "read-only": connections.read_only,
        },
    )
    yield _group(
        "token",
        "Make, see and end tokens for scripts.",
        {ALONE: tokens.show, "create": tokens.create, "revoke": tokens.revoke},
    )
    yield _group(
        "passkeys",
        "See, name and remove passkeys.",
        {ALONE: passkeys.show, "name": passkeys.name, "remove": passkeys.remove},
    )
    yield _group(
        "sessions",
        "See in which browsers you are signed in, and sign out there.",
        {ALONE: sessions.show, "end": sessions.end},
    )
    yield _group("state", "Take the state to another store.", {"move": state.move_to})


def _group(name: str, purpose: str, commands: dict[str, Callable[..., None]]) -> App:
    import cyclopts

    group = cyclopts.App(name=name, help=purpose)
    for word, command in commands.items():
        if word == ALONE:
            group.default(command)
        else:
            group.command(command, name=word)
    return group


def _is_sentence(error: Exception) -> bool:
    from personal_auth.trail import TrailUnreadable
    from personal_server.archive import BackupRefused
    from personal_server.tools import ToolRefused

    kinds = SettingRefused | StartRefused | Refused | ToolRefused | BackupRefused | TrailUnreadable
    return isinstance(error, kinds)
