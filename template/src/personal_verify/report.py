"""What is printed."""

from __future__ import annotations

import json
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personal_verify.checks import CHECKS, GROUPS, Result

STYLES = {"pass": "green", "fail": "bold red", "skip": "yellow"}


NOT_OURS = (
    "This server was not made from copier-personal-mcp, so {} checks of what only its template"
    " promises are left out."
)


def as_json(url: str, results: list[Result], *, ours: bool | None) -> str:
    """Returns the results; `ours` is null when no MCP server has answered."""
    checks = [
        {"id": r.check.id, "status": r.status, "detail": r.detail, "cure": r.cure} for r in results
    ]
    whole = {"url": url, "ok": passed(results), "ours": ours, "checks": checks}
    return json.dumps(whole, indent=2)


def passed(results: list[Result]) -> bool:
    return all(result.status != "fail" for result in results)


def print_report(
    console: Console, url: str, results: list[Result], seconds: float, *, ours: bool
) -> None:
    marks = marks_for(console.encoding)
    console.print(Text(f"{url}/mcp", style="bold"))
    if not ours:
        left_out = sum(result.status == "skip" and result.check.ours for result in results)
        console.print(Text(NOT_OURS.format(left_out)))
    for group, title in GROUPS.items():
        inside = [result for result in results if result.check.group == group]
        if inside:
            console.print()
            console.print(Text(title, style="bold"))
            console.print(table_of(inside, marks))
    for result in results:
        if result.status == "fail":
            console.print()
            headline = f"{marks['fail']} {result.check.id}: {result.check.title}"
            console.print(Text(headline, style=STYLES["fail"]))
            console.print(Text(f"Cause: {result.detail}"))
            console.print(Text(f"Cure:  {result.cure}"))
    console.print()
    console.print(Text(closing_line(results, seconds), style="bold"))


def table_of(results: list[Result], marks: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(width=34)
    table.add_column(overflow="fold")
    for first, *more in rows_of(results):
        title = f"{len(more) + 1} checks" if more else first.check.title
        mark = Text(f"{marks[first.status]} {first.status}", style=STYLES[first.status])
        detail = f"{first.check.id}, below" if first.status == "fail" else first.detail
        table.add_row(mark, Text(title), Text(detail, style="dim"))
    return table


def rows_of(results: list[Result]) -> list[list[Result]]:
    """Returns what is shown as one row: neighbours that are skipped for the same reason."""

    def alike(result: Result) -> str:
        return result.detail if result.status == "skip" else result.check.id

    return [list(row) for _, row in groupby(results, key=alike)]


def closing_line(results: list[Result], seconds: float) -> str:
    count = {status: sum(r.status == status for r in results) for status in STYLES}
    told = f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped"
    if count["fail"]:
        return f"Something is broken: {told}, in {seconds:.1f} s."
    if count["skip"]:
        return f"No fault was seen: {told}, in {seconds:.1f} s."
    shown = {result.check.id for result in results}
    if any(item.id not in shown for item in CHECKS.values() if not item.option):
        return f"What was asked for holds: {told}, in {seconds:.1f} s."
    return f"It works, and strangers stay out: {told}, in {seconds:.1f} s."


def marks_for(encoding: str) -> dict[str, str]:
    marks = {"pass": "✓", "fail": "✗", "skip": "–"}
    try:
        "".join(marks.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return {"pass": "+", "fail": "x", "skip": "-"}
    return marks
