"""The figures as a picture: each as a part of its goal, on one scale, with the goal as a line.

It shows what an owner would ask about: every figure that misses its goal, and of the parts without
one the figure that comes nearest. All of them are in the table of the page.

Of a figure that is to be at least its goal, the goal's part of it is shown, so that a bar which
ends before the line is good everywhere. The picture is plain SVG, in the reader's own type and in
light or dark as the reader has it, also where a page shows it as an image.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

from benchmarks.report import figure

Figures = dict[str, Any]
"""One row of the results."""

WIDTH, SHOWN = 400, 500  # units, and the pixels of a page that has room
LEFT, RIGHT = 18, 382
MOST = 1.5  # goals; a bar of more ends in an arrow
LINE, SMALL_LINE, BAR = 18, 16, 9  # heights of what a row has
ROOM = 38  # characters that fit beside a figure, also in a wide type

STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-size: 14px }
.ground { fill: #ffffff; stroke: #d8dee4 }
.title { font-size: 19px; font-weight: 650 }
.part { font-weight: 650 }
.title, .part, .name { fill: #1f2328 }
.small { font-size: 12.5px; fill: #59636e }
.rule { stroke: #d8dee4 }
.track { fill: #eaeef2 }
.bar.met { fill: #2da06f }
.bar.missed { fill: #d9662b }
.figure { font-weight: 650; text-anchor: end }
.figure.met { fill: #116b46 }
.figure.missed { fill: #a43e0d }
.end { text-anchor: end }
.middle { text-anchor: middle }
.arrow { fill: #ffffff }
.goal { stroke: #1f2328; stroke-width: 2 }
.range { stroke: #1f2328; stroke-width: 1.5; opacity: .75 }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; stroke: #30363d }
  .title, .part, .name { fill: #f0f3f6 }
  .small { fill: #a5afba }
  .rule { stroke: #30363d }
  .track { fill: #21262d }
  .bar.met { fill: #2f9e6d }
  .bar.missed { fill: #d9692e }
  .figure.met { fill: #5bd6a3 }
  .figure.missed { fill: #ffa269 }
  .arrow { fill: #0d1117 }
  .goal, .range { stroke: #f0f3f6 }
}
"""


def picture(results: dict[str, Any]) -> str:
    """Returns the picture as the text of an SVG file."""
    rows = [row for row in results["rows"] if row["met"] is not None]
    met = sum(row["met"] for row in rows)
    title = f"{met} of {len(rows)} goals are met"
    chosen = list(_chosen(rows))
    drawn, height = _body(chosen)
    told = " ".join(f"{row['part']}: {_in_words(row)}." for row in chosen)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" \
width="{SHOWN}" height="{height * SHOWN / WIDTH:.0f}" role="img" aria-labelledby="title told">
<title id="title">{title}</title>
<desc id="told">{escape(told)}</desc>
<style>{STYLE}</style>
<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>
{_text("title", LEFT, 36, title)}
{drawn}
</svg>
"""


def _chosen(rows: list[Figures]) -> Iterator[Figures]:
    for _, group in groupby(rows, key=lambda row: str(row["part"])):
        of_part = list(group)
        nearest = max(of_part, key=lambda row: part_of_goal(row["value"], row["goal"]))
        yield from [row for row in of_part if not row["met"]] or [nearest]


def part_of_goal(value: float, goal: str) -> float:
    """Returns a figure as a part of its goal; for a goal of at least, the other way round."""
    bound, number = goal.split()
    above, below = (value, float(number)) if bound == "≤" else (float(number), value)
    if above <= 0:
        return 0.0
    return above / below if below > 0 else math.inf


def _body(rows: list[Figures]) -> tuple[str, int]:
    """Draws the legend and the rows below the title; returns this and the picture's height."""
    shapes, y = [], 60
    for words in (
        "What misses its goal, or comes nearest to it in its part.",
        "Each bar is a figure as a part of its goal, the line;",
        "thin lines are the range of the runs.",
    ):
        shapes.append(_text("small", LEFT, y, words))
        y += SMALL_LINE
    for part, group in groupby(rows, key=lambda row: str(row["part"])):
        y += 8
        shapes.append(f'<line class="rule" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
        y += 24
        shapes.append(_text("part", LEFT, y, part.capitalize()))
        shapes.append(_text("small middle", _place(1), y, "goal"))
        y += 24
        for row in group:
            shapes.extend(_row(row, y))
            y += _height(row)
        y -= 24
    return "\n".join(shapes), y + 20


def _row(row: Figures, y: int) -> Iterator[str]:
    """Draws one row, whose first line of text stands at a height."""
    kind = "met" if row["met"] else "missed"
    yield _text(f"figure {kind}", RIGHT, y, f"{figure(row['value'])} {row['unit']}")
    for line in _lines(row["name"]):
        yield _text("name", LEFT, y, line)
        y += LINE
    verdict = f"{row['goal']}, {'met' if row['met'] else 'not met'}"
    yield _text("small end", RIGHT, y - 1, verdict)
    for line in _lines(f"against {row['against']}"):
        yield _text("small", LEFT, y - 1, line)
        y += SMALL_LINE
    yield from _bar(row, kind, y - 8)


def _bar(row: Figures, kind: str, y: int) -> Iterator[str]:
    value, *spread = (
        part_of_goal(number, row["goal"]) for number in (row["value"], *row["spread"])
    )
    least, most = sorted(map(_place, spread))
    middle = y + BAR / 2
    yield f'<rect class="track" x="{LEFT}" y="{y}" width="{RIGHT - LEFT}" height="{BAR}" rx="2"/>'
    long = max(_place(value) - LEFT, 2)
    yield f'<rect class="bar {kind}" x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2"/>'
    ends = f"M{least:.1f} {y + 2}v{BAR - 4}M{most:.1f} {y + 2}v{BAR - 4}"
    yield f'<path class="range" d="M{least:.1f} {middle}H{most:.1f}{ends}"/>'
    yield f'<path class="goal" d="M{_place(1):.1f} {y - 3}v{BAR + 6}"/>'
    if value > MOST:
        yield f'<path class="arrow" d="M{RIGHT - 8} {y}l8 {BAR / 2}l-8 {BAR / 2}h9v{-BAR}z"/>'


def _height(row: Figures) -> int:
    lines = len(_lines(row["name"])) * LINE
    return lines + len(_lines(f"against {row['against']}")) * SMALL_LINE + 32


def _place(part: float) -> float:
    """Returns where a part of the goal stands."""
    return LEFT + (RIGHT - LEFT) * min(max(part, 0), MOST) / MOST


def _lines(words: str) -> list[str]:
    return textwrap.wrap(words, ROOM)


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y}">{escape(words)}</text>'


def _in_words(row: Figures) -> str:
    verdict = f"goal {row['goal']}, {'met' if row['met'] else 'not met'}"
    return (
        f"{row['name']} against {row['against']}, {figure(row['value'])} {row['unit']}, {verdict}"
    )
