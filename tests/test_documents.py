"""Documents that name code must name code that exists."""

from __future__ import annotations

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THREATS = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and line.count("`") > 3]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.split("|")[2].split()[:9]))
def test_each_threat_names_code_and_tests_that_exist(row: str) -> None:
    code, tests = row.split("|")[4:6]
    symbols, names = re.findall(r"`([\w.]+)`", code), re.findall(r"`(\w+)`", tests)

    assert symbols
    assert names
    for symbol in symbols:
        module, _, name = symbol.partition(".")
        assert attrgetter(name)(import_module(f"personal_auth.{module}")), symbol
    for name in names:
        assert re.search(rf"^ *(async )?def {name}\(|^{name} = ", TESTS, re.MULTILINE), name


def test_no_threat_is_without_a_test() -> None:
    table = THREATS.partition("## Attacks")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]

    assert len(rows) == len(ROWS) > 35


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
