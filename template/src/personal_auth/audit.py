"""What is logged: a closed set of events, never a token, code, password or query string."""

from __future__ import annotations

import logging
from enum import StrEnum

logger = logging.getLogger("personal_auth")

FIELD_CHARS = 120


class Event(StrEnum):
    """Everything this module ever says in the log."""

    URL_CHANGED = "public_url_changed"
    ADOPTED = "earlier_state_adopted"
    PASSWORD_MADE = "password_made"
    PASSWORD_CHANGED = "password_changed"
    SIGNED_IN = "owner_signed_in"
    WRONG_PASSWORD = "wrong_password"
    APPROVED = "connection_approved"
    DENIED = "connection_denied"
    NOT_REDEEMED = "code_never_redeemed"
    CONNECTED = "client_connected"
    REPLAYED_CODE = "code_replayed_connection_revoked"
    REPLAYED_REFRESH = "refresh_token_replayed_connection_revoked"
    REVOKED = "connection_revoked"
    STORE_FAILED = "state_not_available"
    STORE_BACK = "state_available_again"


WARNINGS = {
    Event.URL_CHANGED,
    Event.ADOPTED,
    Event.PASSWORD_MADE,
    Event.WRONG_PASSWORD,
    Event.NOT_REDEEMED,
    Event.REPLAYED_CODE,
    Event.REPLAYED_REFRESH,
    Event.STORE_FAILED,
}


def record(event: Event, note: str = "", **fields: str | int) -> None:
    """Logs one event on one line; values are cut and made printable, so none can forge a line."""
    parts = [f"{name}={_safe(str(value))}" for name, value in fields.items()]
    line = " ".join([f"[{event}]", *([note] if note else []), *parts])
    logger.log(logging.WARNING if event in WARNINGS else logging.INFO, "%s", line)


def _safe(value: str) -> str:
    text = "".join(c if c.isprintable() and c != " " else "_" for c in value[:FIELD_CHARS])
    return text or "-"
