"""What is logged: a closed set of events, never a token, code, password or query string.

Each event is one line for people, and carries the same as fields for a formatter that writes
JSON. What strangers can cause is logged a bounded number of times a minute and counted beyond.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from personal_auth.addresses import caller
from personal_auth.errors import NotOnDisk, Refused

logger = logging.getLogger("personal_auth")

FIELD_CHARS = 120
LINES_A_MINUTE = 20
MINUTE = 60.0


class Event(StrEnum):
    """Everything this module ever says in the log."""

    URL_CHANGED = "public_url_changed"
    ADOPTED = "earlier_state_adopted"
    PASSWORD_MADE = "password_made"
    PASSWORD_CHANGED = "password_changed"
    NOT_BELIEVED = "forwarded_header_not_believed"
    REGISTERED = "client_registered"
    ASKED = "approval_asked"
    SIGNED_IN = "owner_signed_in"
    WRONG_PASSWORD = "wrong_password"
    WRONG_PASSKEY = "wrong_passkey"
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_REMOVED = "passkey_removed"
    PASSKEY_CLONED = "passkey_refused_its_count_went_back"
    SESSION_ENDED = "session_ended"
    PASSWORD_OFF = "password_switched_off"
    PASSWORD_ON = "password_switched_on"
    APPROVED = "connection_approved"
    DENIED = "connection_denied"
    NOT_REDEEMED = "code_never_redeemed"
    ISSUED = "tokens_issued"
    TOKEN_CREATED = "token_created"
    NARROWED = "connection_held_to_reading"
    WIDENED = "connection_may_do_everything"
    REFRESHED = "tokens_refreshed"
    RETRIED = "refresh_retried"
    REPLAYED_CODE = "code_replayed_connection_revoked"
    REPLAYED_REFRESH = "refresh_token_replayed_connection_revoked"
    REVOKED = "connection_revoked"
    REFUSED = "request_refused"
    STORE_FAILED = "state_not_available"
    STORE_BACK = "state_available_again"
    TRAIL_FAILED = "trail_not_kept"
    TRAIL_BACK = "trail_kept_again"


WARNINGS = {
    Event.URL_CHANGED,
    Event.ADOPTED,
    Event.PASSWORD_MADE,
    Event.NOT_BELIEVED,
    Event.WRONG_PASSWORD,
    Event.WRONG_PASSKEY,
    Event.PASSKEY_ADDED,
    Event.PASSKEY_CLONED,
    Event.PASSWORD_OFF,
    Event.NOT_REDEEMED,
    Event.REPLAYED_CODE,
    Event.REPLAYED_REFRESH,
    Event.STORE_FAILED,
    Event.TRAIL_FAILED,
}
BY_ANYBODY = {
    Event.REGISTERED,
    Event.ASKED,
    Event.DENIED,
    Event.REFUSED,
    Event.STORE_FAILED,
    Event.TRAIL_FAILED,
    Event.WRONG_PASSKEY,
}


@dataclass(slots=True)
class Budget:
    """How often an event was logged in the minute that began at `since`."""

    since: float = float("-inf")
    lines: int = 0
    held_back: int = 0

    def spend(self, now: float) -> int | None:
        """Returns how many lines were held back before this one, None when it is held back too."""
        if now - self.since >= MINUTE:
            self.since, self.lines = now, 0
        if self.lines >= LINES_A_MINUTE:
            self.held_back += 1
            return None
        self.lines += 1
        held_back, self.held_back = self.held_back, 0
        return held_back


Listener = Callable[[Event, Mapping[str, str]], None]
"""Is told each event that is logged, with its fields; it must return at once."""

budgets = {event: Budget() for event in BY_ANYBODY}

listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Tells every event to a listener too; returns what ends that."""
    listeners.append(listener)
    return lambda: listeners.remove(listener)


def record(event: Event, note: str = "", **fields: str | int | Path) -> None:
    """Logs one event on one line; values are cut and made printable, so none can forge a line."""
    if event in budgets:
        held_back = budgets[event].spend(time.monotonic())
        if held_back is None:
            return
        fields = {**fields, "not_logged_before": held_back} if held_back else fields
    if caller.get():
        fields["address"] = caller.get()
    shown = {name: _safe(value) for name, value in fields.items()}
    words = [f"[{event}]", *([note] if note else []), *(f"{k}={v}" for k, v in shown.items())]
    level = logging.WARNING if event in WARNINGS else logging.INFO
    logger.log(level, "%s", " ".join(words), extra={"event": {"event": str(event), **shown}})
    for listener in tuple(listeners):
        try:
            listener(event, shown)
        except Exception as error:  # whoever listens is no reason to refuse anything
            logger.warning("An event was not told to all: %s.", type(error).__name__)


@contextmanager
def in_force(event: Event, **fields: str | int | Path) -> Iterator[None]:
    """Logs an event where only the disk has failed the change that it tells of: that holds."""
    try:
        yield
    except NotOnDisk:
        record(event, "It holds, and is not on disk yet.", **fields)
        raise


def refused(error: Refused, **fields: str) -> None:
    """Logs a refusal and why; the descriptions of `errors` hold nothing that a caller wrote."""
    record(Event.REFUSED, error.description, why=error.code, **fields)


def _safe(value: str | int | Path) -> str:
    # A path is the owner's own, and of no use when it is cut.
    text = str(value) if isinstance(value, Path) else str(value)[:FIELD_CHARS]
    if not text.isprintable() or " " in text:
        text = "".join(c if c.isprintable() and c != " " else "_" for c in text)
    return text or "-"
