"""A webhook that takes text by POST, as a topic of ntfy does: where it is, and what came of a word.

Its URL may be all that keeps others from reading and writing there: only its host is ever said.
"""

from __future__ import annotations

import re
import ssl
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx2

from personal_auth.addresses import SHARED, is_in

SECONDS: Final = 10.0  # for one attempt, whatever takes the time
EXAMPLE = "https://ntfy.sh/a-name-that-nobody-guesses"
NEAR = re.compile(  # a service of Compose, this computer, a device in the house
    r"(?:[a-z][a-z0-9_-]*|[a-z0-9_.-]+\.(?:local|internal|home\.arpa))\Z"
)


class NotTaken(Exception):
    """A word did not arrive; the message is half a sentence without anything secret.

    `passing` tells whether a second attempt may help.
    """

    def __init__(self, why: str, *, passing: bool) -> None:
        super().__init__(why)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Word:
    """What is posted: the text, and ntfy's headers, which other webhooks ignore."""

    title: str
    """In ASCII, as headers are."""
    text: str
    tags: str
    priority: int = 3
    """From 1 to 5; the phone rings differently at 4 and 5."""


class Webhook:
    """The webhook at one URL.

    Args:
        url: As `check_url` returned it; its userinfo is sent as HTTP Basic.
        click: The address that a tap on the word opens.
        seconds: The bound of one attempt.
    """

    def __init__(self, url: str, click: str, seconds: float = SECONDS) -> None:
        self._url = url
        self._click = click
        self._seconds = seconds
        self._context: ssl.SSLContext | None = None
        self.host = named(url)

    def post(self, word: Word) -> int:
        """Returns the status of the answer, which is one of success.

        Raises:
            NotTaken: There was no such answer in time.
        """
        client = httpx2.Client(verify=self._tls(), trust_env=False, timeout=self._seconds)
        outcome: list[int | NotTaken] = []

        def attempt() -> None:
            outcome.append(self._ask(client, word))

        # In a thread that can be left behind: no timeout of the client's bounds the whole, and a
        # name server has none at all.
        asking = threading.Thread(target=attempt, name="webhook attempt", daemon=True)
        asking.start()
        asking.join(self._seconds)
        client.close()
        came = outcome[0] if outcome else _too_slow(self._seconds)
        if isinstance(came, NotTaken):
            raise came
        return came

    def _ask(self, client: httpx2.Client, word: Word) -> int | NotTaken:
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Title": word.title,
            "Priority": str(word.priority),
            "Tags": word.tags,
            "Click": self._click,
        }
        body = word.text.encode()
        try:
            # The answer's body is nobody's business, however long it is.
            with client.stream("POST", self._url, content=body, headers=headers) as answer:
                return _judged(answer.status_code)
        except httpx2.TimeoutException:
            return _too_slow(self._seconds)
        except Exception as error:  # whose words may hold the URL
            return _failed(error)

    def _tls(self) -> ssl.SSLContext | bool:
        if self._context is None and self._url.startswith("https:"):
            self._context = ssl.create_default_context()  # takes a while: once
        return self._context or False


def check_url(url: str) -> str:
    """Returns the URL of a webhook.

    Raises:
        ValueError: It cannot be used; the message is half a sentence without the URL.
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"it begins with neither https:// nor http://, as in {EXAMPLE}")
    try:
        parts = urlsplit(url)
        host, port, seen = parts.hostname, parts.port, httpx2.URL(url).host
    except (ValueError, httpx2.InvalidURL):
        host, port, seen = None, None, ""
    if _is_odd(url) or not host or host != seen or port == 0:
        raise ValueError(f"it cannot be read: write it as in {EXAMPLE}")
    if url.startswith("http:") and not (is_in(host, SHARED) or NEAR.match(host)):
        raise ValueError(
            "it must begin with https, since others could read what it says: http may lead only to"
            " this computer or a private network, as in http://ntfy or http://192.168.1.2:8080"
        )
    return url


def _is_odd(url: str) -> bool:
    """Tells whether programs may disagree on what a URL names, or it holds what is never sent."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>^`{|}#')
    return not plain or url.partition("://")[2].partition("/")[0].count("@") > 1


def named(url: str) -> str:
    """Returns the host of a webhook, with its port where one is written."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _judged(status: int) -> int | NotTaken:
    if 200 <= status < 300:
        return status
    if 300 <= status < 400:
        return NotTaken(
            f"it answered {status}, a redirect, which is not followed: set the address where it"
            " leads",
            passing=False,
        )
    known = status in set(HTTPStatus)
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    return NotTaken(f"it answered {status}{phrase}", passing=status >= 500 or status == 429)


def _too_slow(seconds: float) -> NotTaken:
    return NotTaken(f"it did not answer within {seconds:g} seconds", passing=True)


def _failed(error: Exception) -> NotTaken:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return NotTaken("its certificate is not one to trust", passing=False)
    if isinstance(error, httpx2.ConnectError):
        return NotTaken("it cannot be reached", passing=True)
    return NotTaken(
        f"it did not answer as a web server does ({type(error).__name__})", passing=True
    )
