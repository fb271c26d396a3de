"""Runs the parts one after the other, prints one table, and writes `results.json`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module

from rich.console import Console

import benchmarks
from benchmarks.measure import Row, Scale
from benchmarks.report import show, write

PARTS = ("tokens", "calls", "trail", "starting", "small")
"""Modules of this folder, each with `rows(scale)`, in the order of the table."""


def measured(part: str, scale: Scale) -> Iterator[Row]:
    """Yields the rows of one part."""
    rows: Callable[[Scale], Iterator[Row]] = import_module(f"benchmarks.{part}").rows
    return rows(scale)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=benchmarks.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", default=[])
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    scale, found, began = Scale(asked.quick), [], time.monotonic()
    for part in asked.only or PARTS:
        for row in measured(part, scale):
            found.append(row)
            print(f"{time.monotonic() - began:4.0f} s  {row.name}", file=sys.stderr)
    show(found, Console(width=None if sys.stdout.isatty() else 150))
    if not (asked.only or asked.quick):
        write(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
