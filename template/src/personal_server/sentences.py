"""Wrong arguments are one sentence for the assistant, not a report of the validator."""

from __future__ import annotations

from typing import Any

import pydantic
from fastmcp.exceptions import ToolError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext


class OneSentence(Middleware):
    """Refuses a call with wrong, missing or unknown arguments in one sentence."""

    async def on_call_tool(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        try:
            return await call_next(context)
        except (ValidationError, pydantic.ValidationError) as error:
            cause = error if isinstance(error, pydantic.ValidationError) else error.__cause__
            if not isinstance(cause, pydantic.ValidationError):
                raise
            raise ToolError(_sentence(cause)) from None


def _sentence(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "arguments"
    reason = first["msg"].removeprefix("Value error, ").rstrip(".").lower()
    return f"The argument {name} is wrong: {reason}."
