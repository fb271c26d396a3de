"""Tells the owner what is new by a webhook; nobody waits for it, and it fails nothing.

Words wait in a bounded queue for the one thread that posts them. What does not fit is dropped, and
so is what waits when the server stops: the log has it all.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from personal_auth import audit
from personal_auth.audit import Event
from personal_server.news import News
from personal_server.settings import SettingRefused, Settings, answers, load
from personal_server.webhook import EXAMPLE, NotTaken, Webhook, Word

logger = logging.getLogger("personal_server")

WAITING_WORDS = 20
PAUSE_SECONDS = 5.0  # before the second and last attempt


def notify() -> None:
    """Send a trial word to the webhook of MCP_NOTIFY_URL, and say what it answered.

    Exit code 1 when the word did not arrive.
    """
    settings = load()
    webhook = _webhook(settings)
    if webhook is None:
        raise SettingRefused(
            "MCP_NOTIFY_URL is not set, so nobody is told of what is new: set it in .env, such"
            f" as MCP_NOTIFY_URL={EXAMPLE}, subscribe to the same address in the ntfy app, and"
            " restart the server."
        )
    try:
        status = webhook.post(_news(settings, time.monotonic).trial())
    except NotTaken as error:
        print(f"The trial word did not reach {webhook.host}: {error}.", file=sys.stderr)
        sys.exit(1)
    print(f"{webhook.host} answered {status}: the trial word is on its way to you.")


@contextmanager
def told(settings: Settings) -> Iterator[None]:
    """Tells the owner what is new while it lasts, where a webhook is set."""
    webhook = _webhook(settings)
    if webhook is None:
        yield
        return
    notifier = Notifier(webhook, _news(settings, time.monotonic))
    notifier.start()
    try:
        yield
    finally:
        notifier.stop()


class Notifier:
    """Hears the events of the gate and posts what is news."""

    def __init__(self, webhook: Webhook, news: News, pause: float = PAUSE_SECONDS) -> None:
        self._webhook = webhook
        self._news = news
        self._pause = pause
        self._waiting: queue.Queue[Word | None] = queue.Queue(WAITING_WORDS)
        self._stopping = threading.Event()
        self._failing = False
        self._deaf: Callable[[], None] | None = None

    def start(self) -> None:
        """Begins to listen, and to post in a thread that ends with the process at the latest."""
        threading.Thread(target=self._post_all, name="notify", daemon=True).start()
        self._deaf = audit.listen(self.hear)

    def stop(self) -> None:
        """Ends both without waiting for an answer that is outstanding."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        self._stopping.set()
        with suppress(queue.Full):  # then the thread has something to wake up for
            self._waiting.put_nowait(None)

    def hear(self, event: Event, fields: Mapping[str, str]) -> None:
        """Lets an event be told, if it is news; returns at once."""
        word = self._news.of(event, fields)
        if word is not None:
            with suppress(queue.Full):  # the webhook is slow or away, which is logged
                self._waiting.put_nowait(word)

    def _post_all(self) -> None:
        while (word := self._waiting.get()) is not None and not self._stopping.is_set():
            try:
                self._post(word)
            except NotTaken as error:
                self._failed(str(error))
            else:
                self._arrived()

    def _post(self, word: Word) -> None:
        try:
            self._webhook.post(word)
        except NotTaken as error:
            if not error.passing or self._stopping.wait(self._pause):
                raise
            self._webhook.post(word)

    def _failed(self, why: str) -> None:
        if not self._failing and not self._stopping.is_set():
            self._failing = True
            self._log(
                logging.WARNING,
                "webhook_failed",
                f"The owner is not told what is new: a word did not reach {self._webhook.host},"
                f" {why}. This is said once, until one arrives; `notify` sends a trial word.",
            )

    def _arrived(self) -> None:
        if self._failing:
            self._failing = False
            self._log(
                logging.INFO,
                "webhook_back",
                f"The owner is told again what is new: {self._webhook.host} takes words.",
            )

    def _log(self, level: int, event: str, sentence: str) -> None:
        fields = {"event": event, "host": self._webhook.host}
        logger.log(level, "%s", sentence, extra={"event": fields})


def _webhook(settings: Settings) -> Webhook | None:
    if settings.notify_url is None:
        return None
    return Webhook(settings.notify_url, owner_page(settings))


def _news(settings: Settings, clock: Callable[[], float]) -> News:
    return News(answers()["project_name"], owner_page(settings), clock)


def owner_page(settings: Settings) -> str:
    """Returns the address of the owner's page."""
    return f"{settings.public_url}/owner"
