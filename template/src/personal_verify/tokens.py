"""What a token answer must hold."""

from __future__ import annotations

from typing import Any

import httpx2

from personal_verify.answers import json_in, shape
from personal_verify.checks import LOG, RENEW, expect


def duration(seconds: float) -> str:
    days = seconds >= 2 * 86400
    return f"{seconds / (86400 if days else 3600):.3g} {'days' if days else 'hours'}"


def token_answer(response: httpx2.Response) -> dict[str, Any]:
    """Returns a token answer with everything that clients need.

    Raises:
        Failed: A member is missing or has another type (RFC 6749 §5.1).
    """
    answer = json_in(response)
    expect(
        response.status_code == 200 and isinstance(answer, dict),
        f"POST /token is answered with {shape(response)}.",
        LOG,
    )
    whole: dict[str, Any] = answer
    for name in ("access_token", "refresh_token", "token_type", "scope"):
        expect(isinstance(whole.get(name), str), f"The token answer lacks {name}.", RENEW)
    kind, life = whole["token_type"], whole.get("expires_in")
    expect(kind.lower() == "bearer", f"token_type is {kind}.", RENEW)
    expect(
        isinstance(life, int) and life > 0, f"expires_in is {life}, no number of seconds.", RENEW
    )
    return whole
