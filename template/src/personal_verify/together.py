"""Asking several things at the same time, and none for longer than it may take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

AT_ONCE = 8  # questions at the same time
HEARS_CTRL_C_SECONDS = 0.2  # Windows hears it only between two waits

Item = TypeVar("Item")
Given = TypeVar("Given")


class TookTooLong(Exception):
    """Nothing was given in time."""


def together(items: Iterable[Item], ask: Callable[[Item], Given]) -> list[tuple[Item, Given]]:
    """Returns each thing with what was given for it; raises what the first of them raised.

    Whoever is interrupted waits for none of the threads.
    """
    things = list(items)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    for index in range(len(things)):
        waiting.put(index)

    def work() -> None:
        while not waiting.empty():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answers.put((index, ask(things[index]), None))
            except BaseException as error:
                answers.put((index, None, error))

    for _ in range(min(AT_ONCE, len(things))):
        threading.Thread(target=work, daemon=True).start()
    found = sorted((next_of(answers) for _ in things), key=lambda answer: answer[0])
    for _index, _answer, error in found:
        if error is not None:
            raise error
    return [(things[index], answer) for index, answer, _ in found]


def within(seconds: float, ask: Callable[[], Given]) -> Given:
    """Returns what is given; raises as `ask` does.

    Raises:
        TookTooLong: It takes longer; nobody waits for it any more.
    """
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    answer, error = next_of(answers, time.monotonic() + seconds)
    if error is not None:
        raise error
    given: Given = answer
    return given


def next_of(answers: queue.SimpleQueue[Given], until: float = float("inf")) -> Given:
    """Returns what comes next; raises TookTooLong when nothing does until then."""
    while (left := until - time.monotonic()) > 0:
        try:
            return answers.get(timeout=min(left, HEARS_CTRL_C_SECONDS))
        except queue.Empty:
            continue
    raise TookTooLong
