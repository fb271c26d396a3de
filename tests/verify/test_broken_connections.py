"""A server that is broken in one way fails exactly one check: what the owner and clients see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verify.faults import BROKEN, Broken
from tests.verify.house import House, Report, assert_only_fails

AREAS = ("owner", "protocol", "tools", "grant")


@pytest.mark.parametrize(
    "broken",
    [broken for broken in BROKEN if broken.check.startswith(AREAS)],
    ids=lambda broken: broken.sentence,
)
def test_exactly_one_check_fails_when(
    broken: Broken, house: House, verify_here: Callable[..., Report]
) -> None:
    before = house.connections

    assert_only_fails(broken, house, verify_here)

    left = house.connections - before
    assert bool(left) == (broken.check == "grant.revoke"), "what was granted is revoked"
