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
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PACKAGES = ("fastmcp", "mcp", "starlette", "uvicorn", "copier", "redis", "asyncpg")


def environment() -> dict[str, Any]:
    """Returns what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"personal_auth": __version__} | {name: version(name) for name in PACKAGES},
    }


def write(rows: Iterable[Row], path: Path = RESULTS) -> dict[str, Any]:
    """Writes the figures and what they depend on; returns what it has written."""
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
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return content


def markdown(results: dict[str, Any]) -> str:
    """Returns the figures as a table in Markdown, and below it what they depend on."""
    lines = ["| what | against | figure | range | goal | met |", "|---|---|--:|--:|--:|---|"]
    for row in results["rows"]:
        least, most = map(figure, row["spread"])
        verdict = {True: "yes", False: "**no**", None: ""}[row["met"]]
        value = f"{figure(row['value'])} {row['unit']}"
        cells = (row["name"], row["against"], value, f"{least} to {most}", row["goal"], verdict)
        lines.append(f"| {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    machine = f"{results['system']}, {results['cores']} cores, Python {results['python']}"
    return "\n".join([*lines, "", f"Measured on {machine}; {versions}."])


def filled_in(page: str, results: dict[str, Any]) -> str:
    """Returns a page whose text between the two marks is the table of the figures.

    Raises ValueError where a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page needs the lines {BEGIN} and {END}.")
    return f"{before}{begin}\n\n{markdown(results)}\n\n{end}{after}"


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
