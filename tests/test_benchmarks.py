"""The benchmarks run and come to figures, which mean nothing here, and are shown as they are."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as program
from benchmarks.measure import Goal, Row, Scale, in_turns, ratios, row
from benchmarks.picture import part_of_goal, picture
from benchmarks.report import BEGIN, END, RESULTS, filled_in, markdown, write

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS = [
    Row("notes", "search", "sqlite3 alone", 1.21345, (1.1, 1.4), Goal(most=1.3)),
    Row("notes", "growth", "sqlite3 <alone>", 1.5, (1.2, 1.8), Goal(most=1.3)),
    Row("calls", "other throughput", "no auth", 1.2, (1.1, 1.3), Goal(least=0.97)),
    Row("calls", "throughput", "no auth", 0.98, (0.96, 0.99), Goal(least=0.97)),
    Row("calls", "two processes", "one", 1.7, (1.6, 1.8), Goal()),
]


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Any]:
    return write(ROWS, tmp_path / "results.json")


# ---- Each part -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", program.PARTS)
def test_a_part_comes_to_figures_with_their_peers_and_ranges(part: str) -> None:
    rows = list(program.measured(part, Scale(quick=True)))

    assert rows
    assert len({(found.name, found.against) for found in rows}) == len(rows)
    for found in rows:
        least, most = found.spread
        assert found.part == part
        assert found.name
        assert found.against, found.name
        assert all(map(math.isfinite, (least, found.value, most))), found
        assert least <= found.value <= most, found


# ---- How a figure comes about --------------------------------------------------------------------


def test_a_row_has_the_median_of_the_runs_and_their_range() -> None:
    figures = row("part", "name", "peer", [3, 1, 9, 2, 4], Goal())

    assert (figures.value, figures.spread) == (3, (1, 9))


def test_the_ways_take_turns_forwards_and_backwards() -> None:
    order: list[str] = []

    def way(name: str) -> float:
        order.append(name)
        return len(order)

    took = in_turns(Scale(), lambda: way("a"), lambda: way("b"))

    assert "".join(order) == "abbaabbaabbaab"
    assert [len(figures) for figures in took] == [7, 7]
    assert ratios([2, 9], [4, 3]) == [0.5, 3]


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(most=1.3), 1.3, True),
        (Goal(most=1.3), 1.31, False),
        (Goal(least=0.97), 0.97, True),
        (Goal(least=0.97), 0.96, False),
        (Goal(most=0), 0, True),
        (Goal(), 1, None),
    ],
)
def test_a_goal_says_whether_it_is_met(goal: Goal, value: float, met: bool | None) -> None:
    assert goal.met(value) is met


# ---- What is said of them ------------------------------------------------------------------------


def test_the_file_has_the_figures_and_what_they_depend_on(tmp_path: Path) -> None:
    file = tmp_path / "results.json"

    content = write(ROWS, file)

    assert json.loads(file.read_text("utf-8")) == content
    assert content["cores"] >= 1
    assert {"personal_auth", "fastmcp", "copier"} <= set(content["versions"])
    assert content["rows"][0] == {
        "part": "notes",
        "name": "search",
        "against": "sqlite3 alone",
        "value": 1.213,
        "unit": "×",
        "goal": "≤ 1.3",
        "met": True,
        "spread": [1.1, 1.4],
    }
    assert [figures["met"] for figures in content["rows"]] == [True, False, True, True, None]


@pytest.mark.parametrize(
    ("arguments", "published"), [([], True), (["--quick"], False), (["--only", "notes"], False)]
)
def test_only_a_whole_run_is_written_down(
    arguments: list[str], published: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(part: str, scale: Scale) -> Iterator[Row]:
        yield from ROWS

    written: list[dict[str, Any]] = []
    monkeypatch.setattr(program, "measured", measured)
    monkeypatch.setattr(program, "write", lambda rows: write(rows, tmp_path / "results.json"))
    monkeypatch.setattr(program, "publish", written.append)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])

    assert program.main() == 0

    assert len(written) == published
    assert (tmp_path / "results.json").exists() == published


def test_the_page_and_the_picture_show_the_figures(results: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Costs\n\n{BEGIN}\nold\n{END}\n\nThe end.\n", "utf-8")

    program.publish(results, tmp_path)

    text = page.read_text("utf-8")
    assert text.startswith(f"# Costs\n\n{BEGIN}\n\n| what |")
    assert text.endswith(f"\n\n{END}\n\nThe end.\n")
    assert "old" not in text
    assert "| search | sqlite3 alone | 1.21 × | 1.1 to 1.4 | ≤ 1.3 | yes |" in text
    assert "| growth | sqlite3 <alone> | 1.5 × | 1.2 to 1.8 | ≤ 1.3 | **no** |" in text
    assert (tmp_path / "performance.svg").read_text("utf-8") == picture(results)
    assert filled_in(text, results) == text


@pytest.mark.parametrize("page", [BEGIN, END, f"{END} {BEGIN}", ""])
def test_a_page_without_its_marks_is_refused(page: str, results: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        filled_in(page, results)


def test_the_committed_page_and_picture_show_the_committed_figures() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))

    assert markdown(results) in (DOCS / "performance.md").read_text("utf-8")
    assert (DOCS / "performance.svg").read_text("utf-8") == picture(results)


# ---- The picture ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "goal", "part"),
    [
        (0.65, "≤ 1.3", 0.5),
        (2.6, "≤ 1.3", 2),
        (0.97, "≥ 0.97", 1),
        (0.485, "≥ 0.97", 2),
        (0, "≤ 2", 0),
        (-0.5, "≤ 2", 0),
        (0, "≥ 0.97", math.inf),
        (0, "≤ 0", 0),
        (1, "≤ 0", math.inf),
    ],
)
def test_less_than_one_is_good_for_either_kind_of_goal(
    value: float, goal: str, part: float
) -> None:
    assert part_of_goal(value, goal) == pytest.approx(part)


def test_the_picture_tells_a_screen_reader_all_that_it_shows(results: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(picture(results))

    said = {shape.get("id"): shape.text for shape in svg}
    title, told = (str(said[name]) for name in str(svg.get("aria-labelledby")).split())

    assert svg.get("role") == "img"
    assert title == "3 of 4 goals are met"
    assert "growth against sqlite3 <alone>, 1.5 ×, goal ≤ 1.3, not met." in told
    assert "two processes" not in told, "has no goal"


def test_a_bar_ends_before_the_line_where_its_goal_is_met(results: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(picture(results))
    bars = [shape for shape in svg.iter() if str(shape.get("class")).startswith("bar")]
    lines = [shape.get("d", "") for shape in svg.iter() if shape.get("class") == "goal"]

    ends = [float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in bars]
    goals = [float(re.findall(r"^M([\d.]+)", line)[0]) for line in lines]

    assert [bar.get("class") for bar in bars] == ["bar missed", "bar met"]
    assert [end <= goal for end, goal in zip(ends, goals, strict=True)] == [False, True]


def test_the_picture_shows_what_misses_or_else_what_comes_nearest(results: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(picture(results))

    names = [shape.text for shape in svg.iter() if shape.get("class") == "name"]

    assert names == ["growth", "throughput"]


def test_the_picture_loads_nothing(results: dict[str, Any]) -> None:
    drawn = picture(results)

    assert re.findall(r"\w+://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|@import|href|<script", drawn)
