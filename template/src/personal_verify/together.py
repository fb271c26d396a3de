"""Asking several things at the same time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

AT_ONCE = 8  # questions at the same time
HEARS_CTRL_C_SECONDS = 0.2  # Windows hears it only between two waits

Item = TypeVar("Item")
Given = TypeVar("Given")


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


def next_of(answers: queue.SimpleQueue[Given]) -> Given:
    while True:
        try:
            return answers.get(timeout=HEARS_CTRL_C_SECONDS)
        except queue.Empty:
            continue
