"""Proves from outside that this server works and that strangers stay out.

    uv run verify.py [URL] [--password-file FILE | --browser] [--restart CMD]
                     [--json] [--only ID,...] [--list]

It comes as a stranger first, then, with the owner's password, as the owner and as a client that the
owner approves. What it is granted it revokes. The password is read from the file, from MCP_PASSWORD
or from the terminal; with --browser you sign in in your browser instead, and what would ask you
twice is skipped; without either the owner's checks are skipped. With --restart it runs a command of
yours that restarts the server, and sees what outlives that. The URL is the argument,
MCP_PUBLIC_URL, or what .env or .env.example beside this file say. A server that was not made from
this template is judged by what every client needs.

Exit code: 0 nothing failed, 1 something failed, 2 it could not run, 130 it was interrupted.

The checks are in src/personal_verify; to find one, search there for its id.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

try:
    from personal_verify.cli import program
except ModuleNotFoundError:
    print(
        "verify.py needs the packages of its project: start it with `uv run verify.py`.",
        file=sys.stderr,
    )
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    program()
