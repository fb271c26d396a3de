"""How a figure comes about: the ways take turns, and the median of their ratios is what counts.

What else the machine does meets both ways of a pair alike, so a ratio holds where a time does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Way = Callable[[], float]
"""Does some work once and returns what it took, in any unit."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: as promised, or just enough to see that the code runs."""

    quick: bool = False

    @property
    def runs(self) -> int:
        """How often each way takes its turn."""
        return 1 if self.quick else 7

    def of(self, many: int, few: int) -> int:
        """Returns `many`, or `few` in a quick run."""
        return few if self.quick else many


@dataclass(frozen=True)
class Goal:
    """A bound of a figure: at most, or at least, or none."""

    most: float | None = None
    least: float | None = None

    def met(self, value: float) -> bool | None:
        """Says whether a figure keeps within the bound; None without a bound."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or value <= self.most) and (
            self.least is None or value >= self.least
        )

    def __str__(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:.3g}"
        return "" if self.least is None else f"≥ {self.least:.3g}"


@dataclass(frozen=True)
class Row:
    """One figure: its value is the median, its spread the least and the most of the runs."""

    part: str
    name: str
    against: str
    value: float
    spread: tuple[float, float]
    goal: Goal
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return self.goal.met(self.value)


def row(
    part: str, name: str, against: str, figures: Sequence[float], goal: Goal, unit: str = "×"
) -> Row:
    """Returns the row of some runs' figures."""
    spread = min(figures), max(figures)
    return Row(part, name, against, statistics.median(figures), spread, goal, unit)


def in_turns(scale: Scale, *ways: Way) -> list[list[float]]:
    """Runs ways in turn, forwards and then backwards; returns the figures of each."""
    took: list[list[float]] = [[] for _ in ways]
    for number in range(scale.runs):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        for index in order:
            took[index].append(ways[index]())
    return took


def ratios(ours: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Returns the ratios of figures that were taken in turns, pair by pair."""
    return [our / peer for our, peer in zip(ours, peers, strict=True)]


CPU, WALL = time.process_time, time.perf_counter
