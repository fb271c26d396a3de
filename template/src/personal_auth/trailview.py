"""What the owner's page says of the trail: each call on a line, each event of the gate in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from personal_auth.audit import Event
from personal_auth.trail import BY_ANYBODY, LOST
from personal_auth.trailfile import Entry

OUTCOMES = {"ok": "done", "error": "failed", "refused": "refused", "unknown": "no such tool"}
EVENTS: Mapping[str, str] = {
    Event.URL_CHANGED: "The server’s address changed",
    Event.ADOPTED: "The connections of an earlier server were taken over",
    Event.PASSWORD_MADE: "The first password was made",
    Event.PASSWORD_CHANGED: "The password was changed",
    Event.NOT_BELIEVED: "A proxy that the settings do not name stands in front",
    Event.REGISTERED: "An app registered, which opens nothing yet",
    Event.ASKED: "An app asked to be connected",
    Event.SIGNED_IN: "You signed in",
    Event.SESSION_ENDED: "A browser was signed out",
    Event.WRONG_PASSWORD: "A wrong password was tried",
    Event.WRONG_PASSKEY: "A passkey was refused",
    Event.PASSKEY_ADDED: "A passkey was added",
    Event.PASSKEY_REMOVED: "A passkey was removed",
    Event.PASSKEY_CLONED: "A passkey was refused: it seems to have been copied",
    Event.PASSWORD_OFF: "The password was switched off",
    Event.PASSWORD_ON: "The password was switched on",
    Event.APPROVED: "You approved a connection",
    Event.DENIED: "A connection was denied",
    Event.NOT_REDEEMED: "The app never came back for its access",
    Event.ISSUED: "The app was connected",
    Event.TOKEN_CREATED: "A token for a script was made",
    Event.NARROWED: "The app may only read from then on",
    Event.WIDENED: "The app may use every tool from then on",
    Event.REFRESHED: "The app renewed its access",
    Event.RETRIED: "The app renewed its access once more",
    Event.REPLAYED_CODE: "A used code came back: the connection was ended",
    Event.REPLAYED_REFRESH: "A used token came back: the connection was ended",
    Event.REVOKED: "A connection was ended",
    Event.REFUSED: "A request was refused",
    Event.STORE_FAILED: "The server could not reach its state",
    Event.STORE_BACK: "The server reaches its state again",
    LOST: "Some entries are missing here",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the trail."""

    at: float
    who: str
    """The app that called, or that the event is about; nothing when there is none."""
    tool: str
    """What it called; empty for an event of the gate."""
    what: str
    """The outcome of a call in one or two words, or the event."""
    bad: bool
    """True for a call that did not succeed."""
    took: str
    """Such as `41 ms`; empty for an event."""
    address: str
    arguments: str
    times: int = 1
    """How often the same was noted in a row."""


def lines(entries: Iterable[Entry], names: Mapping[str, str], most: int) -> list[Line]:
    """Returns entries as lines; what strangers cause again and again is one.

    Args:
        names: What the live connections are called, by their ids; what has ended is called by
            the name that another of its entries has.
        most: How many lines at most.
    """
    entries = list(entries)
    names = {entry.grant: entry.client for entry in entries if entry.client} | dict(names)
    names.pop("", None)
    together: list[Line] = []
    for key, group in groupby(entries, key=_same):
        found = [_line(entry, names) for entry in group]
        together += [replace(found[0], times=len(found))] if key else found
        if len(together) >= most:
            break
    return together[:most]


def _same(entry: Entry) -> tuple[str, ...]:
    """Returns by what an entry that strangers can cause is the same as the next; else nothing."""
    return (entry.event, entry.client, entry.address) if entry.event in BY_ANYBODY else ()


def _line(entry: Entry, names: Mapping[str, str]) -> Line:
    outcome = OUTCOMES.get(entry.outcome, entry.outcome)
    event = EVENTS.get(entry.event) or entry.event.replace("_", " ").capitalize()
    return Line(
        at=entry.at,
        who=names.get(entry.grant) or entry.client,
        tool=entry.tool,
        what=outcome if entry.kind == "call" else event,
        bad=entry.kind == "call" and entry.outcome != "ok",
        took=_duration(entry.milliseconds),
        address=entry.address,
        arguments=entry.arguments,
    )


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 1:
        return "under 1 ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"
