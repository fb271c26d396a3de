"""What a check is, and what it comes to.

A check returns what it saw, or raises Failed with the cause and the cure, or Skipped with the
reason. It judges one thing only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LOG = "Look at the server's log; if nothing is there, at the log of the proxy or tunnel."
UPGRADE = "Run `uv sync --upgrade`, then restart the server."
RENEW = "Undo changes below src/personal_auth or run `uvx copier update --defaults`, then restart."
KEEP = (
    "Keep MCP_STATE_DIR on a disk or volume that outlives the server, as compose.yml does, or set"
    " MCP_STORAGE_URL."
)
LETS_IN = (
    "Take the server off the network, for anybody gets in, until `uvx copier update --defaults`"
    " has renewed src/personal_auth."
)
KEEP_HOST = (
    "Let the proxy pass the Host header on as it came, not set to another name (nginx:"
    " `proxy_set_header Host $host;`)."
)
KEEP_ORIGIN = "Let the proxy pass the Origin header on as it came."
KEEP_CHALLENGE = "Let the proxy or tunnel pass the header WWW-Authenticate on unchanged."
KEEP_FRAMING = (
    "Let the proxy or tunnel pass the headers Content-Security-Policy and X-Frame-Options on"
    " unchanged."
)
# What is said instead where the server was not made from the template.
GUARD = (
    "Let the server refuse what is not its own (FastMCP: FASTMCP_HTTP_HOST_ORIGIN_PROTECTION=true"
    " and FASTMCP_HTTP_ALLOWED_HOSTS), and the proxy pass Host and Origin on unchanged."
)
ELSEWHERE = {
    RENEW: "Correct it in the server's own code, or move your tools to a server of this template.",
    LETS_IN: "Take the server off the network, for anybody gets in, until the owner is asked.",
    KEEP: "Let the server keep its clients and tokens where they outlive it.",
    UPGRADE: "Renew the server's MCP library, then restart the server.",
    KEEP_HOST: GUARD,
    KEEP_ORIGIN: GUARD,
    KEEP_FRAMING: "Let the server send Content-Security-Policy: frame-ancestors 'none' with it.",
    KEEP_CHALLENGE: "Let the server name resource_metadata in WWW-Authenticate (RFC 9728 §5.1), and"
    " the proxy or tunnel pass the header on unchanged.",
}
WORDS_ELSEWHERE = (  # settings and commands that only servers of the template have
    (r"MCP_PUBLIC_URL=(\S+)", r"its public URL to \1"),
    (r"MCP_PUBLIC_URL", "its public URL"),
    (r"MCP_ALLOWED_REDIRECT_DOMAINS", "the server's list of allowed addresses"),
    (r", or set MCP_CLIENT_DOCUMENTS=false in \.env and restart", ""),
    (r" in \.env\b", ""),
    (r" \(`uv run [^`]*`\)| with `uv run [^`]*`", ""),
)


def cure_elsewhere(cure: str) -> str:
    """Returns a cure for a server that was not made from the template."""
    cure = ELSEWHERE.get(cure, cure)
    for pattern, words in WORDS_ELSEWHERE:
        cure = re.sub(pattern, words, cure)
    return cure


class Failed(Exception):
    """What was checked is broken: the cause in one sentence, the cure in another."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause, self.cure = cause, cure


class Unreachable(Failed):
    """There is no connection to the server: no later check can tell anything."""


class NoServer(Unreachable):
    """Something answers, but no MCP server: no later check can tell anything either."""


class Skipped(Exception):
    """The check cannot be made; the message is the reason."""


class CannotRun(Exception):
    """Nothing can be checked; the message is one sentence."""


Body = Callable[[Any], str]  # is given the visit


@dataclass(frozen=True)
class Check:
    """One thing that is checked, after the checks that it needs.

    `ours` holds for what only servers of this template promise; `option` names the command-line
    option without which the check is left out; `last` holds for what ends the connection that
    other checks use. What it comes `after` runs before it, and may fail.
    """

    id: str
    title: str
    run: Body
    needs: tuple[str, ...] = ()
    ours: bool = False
    option: str = ""
    last: bool = False
    after: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Result:
    """What a check came to; `detail` is what was seen, the cause or the reason."""

    check: Check
    status: str
    detail: str
    cure: str = ""


GROUPS = {
    "reach": "Reaching it",
    "edge": "What stands before it",
    "metadata": "What clients discover",
    "stranger": "As a stranger",
    "owner": "As the owner",
    "protocol": "As a client",
    "grant": "Keeping and ending a connection",
    "state": "After a restart",
}
CHECKS: dict[str, Check] = {}


def check(
    check_id: str,
    title: str,
    *needs: str,
    ours: bool = False,
    option: str = "",
    last: bool = False,
    after: tuple[str, ...] = (),
) -> Callable[[Body], Body]:
    """Registers a function as a check that runs only when what it needs has passed."""

    def register(run: Body) -> Body:
        CHECKS[check_id] = Check(check_id, title, run, needs, ours, option, last, after)
        return run

    return register


def every_check() -> list[Check]:
    """Returns the checks in the order of their groups, in which they are shown."""
    groups = list(GROUPS)
    return sorted(CHECKS.values(), key=lambda item: groups.index(item.group))


def expect(holds: object, cause: str, cure: str) -> None:
    """Raises Failed unless something holds."""
    if not holds:
        raise Failed(cause, cure)


def pass_on(what: str) -> str:
    return f"Let the proxy or tunnel pass {what} on unchanged."
