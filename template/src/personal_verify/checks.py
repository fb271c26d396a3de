"""What a check is, and what it comes to.

A check returns what it saw, or raises Failed with the cause and the cure, or Skipped with the
reason. It judges one thing only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personal_verify.answers import plain

if TYPE_CHECKING:
    from personal_verify.visit import Visit

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
# What is said instead where the server was not made from the template.
ELSEWHERE = {
    RENEW: "Correct it in the server's own code, or move your tools to a server of this template.",
    LETS_IN: "Take the server off the network, for anybody gets in, until the owner is asked.",
    KEEP: "Let the server keep its clients and tokens where they outlive it.",
    UPGRADE: "Renew the server's MCP library, then restart the server.",
}


class Failed(Exception):
    """What was checked is broken: the cause in one sentence, the cure in another."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause, self.cure = plain(cause), plain(cure)


class Unreachable(Failed):
    """There is no connection to the server: no later check can tell anything."""


class Skipped(Exception):
    """The check cannot be made; the message is the reason."""


class CannotRun(Exception):
    """Nothing can be checked; the message is one sentence."""


Body = Callable[["Visit"], str]


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
