"""When may the next password be tried?

After `Limits.free_attempts` wrong ones each further attempt waits twice as long, counted per
address (up to `Limits.longest_wait_seconds`) and over all (up to the shorter
`Limits.longest_wait_for_all_seconds`: while strangers try, all new browsers share one attempt in
that time). A browser that has signed in before has a counter of its own instead. Wrong attempts
fade with time. An attempt counts as wrong from its beginning and is forgiven when the password was
right: many at once gain nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from personal_auth.addresses import is_shared, one_guesser
from personal_auth.errors import TooManyAttempts
from personal_auth.limits import Limits

EVERYBODY = "everybody"


@dataclass(slots=True)
class Counter:
    wrong: int = 0
    last: float = 0.0
    not_before: float = 0.0


class Throttle:
    """Counts wrong passwords in memory; times in seconds of the given clock."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._everybody = Counter()
        self._counters: OrderedDict[str, Counter] = OrderedDict()

    def begin(self, address: str, device: str | None) -> None:
        """Counts an attempt before its password is looked at.

        Raises:
            TooManyAttempts: A wait is in force; the attempt is not counted.
        """
        now = self._clock()
        counters = [self._counter(key) for key in self._keys(address, device)]
        wait = max(self._wait(counter, now) for counter in counters)
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyAttempts(
                f"Too many wrong passwords: wait {seconds} s, then try again.", seconds
            )
        for counter in counters:
            self._count(counter, now)

    def succeeded(self, address: str, device: str | None) -> None:
        """Forgives every attempt of this address or device: the owner is there."""
        for key in self._keys(address, device):
            counter = self._counter(key)
            counter.wrong, counter.not_before = 0, 0.0

    def _wait(self, counter: Counter, now: float) -> float:
        # A clock that is set back does not lengthen a wait.
        counter.not_before = min(counter.not_before, now + self._longest(counter))
        return counter.not_before - now

    def _count(self, counter: Counter, now: float) -> None:
        faded = max(0, int((now - counter.last) // self._limits.attempt_fades_seconds))
        counter.wrong = max(0, counter.wrong - faded) + 1
        counter.last = now
        over = counter.wrong - self._limits.free_attempts
        if over >= 0:
            doubled = self._limits.first_wait_seconds * 2.0 ** min(over, 30)
            counter.not_before = now + min(doubled, self._longest(counter))

    def _longest(self, counter: Counter) -> float:
        limits = self._limits
        everybody = counter is self._everybody
        return limits.longest_wait_for_all_seconds if everybody else limits.longest_wait_seconds

    def _keys(self, address: str, device: str | None) -> list[str]:
        if device is not None:
            return [f"device {device}"]
        if is_shared(address):  # strangers and the owner alike, behind a proxy: no longer wait
            return [EVERYBODY]
        return [EVERYBODY, f"address {one_guesser(address)}"]

    def _counter(self, key: str) -> Counter:
        if key == EVERYBODY:
            return self._everybody
        counter = self._counters.setdefault(key, Counter())
        self._counters.move_to_end(key)
        if len(self._counters) > self._limits.attempts_remembered:
            self._counters.popitem(last=False)
        return counter
