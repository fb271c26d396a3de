"""What may be asked for: every tool, or only those that read; and to stay connected.

`tools` includes `tools:read`. Unknown scopes are dropped, never refused: the token answer says what
was granted (RFC 6749 §3.3). There is always a right among what is granted.
"""

from __future__ import annotations

from collections.abc import Iterable

from personal_auth.errors import InvalidScope

ALL = "tools"
READ = "tools:read"
STAY = "offline_access"  # for clients that want it said; all may stay

RESOURCE_SCOPES = (ALL,)  # what clients are told to ask for
SERVER_SCOPES = (ALL, READ, STAY)


def granted(asked: str | None) -> tuple[str, ...]:
    """Returns what an authorization request's `scope` comes to; everything unless it asks less."""
    wanted = set((asked or "").split())
    right = READ if READ in wanted and ALL not in wanted else ALL
    return (right, STAY) if STAY in wanted else (right,)


def narrowed(held: Iterable[str], asked: str | None) -> tuple[str, ...]:
    """Returns what a refresh's `scope` comes to (RFC 6749 §6); nothing asked means all.

    Raises:
        InvalidScope: It asks for more than was granted.
    """
    held = tuple(held)
    wanted = {scope for scope in (asked or "").split() if scope in SERVER_SCOPES}
    if not wanted:
        return held
    if not wanted <= {*held, *([READ] if ALL in held else [])}:
        raise InvalidScope("A refresh cannot widen what was granted.")
    only_read = READ in wanted and ALL not in wanted
    kept = (scope for scope in held if scope in wanted or scope != STAY)
    return to_reading(kept) if only_read else tuple(kept)


def to_reading(scopes: Iterable[str]) -> tuple[str, ...]:
    """Returns what is left of scopes when the owner holds a connection to reading."""
    return tuple(READ if scope == ALL else scope for scope in scopes)
