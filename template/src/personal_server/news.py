"""What is news to the owner, and how it is said: in a sentence or two, without anything secret.

Names of apps are their own choice: they stand in quotes, cut, in the text and in no header.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from personal_auth.audit import Event
from personal_server.webhook import Word

WORDS_AN_HOUR = 30
WRONG_PASSWORDS, BURST_SECONDS = 5, 10 * 60
HOUR = 60 * 60
NAME_CHARS = 60
IN_NO_NAME = str.maketrans(dict.fromkeys("\"'<>/\\@`[]()*|", "_"))  # no link, no markup, no end

Said = tuple[str, str, int, str]
"""Title, text, priority, tags."""


class News:
    """Turns the events of one server into words.

    Args:
        name: What the server and its command are called.
        owner_page: The address of the owner's page.
        clock: Returns seconds that never go back.
    """

    def __init__(self, name: str, owner_page: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._page = owner_page
        self._clock = clock
        self._wrong: deque[float] = deque(maxlen=WRONG_PASSWORDS)
        self._wrong_untold = 0
        self._burst_told = self._hour_began = float("-inf")
        self._words = 0

    def of(self, event: Event, fields: Mapping[str, str]) -> Word | None:
        """Returns what the owner is to hear of an event, None for nothing."""
        said = self._said(event, fields)
        if said is None:
            return None
        title, text, priority, tags = said
        return self._bounded(Word(f"{self._name}: {title}", text, tags, priority))

    def trial(self) -> Word:
        """Returns a word that only shows that words arrive."""
        text = (
            f"This is a trial word of {self._name}. It tells you here of new connections, tokens"
            " and passkeys, of codes and tokens that are used twice, and of many wrong passwords."
        )
        return Word(f"{self._name}: trial", text, "wave")

    def _said(self, event: Event, fields: Mapping[str, str]) -> Said | None:
        app, named = _quoted(fields.get("client", "")), _quoted(fields.get("name", ""))
        where = _from(fields.get("address", ""))
        match event:
            case Event.ISSUED:
                to = fields.get("to", "-")
                text = (
                    f"An app that calls itself {app} is now connected to {self._name}{where}; its"
                    f" sign-in returned to {to}. {self._if_not_you(fields)}"
                )
                return "new connection", text, 3, "link"
            case Event.TOKEN_CREATED:
                text = (
                    f"A token for scripts named {app} was made for {self._name}{where}."
                    f" {self._if_not_you(fields)}"
                )
                return "new token", text, 3, "key"
            case Event.PASSKEY_ADDED:
                text = (
                    f"A passkey named {named} signs you in to {self._name} from now on; it was"
                    f" added{where}. If that was not you, remove it at {self._page} or by:"
                    f" {self._name} passkeys remove {fields.get('passkey', '')}"
                )
                return "new passkey", text, 4, "key"
            case Event.PASSKEY_CLONED:
                text = (
                    f"A copy of the passkey named {named} seems to be in use: a sign-in with it"
                    f"{where} was refused, since it had been used more often before. If you have"
                    f" no copy, remove it at {self._page} or by: {self._name} passkeys remove"
                    f" {fields.get('passkey', '')}"
                )
                return "a passkey was copied", text, 5, "rotating_light"
            case Event.REPLAYED_CODE | Event.REPLAYED_REFRESH:
                what = "A code" if event is Event.REPLAYED_CODE else "An old refresh token"
                text = (
                    f"{what} of the app that calls itself {app} was used a second time{where}, so"
                    f" its connection to {self._name} was ended: somebody may have copied it. Add"
                    f" the app again, and see what is connected at {self._page} or by:"
                    f" {self._name} connections"
                )
                return "a connection was ended", text, 5, "rotating_light"
            case Event.WRONG_PASSWORD:
                return self._burst(where)
        return None

    def _if_not_you(self, fields: Mapping[str, str]) -> str:
        return (
            f"If that was not you, end it at {self._page} or by: {self._name} connections revoke"
            f" {fields.get('grant', '--all')}"
        )

    def _burst(self, where: str) -> Said | None:
        now = self._clock()
        if not self._wrong or now - self._wrong[-1] > BURST_SECONDS:
            self._wrong_untold = 0  # those before were another time's
        self._wrong.append(now)
        self._wrong_untold += 1
        burst = len(self._wrong) == WRONG_PASSWORDS and now - self._wrong[0] <= BURST_SECONDS
        if not burst or now - self._burst_told < HOUR:
            return None
        self._burst_told, count, self._wrong_untold = now, self._wrong_untold, 0
        text = (
            f"{count} wrong passwords were tried at {self._name}, the last{where}. Whoever guesses"
            f" has to wait longer each time. If that was not you, see that your password is long:"
            f" it is changed at {self._page} or by: {self._name} password"
        )
        return "wrong passwords", text, 4, "warning"

    def _bounded(self, word: Word) -> Word | None:
        now = self._clock()
        if now - self._hour_began >= HOUR:
            self._hour_began, self._words = now, 0
        self._words += 1
        if self._words == WORDS_AN_HOUR:
            last = f" This is the last word for an hour: {self._page} shows what else happens."
            return replace(word, text=word.text + last)
        return word if self._words < WORDS_AN_HOUR else None


def _quoted(name: str) -> str:
    shown = "".join(c for c in name if c.isprintable())[:NAME_CHARS].translate(IN_NO_NAME)
    return f'"{shown}"'


def _from(address: str) -> str:
    return f" from {address}" if address else ""
