"""What is said of the rows: a table to read, and a file to compare with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row
from personal_auth.version import __version__

RESULTS = Path(__file__).parent / "results.json"
PACKAGES = ("fastmcp", "mcp", "starlette", "uvicorn", "copier", "redis", "asyncpg")


def environment() -> dict[str, Any]:
    """Returns what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"personal_auth": __version__} | {name: version(name) for name in PACKAGES},
    }


def write(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Writes the figures and what they depend on."""
    figures = [
        {
            "part": row.part,
            "name": row.name,
            "against": row.against,
            "value": _rounded(row.value),
            "unit": row.unit,
            "goal": str(row.goal),
            "met": row.met,
            "spread": [_rounded(figure) for figure in row.spread],
        }
        for row in rows
    ]
    content = environment() | {"rows": figures}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show(rows: Iterable[Row], console: Console) -> None:
    """Prints the table."""
    table = Table(title="Medians of runs in turn", title_justify="left")
    for name in ("what", "against"):
        table.add_column(name, overflow="fold")
    for name in ("figure", "from", "to", "goal", ""):
        table.add_column(name, justify="right", no_wrap=True)
    part = None
    for row in rows:
        if part not in (None, row.part):
            table.add_section()
        part = row.part
        least, most = row.spread
        verdict = {True: "met", False: "not met", None: ""}[row.met]
        table.add_row(
            row.name,
            row.against,
            f"{figure(row.value)} {row.unit}",
            figure(least),
            figure(most),
            str(row.goal),
            verdict,
        )
    console.print(table)


def figure(value: float) -> str:
    """Returns a figure as a person reads it."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
