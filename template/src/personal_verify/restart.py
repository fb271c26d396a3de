"""Runs the owner's command that restarts the server, and waits until it answers again."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from typing import IO

from personal_verify.answers import plain
from personal_verify.checks import Failed, Unreachable
from personal_verify.project import command
from personal_verify.visit import Visit

LIMIT_SECONDS = 60.0
UNSEEN_SECONDS = 5.0  # how long to look for a restart that begins after its command
POLL_SECONDS = 0.1
ANSWER_SECONDS = 2.0
EXAMPLES = "`docker compose restart server` or `systemctl restart my-server`"


class Running(threading.Thread):
    """The command, in the shell as the person would type it; `code` is None until it ends.

    It writes to a file, for a server that it leaves behind would keep a pipe open.
    """

    def __init__(self, line: str, output: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.line, self.output = line, output
        self.code: int | None = None
        self.start()

    def run(self) -> None:
        done = subprocess.run(  # noqa: S602 - the line is the person's own
            self.line,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.code = done.returncode


def restart(visit: Visit, line: str) -> float:
    """Returns for how many seconds the server was away.

    Raises:
        Failed: The command failed, does not end, or restarted nothing.
        Unreachable: The server does not come back.
    """
    began = time.monotonic()
    ended, away = 0.0, 0.0
    with tempfile.TemporaryFile() as output:
        running = Running(line, output)
        while True:
            code = running.code
            up = answers(visit)
            now = time.monotonic()
            if code:
                raise command_failed(code, last_line(output))
            ended = ended or (now if code == 0 else 0.0)
            away = away or (0.0 if up else now)
            if ended and up and away:
                return now - away
            if ended and up and now - ended > UNSEEN_SECONDS:
                raise not_away()
            if now - began > LIMIT_SECONDS:
                raise not_back() if ended else still_running()
            left = LIMIT_SECONDS - (now - began)
            visit.say(f"Waiting until the server is back, {left:.0f} s left (Ctrl+C stops)")
            time.sleep(POLL_SECONDS)


def answers(visit: Visit) -> bool:
    """Tells whether the server answers as it answers a stranger, which no cache does for it."""
    try:
        return visit.begin("POST", "/mcp", timeout=ANSWER_SECONDS).status_code == 401
    except Failed:
        return False


def last_line(output: IO[bytes]) -> str:
    output.seek(0)
    lines = [line for line in output.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return plain(lines[-1]).rstrip(".") if lines else ""


def command_failed(code: int, told: str) -> Failed:
    said = f" and says: {told}" if told else ""
    return Failed(
        f"The command of --restart ends with exit code {code}{said}.",
        f"Run it by itself until it works, for example {EXAMPLES}.",
    )


def still_running() -> Failed:
    return Failed(
        f"The command of --restart is still running after {LIMIT_SECONDS:.0f} s.",
        f"Give one that returns when the server restarts, for example {EXAMPLES}.",
    )


def not_away() -> Failed:
    return Failed(
        "The command of --restart has ended, but the server answered all the while.",
        f"Give the command that restarts this server, for example {EXAMPLES}.",
    )


def not_back() -> Unreachable:
    return Unreachable(
        f"The server does not answer {LIMIT_SECONDS:.0f} s after the restart began.",
        f"Look at the server's log for why, and start it again (`uv run {command()}`).",
    )
