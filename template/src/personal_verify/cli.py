"""The command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from getpass import getpass
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from personal_verify.checks import CHECKS, CannotRun, every_check
from personal_verify.known import NAME
from personal_verify.project import command, public_url
from personal_verify.report import as_json, passed, print_report
from personal_verify.run import in_order, run
from personal_verify.visit import Proof, Visit


class Parser(argparse.ArgumentParser):
    """Says in one sentence what it does not understand."""

    def error(self, message: str) -> NoReturn:
        raise CannotRun(f"{message}; --help says what can be given.")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=NAME, description="Proves from outside that this server works.")
    parser.add_argument("url", nargs="?", help="the public URL; default: MCP_PUBLIC_URL or .env")
    parser.add_argument("--password-file", type=Path, metavar="F", help="holds the password")
    parser.add_argument("--browser", action="store_true", help="sign in in your browser")
    parser.add_argument(
        "--restart", metavar="CMD", help="run this command, and see what outlives a restart"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--only", metavar="ID,...", help="run these checks or groups")
    parser.add_argument("--list", action="store_true", help="print every id and what it checks")
    return parser.parse_args(argv)


def program() -> NoReturn:
    """Runs as a program of its own: whatever ends it, the way out is Ctrl+C's."""
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a console may not know every character
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        given = arguments(argv)
        if given.list:
            print("\n".join(f"{item.id:<26}{item.title}" for item in every_check()))
            return 0
        return verify(given)
    except CannotRun as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted.", file=sys.stderr)
        return 130


def verify(given: argparse.Namespace) -> int:
    only = chosen(given)
    url = public_url(given.url)
    needs_owner = CHECKS["owner.sign_in"] in in_order(only)
    proof = owner_proof(given, ask=needs_owner and not given.json)
    began = time.monotonic()
    visit = Visit(url, proof)
    visit.restart = given.restart or ""
    console = Console(stderr=True, highlight=False)
    try:
        with console.status("Verifying", spinner="line") as status:
            visit.say = lambda line: status.update(Text(line))
            visit.tell = lambda line: console.print(Text(line), soft_wrap=True)
            results = run(visit, only)
    except KeyboardInterrupt:
        end = "." if visit.left else "; what was granted is revoked."
        print(f"{NAME}: interrupted{end}", file=sys.stderr)
        return 130
    finally:
        visit.close()
    if given.json:
        print(as_json(url, results, ours=visit.ours if visit.recognised else None))
    else:
        took = time.monotonic() - began
        print_report(Console(highlight=False), url, results, took, ours=visit.ours)
    if given.password_file is not None and not given.password_file.exists():
        print(
            f"The server has removed {given.password_file} at this first sign-in; if you did not"
            f" note the password, set a new one with `uv run {command()} password`.",
            file=sys.stderr,
        )
    return 0 if passed(results) else 1


def chosen(given: argparse.Namespace) -> list[str]:
    """Returns the ids of the checks that are asked for.

    Raises:
        CannotRun: One is unknown, or needs an option that was not given.
    """
    if given.restart is not None and not given.restart.strip():
        raise CannotRun("--restart needs the command that restarts the server.")
    options = {"", "--restart" if given.restart else ""}
    if given.only is None:
        return [item.id for item in every_check() if item.option in options]
    named = [name.strip() for name in given.only.split(",") if name.strip()]
    ids = [check_id for name in named for check_id in ids_of(name, options)]
    unknown = [name for name in ids if name not in CHECKS]
    if unknown or not ids:
        raise CannotRun(f"there is no check {', '.join(unknown) or 'named'}: --list has them all.")
    for item in (CHECKS[name] for name in ids):
        if item.option not in options:
            raise CannotRun(f"{item.id} needs {item.option}; --help says what to give.")
    return ids


def ids_of(name: str, options: set[str]) -> list[str]:
    """Returns the checks of a group that can run with the options, or the one of this name."""
    group = [item.id for item in every_check() if item.group == name and item.option in options]
    return group or [name]


def owner_proof(given: argparse.Namespace, *, ask: bool) -> Proof:
    """Returns how the owner proves to be the owner.

    Raises:
        CannotRun: The file that should hold the password cannot be used, or is one way too many.
    """
    file: Path | None = given.password_file
    if given.browser:
        if file is not None:
            raise CannotRun("give either --browser or --password-file, not both.")
        return Proof(by_browser=True)
    if file is not None:
        try:
            password = file.read_text("utf-8-sig").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise CannotRun(f"the password file {file} cannot be read: {reason}.") from None
        if not password or password.startswith("$argon2"):
            what = "holds a hash, which cannot sign in" if password else "is empty"
            raise CannotRun(f"the password file {file} {what}: write the password itself into it.")
        return Proof(password)
    password = os.environ.get("MCP_PASSWORD", "")
    why_not = "needs the owner: --password-file, MCP_PASSWORD or --browser"
    if password.startswith("$argon2"):
        password = ""
        why_not = (
            "MCP_PASSWORD is a hash, which cannot sign in: give the password itself with"
            " --password-file"
        )
    if not password and ask and sys.stdin.isatty():
        with suppress(EOFError):
            password = getpass("The owner's password (empty: look only as a stranger): ")
    return Proof(password or None, why_not=why_not)
