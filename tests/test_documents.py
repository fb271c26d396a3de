"""Documents that name code must name code that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THREATS = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and "`test_" in line]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_threat_names_code_and_tests_that_exist(row: str) -> None:
    code = re.findall(r"`(\w+\.py)`", row)
    names = re.findall(r"`(test_\w+)`", row)

    assert code
    assert names
    assert all((ROOT / "template/src/personal_auth" / name).is_file() for name in code)
    assert all(f"def {name}(" in TESTS for name in names)


def test_no_threat_is_without_a_test() -> None:
    table = THREATS.partition("## Attacks")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]

    assert len(rows) == len(ROWS) > 20


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
