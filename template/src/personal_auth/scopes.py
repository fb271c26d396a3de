"""What may be asked for: `tools`, and `offline_access` for clients that want it said.

Unknown scopes are dropped, never refused: the token answer says what was granted (RFC 6749 §3.3).
"""

from __future__ import annotations

from collections.abc import Iterable

from personal_auth.errors import InvalidScope

RESOURCE_SCOPES = ("tools",)
SERVER_SCOPES = ("tools", "offline_access")


def granted(asked: str | None) -> tuple[str, ...]:
    """Returns what an authorization request's `scope` comes to; always at least `tools`."""
    wanted = (asked or "").split()
    return tuple(scope for scope in SERVER_SCOPES if scope in wanted or scope in RESOURCE_SCOPES)


def narrowed(held: Iterable[str], asked: str | None) -> tuple[str, ...]:
    """Returns what a refresh's `scope` comes to (RFC 6749 §6); nothing asked means all.

    Raises:
        InvalidScope: It asks for more than was granted.
    """
    held = tuple(held)
    wanted = [scope for scope in (asked or "").split() if scope in SERVER_SCOPES]
    if not set(wanted) <= set(held):
        raise InvalidScope("A refresh cannot widen what was granted.")
    return tuple(scope for scope in held if scope in wanted or not wanted)
