"""Every check has a fault that it must notice."""

from __future__ import annotations

from pathlib import Path

import personal_verify.run  # noqa: F401 - registers every check
from personal_verify.checks import CHECKS, GROUPS
from tests.verify.faults import BROKEN


def test_every_check_has_a_breaker() -> None:
    broken = {fault.check for fault in BROKEN}

    assert {name for name in CHECKS if name not in broken} == set()
    assert {name for fault in BROKEN for name in (fault.check, *fault.also)} <= set(CHECKS)


def test_every_group_is_broken_by_a_test_of_its_own() -> None:
    here = Path(__file__).parent

    assert [group for group in GROUPS if not (here / f"test_{group}.py").exists()] == []
