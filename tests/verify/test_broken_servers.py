"""A server that is broken in one way fails one check: what a stranger can see."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.verify.faults import BROKEN, Broken
from tests.verify.house import House, Report, assert_only_fails

AREAS = ("reach", "metadata", "register", "gate", "stranger")


@pytest.mark.parametrize(
    "broken",
    [broken for broken in BROKEN if broken.check.startswith(AREAS)],
    ids=lambda broken: broken.sentence,
)
def test_exactly_one_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    assert_only_fails(broken, house, verify_here)


def test_every_check_has_a_fault_that_it_must_notice(script: ModuleType) -> None:
    assert {broken.check for broken in BROKEN} == set(script.CHECKS)
