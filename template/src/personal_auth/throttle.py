"""When may the next password be tried?

After `Limits.free_attempts` wrong ones each further attempt waits twice as long, up to
`Limits.longest_wait_seconds`, counted per address and over all. A browser that has signed in
before has a counter of its own instead, so strangers cannot lock the owner out. An attempt counts
as wrong from its beginning and is forgiven when the password was right: many at once gain nothing.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from personal_auth.errors import TooManyAttempts
from personal_auth.limits import Limits

EVERYBODY = "everybody"


@dataclass(slots=True)
class Counter:
    wrong: int = 0
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
        wait = max(counter.not_before for counter in counters) - now
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyAttempts(
                f"Too many wrong passwords: wait {seconds} s, then try again.", seconds
            )
        for counter in counters:
            counter.wrong += 1
            over = counter.wrong - self._limits.free_attempts
            if over >= 0:
                doubled = self._limits.first_wait_seconds * 2.0 ** min(over, 30)
                counter.not_before = now + min(doubled, self._limits.longest_wait_seconds)

    def succeeded(self, address: str, device: str | None) -> None:
        """Forgives: the attempt that began last was the owner's."""
        for key in self._keys(address, device):
            counter = self._counter(key)
            counter.wrong, counter.not_before = 0, 0.0

    def _keys(self, address: str, device: str | None) -> list[str]:
        if device is not None:
            return [f"device {device}"]
        return [EVERYBODY, f"address {_network(address)}"]

    def _counter(self, key: str) -> Counter:
        if key == EVERYBODY:
            return self._everybody
        counter = self._counters.setdefault(key, Counter())
        self._counters.move_to_end(key)
        if len(self._counters) > self._limits.attempts_remembered:
            self._counters.popitem(last=False)
        return counter


def _network(address: str) -> str:
    """Returns the unit that one attacker holds: an IPv4 address, an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
