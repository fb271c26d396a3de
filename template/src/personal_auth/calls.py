"""What did a connection call? A FastMCP middleware that notes each call of a tool in the trail.

It stands before all others, so that it sees what they refuse and what they take, and passes every
result and every error on as it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from typing import Any

from fastmcp.exceptions import AuthorizationError, NotFoundError
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from personal_auth.addresses import caller
from personal_auth.reading import Withheld
from personal_auth.trail import Entry, Trail
from personal_auth.trailfile import ARGUMENTS_CHARS, TEXT_CHARS


class Calls(Middleware):
    """Notes who called which tool, with what outcome, and how long it took.

    Args:
        trail: Where; None only counts.
        called: Is told the connection of each call, to count it.
        named: The tools whose arguments are kept too, as clients see their names.
    """

    def __init__(
        self,
        trail: Trail | None,
        called: Callable[[str], None] | None = None,
        named: Collection[str] = (),
    ) -> None:
        self._trail = trail
        self._called = called
        self._named = frozenset(named)

    async def on_call_tool(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        at, began, outcome = time.time(), time.perf_counter(), "error"
        name, given = context.message.name, context.message.arguments
        arguments = _as_json(given) if name in self._named else ""  # before a tool changes them
        try:
            result = await call_next(context)
            outcome = "error" if getattr(result, "is_error", False) else "ok"
            return result
        except (AuthorizationError, Withheld):
            outcome = "refused"
            raise
        except NotFoundError:
            outcome = "unknown"
            raise
        finally:
            took = (time.perf_counter() - began) * 1000
            self._note(at, name, outcome, took, arguments)

    def _note(self, at: float, tool: str, outcome: str, took: float, arguments: str) -> None:
        claims = _claims()
        grant = claims.get("grant_id", "")
        if self._called is not None and grant:
            self._called(grant)
        if self._trail is not None:
            self._trail.note(
                Entry(
                    at=at,
                    kind="call",
                    grant=grant,
                    client=claims.get("client_name", ""),
                    tool=tool[: TEXT_CHARS + 1],  # what is cut off is not to wait in memory
                    outcome=outcome,
                    milliseconds=round(took, 3),
                    address=caller.get(),
                    arguments=arguments[: ARGUMENTS_CHARS + 1],
                )
            )


def _claims() -> dict[str, Any]:
    token = get_access_token()
    return token.claims if token is not None else {}


def _as_json(arguments: Any) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return ""
